"""Which statements of a behaviour are scored, and from which its persona prompts are written."""

import random
from collections.abc import Sequence
from typing import Final

from lens_personas.personas._behaviour_types import BehaviourItem

_HALVES: Final = (True, False)


def divide(
    items: Sequence[BehaviourItem], *, seed: int, prompt_share: float, limit: int | None = None
) -> tuple[tuple[BehaviourItem, ...], tuple[BehaviourItem, ...]]:
    """Items to score, and items to write prompts from; no group is in both.

    Groups are shuffled and given, largest first, to the part that lacks most of what they hold,
    in each half alike. The same items and seed give the same parts.

    Raises:
        ValueError: If the share or the limit is out of range, or a half would be empty in one
            of the parts.
    """
    if not 0 < prompt_share < 1 or (limit is not None and limit < 1):
        raise ValueError(
            "expected a prompt share between 0 and 1 and a limit of at least 1, got "
            f"{prompt_share} and {limit}"
        )
    groups: dict[str, list[BehaviourItem]] = {}
    for item in sorted(items, key=lambda each: each.statement_id):
        groups.setdefault(item.group, []).append(item)
    ordered = list(groups.values())
    # A string seed is hashed by SHA-512 in `random`: the same in every process.
    rng = random.Random(f"behaviour-{seed}")
    rng.shuffle(ordered)
    ordered.sort(key=len, reverse=True)
    goes = _goes_to_prompt(ordered, prompt_share)
    chosen = {item.statement_id for g, to in zip(ordered, goes, strict=True) if to for item in g}
    prompt = tuple(item for item in items if item.statement_id in chosen)
    rest = [item for item in items if item.statement_id not in chosen]
    _check_halves(rest, prompt)
    return (tuple(rest) if limit is None else limit_halves(rest, limit, seed=seed)), prompt


def limit_halves(
    items: Sequence[BehaviourItem], limit: int, *, seed: int
) -> tuple[BehaviourItem, ...]:
    """At most ``limit`` items of each half, drawn at random, in their order.

    Raises:
        ValueError: If the limit is below 1.
    """
    if limit < 1:
        raise ValueError(f"expected a limit of at least 1, got {limit}")
    rng = random.Random(f"limit-{seed}")
    kept: set[str] = set()
    for half in _HALVES:
        ids = [item.statement_id for item in items if item.aligned is half]
        kept |= set(rng.sample(ids, min(limit, len(ids))))
    return tuple(item for item in items if item.statement_id in kept)


def _goes_to_prompt(groups: Sequence[Sequence[BehaviourItem]], share: float) -> list[bool]:
    lacking = {
        part: {half: weight * sum(i.aligned is half for g in groups for i in g) for half in _HALVES}
        for part, weight in ((True, share), (False, 1 - share))
    }
    goes = []
    for group in groups:
        held = {half: sum(item.aligned is half for item in group) for half in _HALVES}
        gain = {to: sum(held[h] * need[h] for h in _HALVES) for to, need in lacking.items()}
        to = gain[True] > gain[False]
        for half in _HALVES:
            lacking[to][half] -= held[half]
        goes.append(to)
    return goes


def _check_halves(scored: Sequence[BehaviourItem], prompt: Sequence[BehaviourItem]) -> None:
    for part, what in ((scored, "to score"), (prompt, "to write prompts from")):
        n_aligned = sum(item.aligned for item in part)
        if not 0 < n_aligned < len(part):
            raise ValueError(
                f"expected statements {what} of which some are aligned and some are not, got "
                f"{n_aligned} and {len(part) - n_aligned}; add statements"
            )
