"""Every figure of the report, drawn again by matplotlib: the same data at the same places."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import plotly.graph_objects as go
import pytest
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.colors import to_hex
from PIL import Image
from plotly.subplots import make_subplots

from analyses._report_panels import panels
from lens_personas.views import write_static
from lens_personas.views._static._draw import drawn


def test_every_figure_of_a_study_is_written_in_both_formats(study: Any, tmp_path: Path) -> None:
    shown = panels(study)
    assert len(shown) >= 10
    for panel in shown:
        svg, png = write_static(panel.light, tmp_path / panel.key)
        assert ElementTree.parse(svg).getroot().tag.endswith("svg")
        with Image.open(png) as image:
            assert len(set(image.convert("L").resize((64, 64)).tobytes())) > 3, panel.key
    # Nothing but the two files a figure is left.
    assert len(list(tmp_path.iterdir())) == 2 * len(shown)


def test_the_same_figure_is_the_same_file(study: Any, tmp_path: Path) -> None:
    figure = panels(study)[0].light
    first, second = (
        write_static(figure, tmp_path / name, formats=("svg",))[0] for name in ("a", "b")
    )
    assert first.read_bytes() == second.read_bytes()


def test_marks_bars_and_intervals_stand_where_the_data_say() -> None:
    figure = make_subplots(cols=2)
    error = {"type": "data", "array": [0.5, 1.0], "arrayminus": [0.25, 0.5], "symmetric": False}
    figure.add_trace(go.Scatter(x=[1, 2], y=[3, 4], mode="markers", error_y=error), row=1, col=1)
    figure.add_trace(go.Bar(x=["a", "b"], y=[0.2, -0.4]), row=1, col=2)
    canvas = drawn(figure)
    left, right = canvas.axes
    (marks,) = (c for c in left.collections if isinstance(c, PathCollection))
    assert np.asarray(marks.get_offsets()).tolist() == [[1, 3], [2, 4]]
    (ends,) = (c for c in left.collections if not isinstance(c, PathCollection))
    spans = [segment[:, 1].tolist() for segment in ends.get_segments()]
    assert spans == [[2.75, 3.5], [3.5, 5.0]]
    assert [bar.get_height() for bar in right.patches] == [0.2, -0.4]
    assert [label.get_text() for label in right.get_xticklabels()] == ["a", "b"]


def test_a_heat_map_keeps_its_values_names_and_scale() -> None:
    values = [[0.0, 0.5], [1.0, None]]
    look = {"colorscale": [[0, "#ffffff"], [1, "#000000"]], "zmin": -1, "zmax": 1}
    canvas = drawn(go.Figure(go.Heatmap(z=values, x=["p", "q"], y=["r", "s"], **look)))
    (mesh,) = (c for c in canvas.axes[0].collections if isinstance(c, QuadMesh))
    found = np.ma.filled(mesh.get_array().astype(float), np.nan).reshape(2, 2)
    np.testing.assert_array_equal(found, [[0.0, 0.5], [1.0, np.nan]])
    assert (mesh.norm.vmin, mesh.norm.vmax) == (-1, 1)


def test_axes_that_match_share_a_range() -> None:
    figure = make_subplots(cols=2)
    figure.add_trace(go.Scatter(x=[0, 1], y=[0, 1]), row=1, col=1)
    figure.add_trace(go.Scatter(x=[0, 10], y=[0, 1]), row=1, col=2)
    figure.update_xaxes(matches="x")
    left, right = drawn(figure).axes
    assert left.get_xlim() == right.get_xlim()
    assert left.get_xlim()[1] >= 10


def test_an_axis_turned_round_stays_so() -> None:
    figure = go.Figure(go.Scatter(x=[0, 1], y=["a", "b"]))
    figure.update_yaxes(range=[1.5, -0.5])
    assert drawn(figure).axes[0].get_ylim() == (1.5, -0.5)


def test_names_are_text_and_neither_markup_nor_mathematics() -> None:
    hostile = "&lt;img onerror=x&gt; $\\frac{1}{2}$"
    canvas = drawn(go.Figure(go.Scatter(x=[1], y=[hostile], name=hostile, showlegend=True)))
    canvas.canvas.draw()
    (label,) = canvas.axes[0].get_yticklabels()
    assert label.get_text() == r"<img onerror=x> \$\frac{1}{2}\$"


def test_what_cannot_be_drawn_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="expected a trace among scatter, bar, heatmap, got 'violin'"
    ):
        write_static(go.Figure(go.Violin(y=[1, 2, 3])), tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_slanted_labels_end_under_their_tick() -> None:
    figure = go.Figure(go.Scatter(x=["a", "b"], y=[1, 2]))
    figure.update_xaxes(tickangle=-55)
    labels = drawn(figure).axes[0].get_xticklabels()
    assert {(label.get_rotation(), label.get_ha()) for label in labels} == {(55.0, "right")}


def test_numbers_in_cells_and_all_words_can_be_read_on_a_dark_ground() -> None:
    look = {"colorscale": [[0, "#000000"], [1, "#ffffff"]], "zmin": 0, "zmax": 1}
    heat = go.Heatmap(z=[[0.0, 1.0]], text=[["no", "yes"]], texttemplate="%{text}", **look)
    figure = go.Figure([heat, go.Scatter(x=[0], y=[0], name="mark", showlegend=True)])
    figure.update_layout(font_color="#eeeeee", paper_bgcolor="#111111")
    canvas = drawn(figure)
    inks = {text.get_text(): text.get_color() for text in canvas.axes[0].texts}
    assert inks == {"no": "white", "yes": "black"}
    (word,) = canvas.legends[0].get_texts()
    ticks = canvas.axes[1].get_yticklabels()
    assert {to_hex(each.get_color()) for each in (word, *ticks)} == {"#eeeeee"}


def test_without_matplotlib_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lens_personas.views._static._write.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'lens-personas\[paper\]'"):
        write_static(go.Figure(), tmp_path / "x")
