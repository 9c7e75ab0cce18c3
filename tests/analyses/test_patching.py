"""Planted places are found; where nothing is planted chance is found at its rate."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analyses._patching_types import PatchedGrid, PersonaPatching, Place, Slot
from analyses.patching import (
    held_out_best,
    metric_grid,
    patch_table,
    patching_claims,
    strongest_route,
)
from lens_personas.statistics import Interval

N = 12
SLOTS = (
    Slot(role="before", offset=0, varies=False, token="<bos>"),
    Slot(role="persona", offset=-1, varies=True, token=""),
    Slot(role="between", offset=0, varies=False, token="<tag>"),
    Slot(role="after", offset=-1, varies=False, token="<end>"),
)
PLACES = tuple(Place(layer, -1, slot) for layer in range(3) for slot in range(4))
WHOLE = 2.0


def grid(rng: np.random.Generator, **planted: Any) -> PatchedGrid:
    """Two couples; what a patch moves is noise, but for ``planted`` at its place."""
    way = planted.pop("way", "denoise")
    moved = rng.normal(0, planted.pop("noise", 0.1), (2, N, len(PLACES)))
    moved[:, :, 0] = 0.0
    for at, size in planted.pop("cells", {}).items():
        moved[:, :, PLACES.index(Place(at[0], -1, at[1]))] += size
    second = rng.normal(0, 1, (2, N))
    first = second + WHOLE + rng.normal(0, 0.2, (2, N))
    values = second[..., None] + moved if way == "denoise" else first[..., None] - moved
    null = rng.normal(0, 0.05, (3, len(PLACES)))
    return PatchedGrid(
        kind="resid_pre",
        way=way,
        metric="refusal",
        places=PLACES,
        values=values,
        first=first,
        second=second,
        null=null if way == "denoise" else null[:0],
        null_whole=np.zeros(3 if way == "denoise" else 0),
    )


def both(seed: int, **planted: Any) -> list[PatchedGrid]:
    rng = np.random.default_rng(seed)
    return [grid(rng, way=way, **planted) for way in ("denoise", "noise")]


def test_the_strongest_place_outside_the_words_is_the_planted_one() -> None:
    grids = both(0, cells={(0, 1): 2.0, (1, 2): 1.5, (2, 3): 0.5})
    route = strongest_route(grids, "resid_pre", SLOTS, rng=np.random.default_rng(0))
    assert route is not None
    assert (route.layer, route.place, route.token) == (1, "between 0", "<tag>")
    assert route.moved.low < 1.5 < route.moved.high
    assert route.share.low < 0.75 < route.share.high
    assert route.beyond_nulls
    assert route.p < 0.002


def test_layers_that_may_not_be_chosen_are_not() -> None:
    grids = both(0, cells={(1, 2): 1.5, (2, 3): 0.5})
    route = strongest_route(grids, "resid_pre", SLOTS, layers=[0, 2], rng=np.random.default_rng(0))
    assert route is not None
    assert (route.layer, route.place) == (2, "after −1")


def test_every_cell_stands_in_the_table_all_three_ways() -> None:
    grids = both(0, cells={(1, 2): 1.5})
    table = patch_table(grids, SLOTS, rng=np.random.default_rng(0))
    assert len(table) == 3 * len(PLACES)
    cells = {(c["way"], c["layer"], c["slot"]): c for c in table.to_dict(orient="records")}
    for way in ("denoise", "noise", "both"):
        cell = cells[way, 1, 2]
        assert cell["low"] < 1.5 < cell["high"]
        assert cell["share"] == pytest.approx(0.75, abs=0.1)
        assert (cell["role"], cell["token"], cell["n"]) == ("between", "<tag>", N)
        assert cell["p"] < 0.01
        # Nothing can change before the first token that differs.
        assert (cells[way, 0, 0]["estimate"], cells[way, 0, 0]["p"]) == (0.0, 1.0)
    one, other, mean = (
        table.loc[table["way"] == way, "estimate"].to_numpy(float)
        for way in ("denoise", "noise", "both")
    )
    np.testing.assert_allclose(mean, (one + other) / 2)


def test_chance_is_found_at_its_rate() -> None:
    found = [
        strongest_route(both(seed), "resid_pre", SLOTS, rng=np.random.default_rng(seed))
        for seed in range(60)
    ]
    p = np.array([route.p for route in found if route is not None])
    # Binomial(60, .05): more than 8 come once in two hundred.
    assert (p < 0.05).sum() <= 8
    held_out = np.array([route.moved.estimate for route in found if route is not None])
    assert abs(held_out.mean()) < 3 * held_out.std() / np.sqrt(len(held_out))


def test_choosing_the_place_does_not_flatter_its_number() -> None:
    noise = np.random.default_rng(0).normal(size=(400, 6, 30))
    signed = [held_out_best(each) for each in noise]
    # The best of 30 on the same requests would be near one standard error and more.
    assert abs(np.mean(signed)) < 0.1
    assert np.mean([np.abs(each.mean(axis=0)).max() for each in noise]) > 0.7


def test_users_swapped_turn_the_sign() -> None:
    """First for second, state put in for state taken out: what was moved is moved back."""
    one, other = both(0, cells={(1, 2): 1.5})
    turned = [
        replace(other, way="denoise", first=other.second, second=other.first),
        replace(one, way="noise", first=one.second, second=one.first),
    ]
    rng = np.random.default_rng
    before, after = (
        patch_table(grids, SLOTS, rng=rng(0)).query("way == 'both'")["estimate"].to_numpy()
        for grids in ([one, other], turned)
    )
    np.testing.assert_allclose(after, -before)


def test_a_metric_that_falls_as_refusal_rises_goes_with_it() -> None:
    refusal = both(0, cells={(1, 2): 1.5, (2, 3): 0.7})[0]
    scale = -3.0
    other = replace(
        refusal,
        metric="answer",
        values=refusal.values * scale,
        first=refusal.first * scale,
        second=refusal.second * scale,
    )
    route = strongest_route(
        both(0, cells={(1, 2): 1.5}), "resid_pre", SLOTS, rng=np.random.default_rng(0)
    )
    found = metric_grid(refusal, other, route, SLOTS, rng=np.random.default_rng(0))
    assert found.spearman == pytest.approx(1.0)
    assert found.share == pytest.approx(0.75, abs=0.1)
    assert found.total.estimate == pytest.approx(scale * WHOLE, abs=0.5)


def result(grids: list[PatchedGrid]) -> PersonaPatching:
    rng = np.random.default_rng(0)
    route = strongest_route(grids, "resid_pre", SLOTS, rng=rng)
    whole = Interval(estimate=WHOLE, low=1.9, high=2.1, level=0.95)
    table = patch_table(grids, SLOTS, rng=rng)
    return PersonaPatching(
        n=N,
        control="coffee",
        couples=(),
        total=whole,
        n_nulls=3,
        null_range=(-0.1, 0.1),
        n_statements=1,
        slots=SLOTS,
        by_cell=table,
        routes=() if route is None else (route,),
        metrics=(),
        left_out=(),
        by_request=table[:0],
    )


def test_what_moves_no_more_than_neutral_users_do_is_not_beyond_them() -> None:
    (claim,) = patching_claims(result(both(0, cells={(1, 2): 0.06}, noise=0.005)))
    assert claim.p < 0.01
    assert not claim.beyond_nulls
    (held,) = patching_claims(result(both(0, cells={(1, 2): 1.0})))
    assert held.beyond_nulls
    assert held.refuted_by


def test_without_a_second_way_nothing_is_claimed() -> None:
    assert patching_claims(result(both(0)[:1])) == ()
