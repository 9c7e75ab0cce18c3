"""Logistic curves over length: the base model's against the tuned one's, in every arm."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped

from analyses._length_grid import LengthGrid, length_grids
from analyses._side_shift_types import LengthInteraction
from lens_personas.statistics import averaged_logistic

_BEHAVIOURS: Final = 10
"""Fewest behaviours that are clusters; with fewer, the groups of statements are."""


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """What is fitted."""

    x: Float[np.ndarray, " row"]
    share: Float[np.ndarray, " row"]
    tuned: Shaped[np.ndarray, " row"]
    behaviours: Shaped[np.ndarray, " row"]
    groups: Shaped[np.ndarray, " row"]


def length_interactions(
    lengths: pd.DataFrame, level: float
) -> tuple[tuple[LengthInteraction, ...], tuple[str, ...]]:
    """Length by side in each arm, population-averaged; and what could not be fitted, and why.

    Lengths and behaviours that one of the models lacks are left out. The share is the mean
    probability of the misaligned answer.
    """
    grids = list(length_grids(lengths))
    found, left_out = [], []
    for arm in dict.fromkeys(arm for grid in grids for arm in grid.arms):
        parts = list(_in_both(grids, arm))
        if not parts:
            continue
        rows = _joined(parts)
        by_behaviour = len(set(rows.behaviours)) >= _BEHAVIOURS
        fit = averaged_logistic(
            rows.x,
            rows.share,
            rows.tuned,
            rows.behaviours if by_behaviour else rows.groups,
            level=level,
        )
        if fit.reason is not None:
            left_out.append(f"Length by model under {arm} prompts: {fit.reason}.")
        found.append(
            LengthInteraction(
                arm=arm,
                clusters="behaviour" if by_behaviour else "statement",
                n_clusters=fit.n_clusters,
                n=len(rows.x),
                base_slope=fit.first_slope,
                tuned_slope=fit.second_slope,
                interaction=fit.interaction,
                p=fit.p,
            )
        )
    return tuple(found), tuple(left_out)


def _in_both(grids: list[LengthGrid], arm: str) -> Iterator[_Rows]:
    by_side = {(grid.side, grid.behaviour): grid for grid in grids if arm in grid.arms}
    for side, behaviour in by_side:
        base, tuned = by_side.get(("base", behaviour)), by_side.get(("tuned", behaviour))
        if side != "base" or base is None or tuned is None:
            continue
        shared = tuple(n for n in base.lengths(arm) if n in tuned.lengths(arm))
        if len(shared) > 1:
            yield from (_rows(grid, arm, shared) for grid in (base, tuned))


def _rows(grid: LengthGrid, arm: str, lengths: tuple[int, ...]) -> _Rows:
    share = grid.of("probability", arm, lengths)
    there = np.isfinite(share)
    x = np.broadcast_to(np.array(lengths, dtype=np.float64), share.shape)
    groups = np.broadcast_to(grid.groups[:, None], share.shape)
    n = int(there.sum())
    return _Rows(
        x=x[there],
        share=share[there],
        tuned=np.full(n, grid.side == "tuned"),
        behaviours=np.full(n, grid.behaviour),
        groups=groups[there],
    )


def _joined(parts: list[_Rows]) -> _Rows:
    return _Rows(
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in _Rows.__dataclass_fields__
        }
    )
