"""Circuits by size on tiny models: their two ends, their cuts, and random circuits beside."""

import numpy as np
import pytest

from lens_personas.interventions import (
    LastTokens,
    ModelGraph,
    circuit_values,
    faithfulness,
    run_circuits,
)
from lens_personas.models import Prompt
from lens_personas.statistics import FAITHFULNESS_COLUMNS, faithfulness_curve

MARGIN = LastTokens(token_ids=(7, 3), weights=(1.0, -1.0))
GRAPH = ModelGraph(n_layers=3, n_heads=4)
# The numbers do not hang on the architecture.
pytestmark = pytest.mark.parametrize("tiny_model", ["tiny_checkpoint"], indirect=True)


def said(*ids: int) -> Prompt:
    return Prompt(prompt_id=f"of {ids[0]}", ids=ids, prompt_length=len(ids), spans={}, text="")


CLEAN = (said(90, 20, 31, 42, 53), said(90, 80, 70), said(5, 6, 7, 8))
CORRUPTED = (said(91, 20, 60, 42, 53), said(91, 80, 70), said(5, 9, 7, 8))
SIZES = (0, 5, len(GRAPH.edges))


@pytest.fixture(scope="module")
def table(tiny_model):
    return circuit_values(
        tiny_model,
        CLEAN,
        CORRUPTED,
        MARGIN,
        GRAPH.edges[::-1],
        SIZES,
        rng=np.random.default_rng(0),
        n_random=2,
        clusters=["a", "b", "b"],
    )


def test_no_edge_is_corrupted_and_all_are_clean_and_cut_the_other_way_round(table):
    for size, part, column in (
        (0, "circuit", "corrupted"),
        (0, "complement", "clean"),
        (SIZES[-1], "circuit", "clean"),
        (SIZES[-1], "complement", "corrupted"),
    ):
        rows = table[(table["size"] == size) & (table["part"] == part)]
        assert rows["value"].to_numpy() == pytest.approx(rows[column].to_numpy(), abs=1e-4)
        assert len(rows) == 3 * 3


def test_every_run_of_every_pair_is_there_once(table):
    assert {*FAITHFULNESS_COLUMNS, "prompt_id"} == {*table.columns}
    assert len(table) == len(SIZES) * 3 * 2 * 3 == len(table.drop_duplicates(list(table.columns)))
    named = table.drop_duplicates("prompt").sort_values("prompt")
    assert named["prompt_id"].tolist() == ["of 90", "of 90", "of 5"]
    assert named["cluster"].tolist() == ["a", "b", "b"]


def test_a_circuit_is_the_first_edges_of_the_ranking(tiny_model, table):
    first = GRAPH.edges[::-1][:5]
    expected = run_circuits(tiny_model, CLEAN, CORRUPTED, [first], MARGIN)[0]
    rows = table[(table["size"] == 5) & (table["kind"] == "ranked") & (table["part"] == "circuit")]
    values = rows.sort_values("prompt")["value"].to_numpy()
    assert values == pytest.approx(expected.numpy(), abs=1e-4)


def test_the_curve_is_that_of_the_values(tiny_model, table):
    curve = faithfulness(
        tiny_model,
        CLEAN,
        CORRUPTED,
        MARGIN,
        GRAPH.edges[::-1],
        SIZES,
        rng=np.random.default_rng(0),
        n_random=2,
        clusters=["a", "b", "b"],
    )
    expected = faithfulness_curve(table, rng=np.random.default_rng(1))
    ours = [(p.size, p.faithfulness.estimate, p.left.estimate, p.random) for p in curve.points]
    theirs = [(p.size, p.faithfulness.estimate, p.left.estimate, p.random) for p in expected.points]
    assert ours == theirs
    assert [p.faithfulness.estimate for p in curve.points][::2] == pytest.approx([0, 1], abs=1e-3)
    assert curve.reached == SIZES[-1]


def test_what_is_no_ranking_is_refused(tiny_model):
    def of(ranking, sizes, **options):
        rng = np.random.default_rng(0)
        return circuit_values(
            tiny_model, CLEAN, CORRUPTED, MARGIN, ranking, sizes, rng=rng, **options
        )

    with pytest.raises(ValueError, match="each edge once, got 2 edges of which 1 differ"):
        of(GRAPH.edges[:1] * 2, (1,))
    with pytest.raises(ValueError, match=r"sizes from 0 to 3.*got \[4\]"):
        of(GRAPH.edges[:3], (1, 4))
    with pytest.raises(ValueError, match="got none"):
        of(GRAPH.edges[:3], ())
    with pytest.raises(ValueError, match="random rankings of at least 0, got -1"):
        of(GRAPH.edges[:3], (1,), n_random=-1)
    with pytest.raises(ValueError, match="one cluster for each of 3 pairs, got 1"):
        of(GRAPH.edges[:3], (1,), clusters=["a"])
