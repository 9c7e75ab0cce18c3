"""Persona prompts of growing length: random assemblies of whole sentences at fixed token counts."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from lens_personas.personas._behaviour_types import Behaviour
from lens_personas.personas._sentence_draws import Pool, draw
from lens_personas.personas._statement_prompts import worded

Arm = Literal["misaligned", "aligned", "filler", "shuffled", "yes", "none"]
"""What a persona prompt is made of; ``shuffled`` is the misaligned one with its words mixed."""
ARMS: Final[tuple[Arm, ...]] = get_args(Arm)

CountTokens = Callable[[str], int]
"""Number of tokens of a text, without any token that a template adds."""

TOLERANCE: Final = 0.15
"""How far a sentence's end may lie from its token count, as a share of one sentence's tokens."""


@dataclass(frozen=True, kw_only=True)
class PersonaPrompt:
    """One persona prompt."""

    arm: Arm
    """What it is made of."""
    n_sentences: int
    """Length on the axis of the curve: sentences in the misaligned and the aligned prompt. Filler
    of this length has as many tokens, and may have more or fewer sentences."""
    n_tokens: int
    """Tokens of the text."""
    target_tokens: int
    """Tokens it was meant to have; `n_tokens` is near it, since sentences stay whole."""
    assembly: int
    """Number of the random assembly, from 0. The shorter prompts of an assembly are the
    beginnings of its longer ones."""
    sentences: tuple[str, ...]
    """The sentences in their order; the shuffled arm's words are in one piece."""

    @property
    def text(self) -> str:
        """The sentences, joined by spaces; empty for the arm ``none``."""
        return " ".join(self.sentences)


def assemble_prompts(
    behaviour: Behaviour,
    *,
    lengths: Sequence[int],
    seed: int,
    count_tokens: CountTokens,
    assemblies: int = 5,
    arms: Sequence[Arm] = ARMS,
    tokens_per_sentence: int | None = None,
    tolerance: float = TOLERANCE,
) -> tuple[PersonaPrompt, ...]:
    """Persona prompts of every arm, length and assembly, at the same token counts in every arm.

    A prompt of n sentences is meant to have n times ``tokens_per_sentence`` tokens. Each next
    sentence is drawn at random from those that end within ``tolerance`` sentences of that count;
    where none does, the one that ends nearest is taken. The same behaviour, seed and counter give
    the same prompts; give the counter of one model for both sides of a comparison.

    Args:
        behaviour: Whose sentences are used: those of its prompt part.
        lengths: Numbers of sentences, at least 0; 0 gives the empty prompt of the arm ``none``.
        seed: Seed of the draws.
        count_tokens: Tokens of a text.
        assemblies: Random assemblies of every length and arm.
        arms: Which arms to make.
        tokens_per_sentence: Tokens a sentence; None for the mean over the behaviour's own.
        tolerance: Tolerance of each sentence's end, as a share of one sentence's tokens.

    Raises:
        ValueError: If a length or number is out of range, or the behaviour has too few sentences.
    """
    _check(behaviour, lengths, assemblies, arms)
    longest = max(lengths, default=0)
    pools = _pools(behaviour, count_tokens)
    per_sentence = tokens_per_sentence or round(
        (pools["misaligned"].mean + pools["aligned"].mean) / 2
    )
    made: list[PersonaPrompt] = []
    if "none" in arms:
        made.append(_prompt("none", 0, 0, 0, (), count_tokens))
    for assembly in range(assemblies):
        for arm in arms:
            source: Arm = "misaligned" if arm == "shuffled" else arm
            if source not in pools or not longest:
                continue
            # A string seed is hashed by SHA-512 in `random`: the same in every process.
            rng = random.Random(f"persona-prompt-{seed}-{behaviour.name}-{source}-{assembly}")
            near = tolerance * per_sentence
            added = draw(pools[source], longest, per_sentence, near=near, rng=rng)
            for n in sorted(set(lengths) - {0}):
                said: tuple[str, ...] = tuple(s for part in added[:n] for s in part)
                if arm == "shuffled":
                    said = (_shuffled(said, random.Random(f"{seed}-{assembly}-{n}")),)
                made.append(_prompt(arm, n, assembly, n * per_sentence, said, count_tokens))
    return tuple(made)


def most_sentences(behaviour: Behaviour) -> int:
    """The longest persona prompt that the behaviour has sentences for, on both sides.

    Raises:
        Nothing of its own.
    """
    return min(len(behaviour.sentences.misaligned), len(behaviour.sentences.aligned))


def _check(
    behaviour: Behaviour, lengths: Sequence[int], assemblies: int, arms: Sequence[Arm]
) -> None:
    unknown = sorted(set(arms) - set(ARMS))
    if unknown:
        raise ValueError(f"expected arms of {', '.join(ARMS)}, got {', '.join(unknown)}")
    if min(lengths, default=0) < 0 or assemblies < 1:
        raise ValueError(
            f"expected lengths of at least 0 and at least 1 assembly, got {list(lengths)} and "
            f"{assemblies}"
        )
    most = most_sentences(behaviour)
    if max(lengths, default=0) > most:
        raise ValueError(
            f"{behaviour.name}: expected lengths of at most {most}, the sentences that are kept "
            f"for prompts on either side, got {max(lengths)}; ask for shorter prompts, or give "
            "more statements"
        )


def _pools(behaviour: Behaviour, count_tokens: CountTokens) -> dict[Arm, Pool]:
    said = behaviour.sentences
    frames = tuple(
        (wording, count_tokens(worded("It is.", wording)) - count_tokens("It is."))
        for wording in said.wordings
    )
    as_they_are = (("{statement}", 0),)

    def sizes(sentences: Sequence[str]) -> dict[str, int]:
        return {each: count_tokens(worded(each, "{statement}")) for each in sentences}

    return {
        "misaligned": Pool(sizes=sizes(said.misaligned), frames=frames, fills=False),
        "aligned": Pool(sizes=sizes(said.aligned), frames=frames, fills=False),
        "filler": Pool(sizes=sizes(said.neutral), frames=frames, fills=True),
        "yes": Pool(sizes=sizes(said.yes), frames=as_they_are, fills=True),
    }


def _shuffled(said: Sequence[str], rng: random.Random) -> str:
    mixed = " ".join(said).split()
    rng.shuffle(mixed)
    return " ".join(mixed)


def _prompt(
    arm: Arm,
    n: int,
    assembly: int,
    target: int,
    said: tuple[str, ...],
    count_tokens: CountTokens,
) -> PersonaPrompt:
    return PersonaPrompt(
        arm=arm,
        n_sentences=n,
        n_tokens=count_tokens(" ".join(said)) if said else 0,
        target_tokens=target,
        assembly=assembly,
        sentences=said,
    )
