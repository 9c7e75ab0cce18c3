"""The part on attribution is told and drawn from any result, whatever its names and gaps."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from analyses._attribution_types import Foretold, ForetoldBy, PersonaAttribution
from analyses._patching_types import PatchKind, Place, Slot
from analyses._shown.attribution import SHOWN
from analyses.attribution import agreement, cell_table, edge_table
from lens_personas.statistics import FaithfulnessCurve, faithfulness_curve

HOSTILE = "<img src=x onerror=alert(1)>"
N = 6
SLOTS = (
    Slot(role="request", offset=-2, varies=False, token=HOSTILE),
    Slot(role="request", offset=-1, varies=False, token=""),
)


def curve(reach: float) -> FaithfulnessCurve:
    rows = [
        (
            size,
            kind,
            draw,
            part,
            prompt,
            prompt,
            (size / 16 * reach if kind == "ranked" else 0.1) if part == "circuit" else 0.0,
            1.0 + prompt / 100,
            0.0,
        )
        for size in (4, 16)
        for kind, draw in (("ranked", 0), ("random", 0), ("random", 1))
        for part in ("circuit", "complement")
        for prompt in range(N)
    ]
    names = ["size", "kind", "draw", "part", "prompt", "cluster", "value", "clean", "corrupted"]
    return faithfulness_curve(pd.DataFrame(rows, columns=names), rng=np.random.default_rng(0))


@cache
def planted(*, edges: bool = True, reach: float = 1.0) -> PersonaAttribution:
    rng = np.random.default_rng(0)
    places = {
        "resid_pre": tuple(Place(layer, -1, slot) for layer in (0, 1) for slot in (0, 1)),
        "head": tuple(Place(layer, head, -1) for layer in (0, 1) for head in (0, 1)),
    }
    kinds: tuple[PatchKind, ...] = ("resid_pre", "head") if edges else ("resid_pre",)
    methods: tuple[ForetoldBy, ...] = ("plain", "integrated")
    real = rng.normal(size=4) + rng.normal(0, 0.01, (1, N, 4))
    grids = [
        Foretold(kind=kind, method=method, places=places[kind], predicted=real * 0.9, patched=real)
        for kind in kinds
        for method in methods
    ]
    names = [(HOSTILE, "logits"), ("embed", "attn 0")] if edges else []
    return PersonaAttribution(
        n=N,
        couples=((HOSTILE, "kind"),),
        slots=SLOTS,
        agreements=tuple(agreement(grid, top=3, rng=rng) for grid in grids),
        by_cell=cell_table(grids, SLOTS),
        edges=edge_table(
            rng.normal(1, 0.1, (1, N, len(names))), np.full((1, N), 3.0), names, top=5, rng=rng
        ),
        n_edges=len(names),
        curve=curve(reach) if edges else None,
        n_curve=N,
        curve_apart=edges,
    )


@pytest.mark.parametrize(("edges", "n"), [(True, 3), (False, 1)])
def test_every_figure_is_drawn_and_no_name_is_markup(edges: bool, n: int) -> None:
    panels = SHOWN.panels(planted(edges=edges))
    assert len({each.key for each in panels}) == len(panels) == n
    for each in panels:
        assert each.section == "part-attribution"
        for figure in (each.light, each.dark):
            assert "<img" not in figure.to_json().replace("\\u003c", "<")


@pytest.mark.parametrize(
    ("reach", "words"),
    [(1.0, "the first 16 of 2 edges alone carry"), (0.2, "no number of edges that was tried")],
)
def test_the_size_that_is_enough_is_told_beside_random_circuits(reach: float, words: str) -> None:
    told = SHOWN.tell(planted(reach=reach))
    assert "residual, plain: 1.00" in told.answer
    assert words in told.answer
    agreements, sizes, edges = told.tables
    assert len(agreements.rows) == 4
    assert [row[0] for row in sizes.rows] == ["4", "16"]
    assert HOSTILE in {row[1] for row in edges.rows}
    for table in told.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_without_edges_the_grids_alone_are_told() -> None:
    told = SHOWN.tell(planted(edges=False))
    assert told.answer.endswith("Edges are not defined on this model.")
    assert len(told.tables) == 1


def test_a_curve_on_the_requests_of_its_ranking_is_called_flattered() -> None:
    told = SHOWN.tell(replace(planted(), curve_apart=False))
    assert "the curve flatters them" in " ".join(told.limits)
