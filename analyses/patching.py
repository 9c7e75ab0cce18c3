"""Which states carry who asks: one state at a time, put from one user's run into another's."""

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from analyses._patching_types import (
    TABLE_COLUMNS,
    MetricGrid,
    PatchedGrid,
    PatchKind,
    PersonaPatching,
    Place,
    Route,
    Slot,
    Way,
)
from analyses.claims import Claim
from lens_personas.statistics import (
    cluster_bootstrap_columns,
    correlation,
    max_statistic,
    null_range,
    paired_bootstrap,
    paired_ratio,
)


def patch_table(
    grids: Sequence[PatchedGrid], slots: Sequence[Slot], *, rng: np.random.Generator
) -> pd.DataFrame:
    """Every cell of the grids with interval and p over requests; columns `TABLE_COLUMNS`.

    Couples are averaged within a request, so that requests are what is resampled and flipped. Of
    a kind and metric that is there both ways, the mean of the two is added: it turns its sign if
    the two users swap their names, so its p is exact.
    """
    rows = [row for grid in grids for row in _rows(grid, grid.way, _moved(grid), slots, rng)]
    for grid, other in _both_ways(grids):
        # The nulls were denoised alone.
        rows += _rows(grid, "both", (_moved(grid) + _moved(other)) / 2.0, slots, rng)
    return pd.DataFrame(rows, columns=list(TABLE_COLUMNS))


def strongest_route(
    grids: Sequence[PatchedGrid],
    kind: PatchKind,
    slots: Sequence[Slot],
    *,
    layers: Collection[int] | None = None,
    rng: np.random.Generator,
) -> Route | None:
    """The place of the kind that moves most, outside of what is said of the user; None without.

    What is said of the user itself is left out: that a patch of the words acts as the words do
    needs no showing. Its number is taken at each request where the others move most, so that
    choosing the place does not flatter it.

    Args:
        grids: Grids of all kinds, both ways.
        kind: What is patched.
        slots: Positions.
        layers: Blocks that may be chosen; None for all.
        rng: Generator.
    """
    own = [grid for grid in grids if grid.kind == kind and grid.metric == "refusal"]
    pairs = _both_ways(own)
    if not pairs:
        return None
    grid, other = pairs[0]
    moved = (_moved(grid) + _moved(other)) / 2.0
    open_to = [
        at
        for at, place in enumerate(grid.places)
        if _outside(place, slots) and (layers is None or place.layer in layers)
    ]
    if not open_to or len(moved) < 2 or not np.ptp(moved[:, open_to]) > 0:
        return None
    chosen = open_to[_most(moved[:, open_to].sum(axis=0))]
    held_out = held_out_best(moved[:, open_to])
    place, nulls = grid.places[chosen], null_range(grid.null[:, chosen], symmetric=True)
    return Route(
        kind=kind,
        layer=place.layer,
        head=place.head,
        place=slots[place.slot].name if place.slot >= 0 else "",
        token=slots[place.slot].token if place.slot >= 0 else "",
        moved=paired_bootstrap(held_out, rng=rng),
        share=paired_ratio(held_out, grid.whole, rng=rng),
        null_range=nulls,
        beyond_nulls=_beyond(float(_moved(grid)[:, chosen].mean()), nulls),
        p=float(max_statistic(moved[:, open_to], rng=rng)[open_to.index(chosen)]),
    )


def held_out_best(moved: Float[np.ndarray, "request place"]) -> Float[np.ndarray, " request"]:
    """Each request's number at the place where the other requests move most.

    >>> held_out_best(np.array([[9.0, 1.0], [0.0, 1.0], [0.0, 1.0]])).tolist()
    [1.0, 0.0, 0.0]

    """
    others = moved.sum(axis=0) - moved
    return np.array([row[_most(rest)] for row, rest in zip(moved, others, strict=True)])


def metric_grid(
    refusal: PatchedGrid,
    other: PatchedGrid,
    route: Route | None,
    slots: Sequence[Slot],
    *,
    rng: np.random.Generator,
) -> MetricGrid:
    """How a grid under another metric goes with that of the refusal score, cell by cell."""
    own, theirs = _moved(refusal).mean(axis=0), _moved(other).mean(axis=0)
    live = (own != 0) | (theirs != 0)
    sign = 1.0 if other.whole.mean() * refusal.whole.mean() >= 0 else -1.0
    found = correlation(
        own[live], sign * theirs[live], rng=rng, method="spearman", n_resamples=2, n_permutations=2
    )
    share = np.nan
    if route is not None and other.whole.mean() != 0:
        names = [(p.layer, slots[p.slot].name) for p in other.places]
        share = theirs[names.index((route.layer, route.place))] / other.whole.mean()
    return MetricGrid(
        metric=other.metric,
        total=paired_bootstrap(other.whole, rng=rng),
        spearman=found.estimate,
        share=float(share),
    )


_CARRIES = {
    "resid_pre": "a state after the words on the user",
    "attn_out": "what attention adds after the words on the user",
    "mlp_out": "what an MLP adds after the words on the user",
    "head": "one attention head",
}


def patching_claims(found: PersonaPatching) -> tuple[Claim, ...]:
    """One claim a kind: that its strongest place carries part of who asks to refusal.

    Of users who differ no more than neutral ones nothing holds.
    """
    return tuple(
        Claim(
            part="patching",
            statement=f"{_CARRIES[route.kind]} carries part of who asks to refusal",
            refuted_by=(
                "no place outside of the words on the user moves refusal when it is swapped "
                "between two users, or none more than between two neutral users"
            ),
            n=found.n,
            estimate=route.moved,
            unit="nats",
            control=None,
            p=route.p,
            beyond_nulls=route.beyond_nulls and found.beyond_nulls,
        )
        for route in found.routes
        if route.kind in _CARRIES
    )


def _moved(grid: PatchedGrid) -> Float[np.ndarray, "request place"]:
    return np.asarray(grid.moved.mean(axis=0))


def _both_ways(grids: Sequence[PatchedGrid]) -> list[tuple[PatchedGrid, PatchedGrid]]:
    """Denoised and noised grids of the same places."""
    return [
        (one, other)
        for one in grids
        for other in grids
        if (one.kind, one.metric, one.places) == (other.kind, other.metric, other.places)
        and (one.way, other.way) == ("denoise", "noise")
    ]


def _rows(
    grid: PatchedGrid,
    way: Way,
    moved: Float[np.ndarray, "request place"],
    slots: Sequence[Slot],
    rng: np.random.Generator,
) -> list[tuple[object, ...]]:
    n = len(moved)
    intervals = cluster_bootstrap_columns(moved, np.arange(n), rng=rng, n_resamples=1000)
    ps = max_statistic(moved, rng=rng, n_permutations=5000)
    whole = paired_bootstrap(grid.whole, rng=rng, n_resamples=500)
    out: list[tuple[object, ...]] = []
    for at, place in enumerate(grid.places):
        slot = slots[place.slot] if place.slot >= 0 else None
        null = null_range(grid.null[:, at], symmetric=True) or (np.nan, np.nan)
        mean = float(moved[:, at].mean())
        out.append(
            (
                grid.kind,
                way,
                grid.metric,
                place.layer,
                place.head,
                place.slot,
                "" if slot is None else slot.name,
                "" if slot is None else slot.role,
                "" if slot is None else slot.token,
                mean,
                intervals[at].low,
                intervals[at].high,
                # Of no difference there is no share.
                mean / whole.estimate if whole.excludes() else np.nan,
                *null,
                float(ps[at]),
                n,
            )
        )
    return out


def _most(sums: Float[np.ndarray, " place"]) -> int:
    return int(np.abs(sums).argmax())


def _outside(place: Place, slots: Sequence[Slot]) -> bool:
    return place.slot < 0 or slots[place.slot].role not in ("before", "persona")


def _beyond(moved: float, nulls: tuple[float, float] | None) -> bool:
    low, high = nulls or (0.0, 0.0)
    return not low <= moved <= high
