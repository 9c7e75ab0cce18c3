"""Prompt pairs of equal length that differ in who is said to ask, and in nothing else."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Bool
from torch import Tensor

from lens_personas.models import LensModel, Prompt, render
from lens_personas.personas import Persona, PersonaTurn, Request, conversation

_TRIES = 24
"""Choices of statements that are rendered before a couple is left out."""

_MARK = "persona"


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A pair that could not be made."""

    names: tuple[str, str]
    """The two personas."""
    prompt_id: str
    """The request."""
    reason: str
    """Why."""


@dataclass(frozen=True, kw_only=True)
class SwappedPairs:
    """Prompts in pairs: the same request of two personas, in as many tokens."""

    clean: tuple[Prompt, ...]
    """Prompts under the first persona of each couple."""
    corrupted: tuple[Prompt, ...]
    """Prompts under the second one, in the same order."""
    names: tuple[tuple[str, str], ...]
    """The two personas of each pair."""
    prompt_ids: tuple[str, ...]
    """The request of each pair."""
    said: tuple[tuple[str, str], ...]
    """What is said of the user in either prompt of each pair."""
    left_out: tuple[LeftOut, ...]
    """Pairs that could not be made."""

    @property
    def persona_positions(self) -> Bool[Tensor, "prompt pos"]:
        """Where what is said of the user stands, the same in both prompts of a pair."""
        spans = [prompt.spans[_MARK] for prompt in self.clean]
        places = torch.arange(max((len(prompt.ids) for prompt in self.clean), default=0))
        inside = [(places >= start) & (places < stop) for start, stop in spans]
        return torch.stack(inside) if inside else torch.zeros(0, 0, dtype=torch.bool)

    @property
    def differs(self) -> Bool[Tensor, "prompt pos"]:
        """Where the tokens of a pair differ: all of it lies in the persona's positions."""
        out = torch.zeros_like(self.persona_positions)
        for at, (one, other) in enumerate(zip(self.clean, self.corrupted, strict=True)):
            out[at, : len(one.ids)] = torch.tensor(one.ids) != torch.tensor(other.ids)
        return out


def swapped_pairs(
    model: LensModel,
    couples: Sequence[tuple[Persona, Persona]],
    requests: Sequence[Request],
    *,
    turn: PersonaTurn = "system",
    n_statements: int = 1,
) -> SwappedPairs:
    """Every request under both personas of every couple, in as many tokens.

    A couple's statements are chosen so that the two texts have equally many tokens: those at the
    same places in both personas first, then those that come earliest. One choice serves all
    requests. A pair is made only if its prompts are equal outside of what is said of the user;
    what cannot be made is left out, with the reason. Pairs come couple by couple.

    Args:
        model: Whose tokenizer and template are used.
        couples: Two personas each; the first one's prompts are the clean ones.
        requests: What is asked for.
        turn: Turn that says who asks.
        n_statements: Statements of each persona.

    Raises:
        ValueError: If there is no couple or request, or ``n_statements`` is less than 1.
    """
    if not couples or not requests or n_statements < 1:
        raise ValueError(
            f"expected couples, requests and at least one statement, got {len(couples)} couples, "
            f"{len(requests)} requests and {n_statements} statements"
        )
    made: list[_Made] = []
    left: list[LeftOut] = []
    for one, other in couples:
        texts, reason = _texts(model, one, other, requests[0], turn, n_statements)
        for request in requests:
            pair = None if texts is None else _pair(model, texts, request, turn)
            if texts is not None and pair is not None:
                made.append(_Made((one.name, other.name), texts, pair))
                continue
            why = reason or "the two prompts differ outside of what is said of the user"
            names = (one.name, other.name)
            left.append(LeftOut(names=names, prompt_id=request.prompt_id, reason=why))
    return SwappedPairs(
        clean=tuple(each.prompts[0] for each in made),
        corrupted=tuple(each.prompts[1] for each in made),
        names=tuple(each.names for each in made),
        prompt_ids=tuple(each.prompts[0].prompt_id for each in made),
        said=tuple(each.texts for each in made),
        left_out=tuple(left),
    )


@dataclass(frozen=True)
class _Made:
    names: tuple[str, str]
    texts: tuple[str, str]
    prompts: tuple[Prompt, Prompt]


def _texts(
    model: LensModel, one: Persona, other: Persona, request: Request, turn: PersonaTurn, n: int
) -> tuple[tuple[str, str] | None, str]:
    """Texts of both personas that make a pair, or why there are none."""
    fewest = min(len(one.statements), len(other.statements))
    if fewest < n:
        return None, f"expected {n} statements of either persona, got {fewest}"
    for chosen in islice(_choices(model, one, other, n), _TRIES):
        first, second = (
            " ".join(persona.statements[at] for at in places)
            for persona, places in zip((one, other), chosen, strict=True)
        )
        if first != second and _pair(model, (first, second), request, turn) is not None:
            return (first, second), ""
    return None, f"no {n} statements of either persona that have equally many tokens"


def _choices(
    model: LensModel, one: Persona, other: Persona, n: int
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Statements of either persona whose tokens add up alike, the best choice first."""
    counts = [
        [len(model.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in said]
        for said in (one.statements, other.statements)
    ]
    alike = [at for at, (a, b) in enumerate(zip(*counts, strict=False)) if a == b]
    parallel = [tuple(alike[first : first + n]) for first in range(len(alike) - n + 1)]
    yield from ((places, places) for places in parallel)
    sums = [_sums(each, n) for each in counts]
    common = sorted(
        sums[0].keys() & sums[1].keys(), key=lambda total: sum(sums[0][total] + sums[1][total])
    )
    yield from ((sums[0][total], sums[1][total]) for total in common)


def _sums(counts: Sequence[int], n: int) -> dict[int, tuple[int, ...]]:
    """For each number of tokens that ``n`` statements can add up to, the earliest such ones."""
    # Subset sums by dynamic programming: reached[k] holds what k statements can add up to.
    reached: list[dict[int, tuple[int, ...]]] = [{0: ()}, *({} for _ in range(n))]
    for at, count in enumerate(counts):
        for k in range(n, 0, -1):
            for total, places in reached[k - 1].items():
                reached[k].setdefault(total + count, (*places, at))
    return reached[n]


def _pair(
    model: LensModel, texts: tuple[str, str], request: Request, turn: PersonaTurn
) -> tuple[Prompt, Prompt] | None:
    """The two prompts; None where they are not equal outside of what is said of the user."""
    clean, corrupted = (
        render(
            model,
            conversation(request.text, persona_text=text, turn=turn),
            prompt_id=request.prompt_id,
            marks={_MARK: text},
        )
        for text in texts
    )
    start, stop = clean.spans[_MARK]
    alike = (
        clean.spans == corrupted.spans
        and len(clean.ids) == len(corrupted.ids)
        and clean.ids[:start] == corrupted.ids[:start]
        and clean.ids[stop:] == corrupted.ids[stop:]
    )
    return (clean, corrupted) if alike else None
