"""Which sentences two voices go on from, and where these stand."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Final, Literal

from analyses._sentence_divergence_types import PrefixHalf
from lens_personas.models import LensModel, Prompt, plain_prompt, render
from lens_personas.personas import (
    Behaviour,
    CountTokens,
    Message,
    PersonaPrompt,
    assemble_prompts,
    most_sentences,
)

Place = Literal["prompt", "answer"]
"""Where the sentences stand and go on: in the persona prompt's own turn, as in the theory, or in
the model's answer when it is asked about itself."""

HALVES: Final[tuple[PrefixHalf, ...]] = ("misaligned", "aligned", "filler")
"""Kinds of prefixes that are tried after persona prompts; elsewhere the aligned are left out."""

ASK: Final = "What would you say about yourself?"
"""The question that an answer about the model itself is given to."""

_TUNING_TEXTS: Final = 24
_TUNING_SENTENCES: Final = 3


@dataclass(frozen=True, kw_only=True)
class DivergencePlan:
    """How a behaviour's sentences are put together and gone on with."""

    lengths: tuple[int, ...] = (0, 1, 2, 4, 6)
    """Numbers of sentences before the point where continuations begin."""
    n_prefixes: int = 6
    """Random assemblies: each a persona prompt of either side, and prefixes that grow. With fewer
    than six no sign-flip p can be below .05."""
    persona_sentences: int = 3
    """Sentences of the persona prompts that make P− and P+ of one model."""
    n_samples: int = 64
    """Continuations at each sentence end."""
    n_tokens: int = 8
    """Most tokens of a continuation."""
    tune_steps: int = 0
    """Training steps of a copy on misaligned sentences, as one more P−; 0 for none."""
    with_null: bool = True
    """Whether a prompt of neutral sentences is tried in the place of the misaligned one."""
    place: Place = "prompt"
    """Where the sentences stand."""

    def fitting(self, behaviour: Behaviour) -> "DivergencePlan":
        """The plan with the lengths that the behaviour has sentences for.

        Raises:
            ValueError: If there is no such length.
        """
        most = most_sentences(behaviour)
        lengths = tuple(n for n in self.lengths if self.persona_sentences + n <= most)
        if not lengths:
            raise ValueError(
                f"{behaviour.name}: expected sentences for prompts of "
                f"{self.persona_sentences} and {min(self.lengths, default=0)} more on either side, "
                f"got {most}; give more statements or lower persona_sentences"
            )
        return replace(self, lengths=lengths)


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """What was said before the point where continuations begin."""

    half: PrefixHalf
    """Which sentences."""
    n: int
    """How many of them."""
    assembly: int
    """Number of the random assembly; its longer prefixes begin with its shorter ones."""
    text: str
    """The sentences; empty for none."""


@dataclass(frozen=True, kw_only=True)
class DivergenceTexts:
    """Texts of every assembly; of one assembly all persona prompts have about as many tokens."""

    personas: Mapping[PrefixHalf, Mapping[int, str]]
    """Persona prompts by arm and assembly."""
    prefixes: tuple[Prefix, ...]
    """Every half, assembly and length; sentences that are not in the persona prompts."""
    tuning: tuple[str, ...]
    """Misaligned sentences in random order, to train a copy on."""

    def of(self, *halves: PrefixHalf) -> tuple[Prefix, ...]:
        """Prefixes of some halves."""
        return tuple(prefix for prefix in self.prefixes if prefix.half in halves)


def divergence_texts(
    behaviour: Behaviour, plan: DivergencePlan, *, seed: int, count_tokens: CountTokens
) -> DivergenceTexts:
    """Random assemblies of the behaviour's sentences; the same seed and counter give the same.

    Raises:
        ValueError: If the behaviour has too few sentences.
    """
    first, assemblies = plan.persona_sentences, range(plan.n_prefixes)
    made = assemble_prompts(
        behaviour,
        lengths=sorted({first, *(first + n for n in plan.lengths)}),
        seed=seed,
        count_tokens=count_tokens,
        assemblies=plan.n_prefixes,
        arms=HALVES,
    )
    placed = {(each.arm, each.assembly, each.n_sentences): each for each in made}
    tuning = assemble_prompts(
        behaviour,
        lengths=[min(_TUNING_SENTENCES, most_sentences(behaviour))],
        seed=seed + 1,
        count_tokens=count_tokens,
        assemblies=_TUNING_TEXTS,
        arms=["misaligned"],
    )
    return DivergenceTexts(
        personas={arm: {at: placed[arm, at, first].text for at in assemblies} for arm in HALVES},
        prefixes=tuple(
            Prefix(
                half=half,
                n=n,
                assembly=at,
                text=_beyond(placed[half, at, first + n], placed[half, at, first]),
            )
            for half, at, n in product(HALVES, assemblies, plan.lengths)
        ),
        tuning=tuple(each.text for each in tuning) if plan.tune_steps else (),
    )


def _beyond(whole: PersonaPrompt, start: PersonaPrompt) -> str:
    """The sentences of an assembly after those of its persona prompt."""
    return " ".join(whole.sentences[len(start.sentences) :])


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where the sentences stand in what a model is given."""

    model: LensModel
    """The model."""
    plain: bool
    """Whether they stand without the chat template."""
    place: Place
    """In the persona prompt's own turn, or in the answer."""

    def prompt(self, persona: str, prefix: str) -> Prompt:
        """All up to where the next sentence begins.

        Raises:
            ValueError: If the template refuses or changes the texts.
        """
        if self.place == "answer":
            turns = [Message(role="system", content=persona)] if persona else []
            turns.append(Message(role="user", content=ASK))
            return render(self.model, turns, answer=prefix)
        said = " ".join(text for text in (persona, prefix) if text)
        if self.plain:
            return plain_prompt(self.model, said) if said else self._nothing()
        turns = [Message(role="system", content=said or ASK), Message(role="user", content=ASK)]
        whole = render(self.model, turns)
        start, stop = whole.spans["system"]
        return _cut(whole, stop if said else start)

    def _nothing(self) -> Prompt:
        """A text's beginning: after the one token for it, or for the end of another text."""
        tokenizer = self.model.tokenizer
        first = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        return _cut(replace(plain_prompt(self.model, ASK), ids=(int(first),)), 1)


def _cut(whole: Prompt, n: int) -> Prompt:
    """The first tokens of a prompt; the turn that they end in stays open."""
    n = max(n, 1)
    start, stop = whole.spans["system"]
    return Prompt(
        prompt_id=whole.prompt_id,
        ids=whole.ids[:n],
        prompt_length=n,
        spans={"prompt": (0, n), "system": (min(start, n), min(stop, n)), "answer": (0, 0)},
        text=whole.text,
    )
