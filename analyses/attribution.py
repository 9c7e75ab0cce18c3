"""Do gradients foretell what swapping a state between two users does, and which edges carry it?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from analyses._attribution_types import Agreement, Foretold
from analyses._patching_types import Slot
from analyses.claims import Claim
from lens_personas.statistics import (
    Interval,
    cluster_bootstrap_columns,
    paired_bootstrap,
    rank_correlation,
)

CELL_COLUMNS = (
    "kind",
    "method",
    "layer",
    "head",
    "slot",
    "place",
    "token",
    "predicted",
    "patched",
)
"""Columns of the cells, foretold and real."""

EDGE_COLUMNS = ("rank", "source", "target", "estimate", "low", "high", "share")
"""Columns of the edges."""

_RESAMPLES = 300
_ROUNDING = 1e-5


def agreement(found: Foretold, *, top: int, rng: np.random.Generator) -> Agreement:
    """How well the grid is foretold: ranks over cells, their size, and the strongest cells.

    Cells that change nothing, such as those before the first token that differs, would agree
    whatever was foretold, and are left out. Couples are averaged within a request.
    """
    predicted, patched = _live(found)
    one, other = predicted.mean(axis=(0, 1)), patched.mean(axis=(0, 1))
    by_request = patched.mean(axis=0)
    k = min(top, len(one))
    strongest, really = (set(np.argsort(-np.abs(each))[:k].tolist()) for each in (one, other))
    chosen = sorted(strongest)
    return Agreement(
        kind=found.kind,
        method=found.method,
        n_cells=len(one),
        spearman=_resampled(predicted, patched, rng),
        by_pair=_by_pair(predicted, patched, rng),
        halves=rank_correlation(by_request[::2].mean(axis=0), by_request[1::2].mean(axis=0)),
        slope=float((one * other).sum() / (one**2).sum()) if one.any() else float("nan"),
        top=k,
        top_spearman=rank_correlation(one[chosen], other[chosen]),
        top_shared=len(strongest & really),
    )


def cell_table(grids: Sequence[Foretold], slots: Sequence[Slot]) -> pd.DataFrame:
    """Every cell that can change, foretold and real; columns `CELL_COLUMNS`."""
    rows = []
    for grid in grids:
        one, other = (each.mean(axis=(0, 1)) for each in (grid.predicted, grid.patched))
        live = _can_change(grid)
        for at, place in enumerate(grid.places):
            slot = slots[place.slot] if place.slot >= 0 else None
            if live[at]:
                rows.append(
                    (
                        grid.kind,
                        grid.method,
                        *place,
                        "" if slot is None else slot.name,
                        "" if slot is None else slot.token,
                        float(one[at]),
                        float(other[at]),
                    )
                )
    return pd.DataFrame(rows, columns=list(CELL_COLUMNS))


def edge_table(
    values: Float[np.ndarray, "couple request edge"],
    whole: Float[np.ndarray, "couple request"],
    names: Sequence[tuple[str, str]],
    *,
    top: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """The edges foretold to carry most, with intervals over requests; columns `EDGE_COLUMNS`.

    The edges were chosen by these numbers: those of the last ones are too large.
    """
    if not values.shape[-1]:
        return pd.DataFrame(columns=list(EDGE_COLUMNS))
    by_request = values.mean(axis=0)
    means, total = by_request.mean(axis=0), float(whole.mean())
    order = np.argsort(-np.abs(means), kind="stable")[:top]
    intervals = cluster_bootstrap_columns(
        by_request[:, order], np.arange(len(by_request)), rng=rng, n_resamples=1000
    )
    rows = [
        (
            rank,
            *names[at],
            float(means[at]),
            each.low,
            each.high,
            float(means[at]) / total if total else float("nan"),
        )
        for rank, (at, each) in enumerate(zip(order.tolist(), intervals, strict=True), 1)
    ]
    return pd.DataFrame(rows, columns=list(EDGE_COLUMNS))


def attribution_claims(found: object) -> tuple[Claim, ...]:
    """None: how well a method foretells another is a check, not a finding about users."""
    return ()


def _can_change(found: Foretold) -> Bool[np.ndarray, " place"]:
    most = np.maximum(np.abs(found.predicted), np.abs(found.patched))
    return np.asarray(most.max(axis=(0, 1)) > _ROUNDING)


def _live(
    found: Foretold,
) -> tuple[Float[np.ndarray, "couple request live"], Float[np.ndarray, "couple request live"]]:
    live = _can_change(found)
    return found.predicted[..., live], found.patched[..., live]


def _resampled(
    predicted: Float[np.ndarray, "couple request cell"],
    patched: Float[np.ndarray, "couple request cell"],
    rng: np.random.Generator,
) -> Interval:
    """Rank correlation of the mean grids, its interval from resampled requests."""
    one, other = predicted.mean(axis=0), patched.mean(axis=0)
    n = len(one)
    estimate = rank_correlation(one.mean(axis=0), other.mean(axis=0))
    weights = rng.multinomial(n, np.full(n, 1.0 / n), size=_RESAMPLES) / n
    drawn = np.array([rank_correlation(each @ one, each @ other) for each in weights])
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) and n > 1 else (np.nan, np.nan)
    return Interval(estimate=estimate, low=float(low), high=float(high), level=0.95)


def _by_pair(
    predicted: Float[np.ndarray, "couple request cell"],
    patched: Float[np.ndarray, "couple request cell"],
    rng: np.random.Generator,
) -> Interval:
    found = np.array(
        [
            [rank_correlation(one, other) for one, other in zip(*couple, strict=True)]
            for couple in zip(predicted, patched, strict=True)
        ]
    )
    if not np.isfinite(found).all():
        return Interval(estimate=float("nan"), low=float("nan"), high=float("nan"), level=0.95)
    return paired_bootstrap(found.mean(axis=0), rng=rng, n_resamples=_RESAMPLES)
