"""Pairs of prompts for circuits: the same request of an anti- and of a pro-social user."""

from collections.abc import Sequence
from dataclasses import dataclass

from analyses._bench import bench
from analyses._contents import Contents
from analyses._workbench import Outline, Workbench
from lens_personas.interventions import Reduce, refusal_metric, swapped_pairs
from lens_personas.models import Prompt
from lens_personas.personas import Request

SIDES = ("anti", "pro")
"""Sides whose difference is looked at, the first less the second."""

SPAN = "persona"
"""Span of a prompt that says who asks."""

Couple = tuple[str, str]
"""Names of two texts on the user, the clean one first."""

_MOST_FOUND, _MOST_TESTED, _MOST_HARMLESS = 16, 24, 16
_MOST_COUPLES, _MOST_NEUTRAL, _MOST_STATEMENTS = 2, 5, 6


@dataclass(frozen=True, kw_only=True)
class Swaps:
    """Prompts in pairs, couple by couple."""

    clean: tuple[Prompt, ...]
    """Prompts under the first text of each couple."""
    corrupted: tuple[Prompt, ...]
    """Prompts under the second one."""
    pairs: tuple[str, ...]
    """Couple of each pair, as ``first / second``."""
    prompt_ids: tuple[str, ...]
    """Request of each pair."""
    left_out: tuple[str, ...]
    """Couples that have no two texts of equal length, with the reason."""

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.clean)


def couples(outline: Outline) -> tuple[Couple, ...]:
    """An anti- and a pro-social user each, the strongest of either side together."""
    sides = ([p.name for p in outline.data.personas if p.group == side] for side in SIDES)
    return tuple(zip(*sides, strict=False))


def found_on(outline: Outline) -> tuple[Couple, ...]:
    """Couples that the circuit is found on: every other one."""
    return couples(outline)[::2][:_MOST_COUPLES]


def held_out(outline: Outline) -> tuple[Couple, ...]:
    """Couples that it is tested on alone."""
    return couples(outline)[1::2][:_MOST_COUPLES]


def tested_couples(outline: Outline) -> tuple[Couple, ...]:
    """The held-out couples; where there is but one couple, the one that the circuit is found on."""
    return held_out(outline) or found_on(outline)


def neutral_couples(outline: Outline) -> tuple[Couple, ...]:
    """Neutral texts and personas of no side, each with the control."""
    data = outline.data
    others = [p.name for p in data.personas if p.group == "other"]
    names = [*(null.name for null in data.nulls), *others]
    return tuple((name, data.control.name) for name in names[:_MOST_NEUTRAL])


def control_couples(outline: Outline, side: int) -> tuple[Couple, ...]:
    """Users of one side that the circuit is tested on, each with the control."""
    return tuple((couple[side], outline.data.control.name) for couple in tested_couples(outline))


def requests_of(outline: Outline, use: str) -> tuple[Request, ...]:
    """Requests by what they are for: ``find``, ``size``, ``test`` or ``harmless``.

    Those of the first two are the study's for fitting vectors and for choosing layers.
    """
    if use == "harmless":
        return outline.harmless[:_MOST_HARMLESS]
    if use == "test":
        return outline.studied[:_MOST_TESTED]
    return outline.part({"find": "vector", "size": "layer"}[use], harmful=True)[:_MOST_FOUND]


def swaps(
    work: Workbench, inputs: Contents, wanted: Sequence[Couple], requests: Sequence[Request]
) -> Swaps:
    """The pairs of every couple on every request; dealt names get the texts they were dealt."""
    put, texts = bench(work, inputs), work.data.texts
    out: list[tuple[Prompt, Prompt, str]] = []
    left: dict[str, None] = {}
    for couple in wanted:
        own: dict[Couple, list[Request]] = {}
        for request in requests:
            first, second = (put.owner(request.prompt_id, name) for name in couple)
            own.setdefault((first, second), []).append(request)
        for (first, second), asked in own.items():
            found = swapped_pairs(
                work.model,
                [(texts[first], texts[second])],
                asked,
                turn=work.turn,
                n_statements=_n_statements(work, first, second),
            )
            both = zip(found.clean, found.corrupted, strict=True)
            out += [(clean, corrupted, named(couple)) for clean, corrupted in both]
            left |= dict.fromkeys(f"{named(couple)}: {each.reason}" for each in found.left_out)
    return Swaps(
        clean=tuple(clean for clean, _, _ in out),
        corrupted=tuple(corrupted for _, corrupted, _ in out),
        pairs=tuple(pair for _, _, pair in out),
        prompt_ids=tuple(clean.prompt_id for clean, _, _ in out),
        left_out=tuple(left),
    )


def named(couple: Couple) -> str:
    """Both names in one.

    >>> named(("cruel", "kind"))
    'cruel / kind'

    """
    return " / ".join(couple)


def metric_of(inputs: Contents) -> Reduce | None:
    """Refusal score by the study's tokens; None where no token tells a refusal."""
    tokens, _ = inputs.tokens
    return None if tokens is None else refusal_metric(tokens.token_ids)


def _n_statements(work: Workbench, *names: str) -> int:
    fewest = min(len(work.data.texts[name].statements) for name in names)
    return min(work.config.n_statements or _MOST_STATEMENTS, fewest)
