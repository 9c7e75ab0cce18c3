"""The part on patching is told and drawn from any result, whatever its names and gaps."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from analyses._patching_types import (
    CoupleEffect,
    MetricGrid,
    PatchedGrid,
    PatchKind,
    PersonaPatching,
    Place,
    Slot,
)
from analyses._shown.patching import SHOWN
from analyses.patching import patch_table, patching_claims, strongest_route
from lens_personas.statistics import Interval

HOSTILE = "<img src=x onerror=alert(1)>"
N = 10
SLOTS = (
    Slot(role="before", offset=0, varies=False, token=HOSTILE),
    Slot(role="persona", offset=-1, varies=True, token=""),
    Slot(role="after", offset=-1, varies=False, token=HOSTILE),
)
WHOLE = Interval(estimate=2.0, low=1.8, high=2.2, level=0.95)


def grid(
    kind: PatchKind, way: str, places: tuple[Place, ...], size: float, whole: float
) -> PatchedGrid:
    rng = np.random.default_rng(0)
    second = rng.normal(size=(1, N))
    first = second + whole + rng.normal(0, 0.1, (1, N))
    moved = rng.normal(size, 0.1, (1, N, len(places)))
    values = second[..., None] + moved if way == "denoise" else first[..., None] - moved
    null = rng.normal(0, 0.01, (2, len(places)))
    return PatchedGrid(
        kind=kind,
        way=way,  # type: ignore[arg-type]
        metric="refusal",
        places=places,
        values=values,
        first=first,
        second=second,
        null=null,
        null_whole=np.zeros(2),
    )


@cache
def planted(*, size: float = 1.0, heads: bool = True, whole: float = 2.0) -> PersonaPatching:
    by_slot = tuple(Place(layer, -1, slot) for layer in (0, 1) for slot in range(3))
    by_head = tuple(Place(layer, head, -1) for layer in (0, 1) for head in (0, 1))
    at_head = tuple(Place(1, 0, slot) for slot in range(3))
    grids = [grid("resid_pre", way, by_slot, size, whole) for way in ("denoise", "noise")]
    if heads:
        grids += [grid("head", way, by_head, size, whole) for way in ("denoise", "noise")]
        grids.append(grid("head_at", "denoise", at_head, size, whole))
    rng = np.random.default_rng(0)
    kinds: tuple[PatchKind, ...] = ("resid_pre", "head")
    found = [strongest_route(grids, kind, SLOTS, rng=rng) for kind in kinds]
    table = patch_table(grids, SLOTS, rng=rng)
    return PersonaPatching(
        n=N,
        control="coffee",
        couples=(CoupleEffect(first=HOSTILE, second="kind", total=WHOLE),),
        total=WHOLE,
        n_nulls=2,
        null_range=(-0.1, 0.1),
        n_statements=1,
        slots=SLOTS,
        by_cell=table,
        routes=tuple(each for each in found if each is not None),
        metrics=(MetricGrid(metric="kl", total=WHOLE, spearman=0.9, share=float("nan")),),
        left_out=(f"{HOSTILE} and kind: no statements",),
        by_request=table[:0],
    )


@pytest.mark.parametrize(("heads", "n"), [(True, 3), (False, 2)])
def test_every_figure_is_drawn_and_no_name_is_markup(heads: bool, n: int) -> None:
    panels = SHOWN.panels(planted(heads=heads))
    assert len({each.key for each in panels}) == len(panels) == n
    for each in panels:
        assert each.section == "part-patching"
        for figure in (each.light, each.dark):
            assert "<img" not in figure.to_json().replace("\\u003c", "<")


def test_the_strongest_places_are_told_with_what_neutral_users_do() -> None:
    told = SHOWN.tell(planted())
    assert "residual before the block, layer" in told.answer
    assert "one more neutral couple [−0.10, 0.10]" in told.answer
    routes, path, couples, metrics = told.tables
    assert len(routes.rows) == 2
    assert [row[0] for row in path.rows] == ["0", "1"]
    assert couples.rows[0][0] == HOSTILE
    assert metrics.rows[0][-1] == "–"
    for table in told.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
    assert any(HOSTILE in limit for limit in told.limits)


def test_nothing_found_is_told_as_nothing() -> None:
    told = SHOWN.tell(planted(size=0.0))
    assert "No place outside of the words on the user carries it beyond chance." in told.answer


def test_of_no_difference_there_is_no_share() -> None:
    found = planted(size=0.0, whole=0.0)
    assert found.by_cell["share"].isna().all()
    assert {row[3] for row in SHOWN.tell(found).tables[0].rows} == {"–"}
    assert len(SHOWN.panels(found)) == 3


def test_a_difference_that_neutral_users_make_as_well_is_not_followed() -> None:
    found = replace(planted(), null_range=(-3.0, 3.0))
    assert "nothing to follow" in SHOWN.tell(found).answer
    assert patching_claims(found)
    assert not any(claim.beyond_nulls for claim in patching_claims(found))


def test_without_neutral_users_it_is_said() -> None:
    found = replace(planted(), n_nulls=0, null_range=None)
    assert "neutral" not in SHOWN.tell(found).answer
    assert "no pair of neutral users" in SHOWN.panels(found)[0].null
