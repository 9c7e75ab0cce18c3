"""Rows that go up the layers together: of like first column, so that little is run in vain."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lens_personas.interventions._sweep_rows import Row

CPU_OVERHEAD = 12
"""Columns in a block whose work costs what a call of the block costs besides, on a CPU."""
DEVICE_OVERHEAD = 512
"""The same on an accelerator, which small calls leave idle."""
_CALLS_HELD = 16


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rows with as many columns each."""

    start: int
    """First column that is run."""
    rows: tuple[Row, ...]
    """In the order in which they join."""


def row_groups(
    rows: Sequence[Row], *, width: int, n_layers: int, token_budget: int, overhead: int
) -> tuple[Group, ...]:
    """The rows in groups.

    A column more is run for some rows in vain where that is cheaper than to call the blocks
    for them alone. No group holds more than some calls' worth of states.
    """
    levels: dict[int, list[Row]] = {}
    for row in rows:
        levels.setdefault(row.start, []).append(row)
    merged: list[tuple[int, list[Row]]] = []
    for start in sorted(levels):
        if merged and _worth(*merged[-1], start, levels[start], n_layers, overhead):
            merged[-1][1].extend(levels[start])
        else:
            merged.append((start, list(levels[start])))
    return tuple(
        Group(start=start, rows=part)
        for start, members in merged
        for part in _parts(members, width - start, token_budget)
    )


def _worth(
    start: int, members: list[Row], other: int, others: list[Row], n_layers: int, overhead: int
) -> bool:
    in_vain = (other - start) * sum(n_layers - row.join for row in others)
    shared = n_layers - max(_first(members), _first(others))
    return in_vain <= overhead * shared


def _first(rows: list[Row]) -> int:
    return min(row.join for row in rows)


def _parts(rows: list[Row], n_columns: int, token_budget: int) -> Iterator[tuple[Row, ...]]:
    ordered = sorted(rows, key=lambda row: row[:2])
    n_parts = -(-len(ordered) * n_columns // (_CALLS_HELD * token_budget))
    size = -(-len(ordered) // n_parts)
    for first in range(0, len(ordered), size):
        yield tuple(ordered[first : first + size])
