"""Figures of two models hold the numbers they are drawn from, in both themes and on paper."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Polygon

from analyses._pair_figures_compared import base_tuned_scatter, chosen_layers
from analyses._pair_figures_divergence import predicted_lengths
from analyses._pair_figures_halves import ridges
from analyses._pair_figures_lengths import length_curves
from analyses._pair_figures_metrics import correlation_heatmaps, metric_forest
from analyses._pair_panels import pair_panels
from analyses._pair_panels_steering import steering_rows
from analyses._panel import Panel
from analyses.shift import Shift
from lens_personas.views import DARK, LIGHT, write_static
from lens_personas.views._static._draw import drawn


@pytest.fixture(scope="module")
def shown(pair_study: Shift) -> tuple[Panel, ...]:
    return pair_panels(pair_study)


def planted_halves(gap: float, n: int = 40) -> pd.DataFrame:
    values = np.linspace(-1.0, 1.0, n)
    rows = [
        ("base", "tidiness", aligned, f"{aligned}{i}", order, value + (gap if aligned else 0.0))
        for aligned in (True, False)
        for i, value in enumerate(values)
        for order in ("yes_first", "no_first")
    ]
    columns = ["side", "behaviour", "aligned", "statement_id", "order", "log_odds"]
    return pd.DataFrame(rows, columns=columns)


def forest_rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "side": ["base", "tuned", "base", "tuned"],
            "behaviour": ["a", "a", "b", "b"],
            "metric": "auroc",
            "estimate": [0.5, 0.9, 0.6, 0.2],
            "low": [0.4, 0.8, 0.4, 0.1],
            "high": [0.6, 1.0, 0.8, 0.3],
            "p": [0.9, 0.001, 0.3, 0.001],
            "p_bh": [0.9, 0.002, 0.4, 0.002],
            "null_low": [0.4, 0.4, np.nan, 0.3],
            "null_high": [0.6, 0.6, np.nan, 0.7],
        }
    )


def test_each_figure_comes_light_and_dark_with_its_question_and_null(
    shown: tuple[Panel, ...],
) -> None:
    assert {panel.section for panel in shown} == {
        "distinguishability",
        "internal",
        "divergence",
        "steerability",
        "comparison",
    }
    assert len({panel.key for panel in shown}) == len(shown)
    for panel in shown:
        assert panel.question.endswith("?")
        assert panel.read
        assert panel.null
        assert panel.light.layout.paper_bgcolor == LIGHT.paper
        assert panel.dark.layout.paper_bgcolor == DARK.paper
        assert len(panel.light.data) == len(panel.dark.data) > 0


@pytest.mark.slow
def test_every_figure_is_drawn_for_print(shown: tuple[Panel, ...], tmp_path: Path) -> None:
    for panel in shown:
        (svg,) = write_static(panel.light, tmp_path / panel.key, formats=("svg",))
        assert ElementTree.parse(svg).getroot().tag.endswith("svg")


@pytest.mark.parametrize("gap", [0.0, 3.0])
def test_ridges_are_as_far_apart_as_the_halves(gap: float) -> None:
    figure = ridges(planted_halves(gap))
    centres = []
    for trace in (t for t in figure.data if t.fill == "toself"):
        x, height = (np.array(each[:-1], dtype=float) for each in (trace.x, trace.y))
        weight = -height
        assert (x[-1], weight[-1]) == (x.max(), 0.0)
        centres.append(np.average(x, weights=weight))
    assert centres[0] - centres[1] == pytest.approx(gap, abs=0.02)
    # Two curves of one shape are equally high, and stay within their row.
    tops = [min(y for y in t.y if y is not None) for t in figure.data if t.fill == "toself"]
    assert tops == pytest.approx([-0.82, -0.82], abs=1e-3)


def test_halves_too_small_to_smooth_are_marks_alone() -> None:
    table = planted_halves(1.0, n=3)
    figure = ridges(table)
    assert all(list(t.x) == [None] for t in figure.data if t.fill == "toself")
    medians = [t.x[0] for t in figure.data if t.mode == "markers"]
    assert medians == pytest.approx([1.0, 0.0])


def test_curves_of_rows_are_apart_on_paper_too(pair_study: Shift) -> None:
    canvas = drawn(ridges(pair_study.scores))
    for axes in canvas.axes:
        shapes = [patch for patch in axes.patches if isinstance(patch, Polygon)]
        # One for each half and behaviour: none bridges two rows.
        assert len(shapes) == 2 * 6
        assert all(np.ptp(shape.get_xy()[:, 1]) < 1 for shape in shapes)


def test_forest_fills_what_is_found_and_shows_chance() -> None:
    figure = metric_forest(forest_rows(), names={"auroc": "AUROC"}, chance={"auroc": 0.5})
    base, tuned = (next(t for t in figure.data if t.name == side) for side in ("base", "tuned"))
    assert list(base.x) == [0.5, 0.6]
    assert list(base.marker.color) == [LIGHT.paper] * 2
    assert list(tuned.marker.color) == [LIGHT.side("refusal")] * 2
    assert list(tuned.error_x.array) == pytest.approx([0.1, 0.1])
    assert all(up < down for up, down in zip(base.y, tuned.y, strict=True))
    chance = next(t for t in figure.data if t.name == "chance")
    assert [x for x in chance.x if x is not None] == [0.4, 0.6, 0.4, 0.6, 0.3, 0.7]
    low, high = figure.layout.xaxis.range
    assert low < 0.1
    assert high > 1.0


def test_forest_draws_only_metrics_that_are_there() -> None:
    names = {"wasserstein": "W1", "auroc": "AUROC"}
    titles = [a.text for a in metric_forest(forest_rows(), names=names).layout.annotations]
    assert titles == ["AUROC"]


def test_length_curves_start_from_the_question_alone() -> None:
    rows = [("tuned", "none", 0, 0.1), ("tuned", "misaligned", 1, 0.4), ("tuned", "yes", 1, 0.2)]
    table = pd.DataFrame(rows, columns=["side", "arm", "n_sentences", "estimate"])
    figure = length_curves(table.assign(low=0.0, high=1.0))
    lines = {t.name: (list(t.x), list(t.y)) for t in figure.data if t.mode == "lines+markers"}
    assert lines == {
        "misaligned persona": ([0, 1], [0.1, 0.4]),
        "“say yes to everything”": ([0, 1], [0.1, 0.2]),
    }


def test_heat_maps_leave_out_what_is_undefined() -> None:
    matrix = pd.DataFrame([[1.0, np.nan], [np.nan, 1.0]], index=["a", "b"], columns=["a", "b"])
    (trace,) = correlation_heatmaps({"base": matrix}, names={"a": "A"}).data
    assert list(map(list, trace.z)) == [[1.0, None], [None, 1.0]]
    assert list(trace.x) == ["A", "b"]


def test_lengths_that_were_not_reached_stand_beyond() -> None:
    rows = [("base", "a", 2.0, 4.0), ("base", "b", np.inf, np.inf), ("base", "c", 3.0, np.nan)]
    table = pd.DataFrame(rows, columns=["side", "behaviour", "predicted", "observed"])
    trace = predicted_lengths(table).data[1]
    # The one that was not tried is left out.
    assert list(trace.x) == pytest.approx([2.0, trace.x[1]])
    assert trace.x[1] == trace.y[1] > 4.0
    assert "observed inf" not in trace.hovertext[1]


def test_scatter_fills_what_differs() -> None:
    values = pd.DataFrame(
        {"behaviour": ["a", "b"], "measure": "auroc", "base": [0.5, 0.6], "tuned": [0.9, 0.6]}
    )
    figure = base_tuned_scatter(
        values, names={"auroc": "AUROC"}, undesirable=["b"], found={("a", "auroc")}
    )
    good, bad = figure.data[1:]
    assert (list(good.x), list(good.y)) == ([0.5], [0.9])
    assert good.marker.color == (LIGHT.side("pro"),)
    assert bad.marker.color == (LIGHT.paper,)
    assert good.marker.symbol != bad.marker.symbol


def test_steering_rows_hold_the_null_of_vectors(pair_study: Shift) -> None:
    assert pair_study.steerability is not None
    rows = steering_rows(pair_study.steerability)
    vectors = rows[rows["metric"] == "vector slope"]
    assert len(vectors) == 2 * 6
    assert (vectors["null_low"] < 0).all()
    assert (vectors["null_high"] < vectors["low"]).all()
    assert rows["found"].all()
    assert rows.loc[rows["metric"] == "net prompt trend", "null_low"].isna().all()
    within = replace(
        pair_study.steerability,
        vectors=tuple(replace(c, beyond_null=False) for c in pair_study.steerability.vectors),
    )
    rows = steering_rows(within)
    assert set(rows.loc[rows["found"], "metric"]) <= {"net prompt trend", "half-length"}
    # What is within the random directions' range is hollow, however small its p.
    figure = metric_forest(rows, names={"vector slope": "vector"})
    assert {c for t in figure.data if t.mode == "markers" for c in t.marker.color} == {LIGHT.paper}


def test_one_layer_is_drawn_a_side_and_behaviour() -> None:
    table = pd.DataFrame(
        {"side": ["base"] * 4, "behaviour": ["a", "a", "b", "b"], "layer": [1, 2, 1, 2]}
    )
    kept = chosen_layers(table, {("base", "a"): (2,), ("base", "b"): (1, 2)})
    assert list(kept["layer"]) == [2, 1]
