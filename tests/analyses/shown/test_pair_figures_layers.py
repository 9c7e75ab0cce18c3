"""Figures by layer: every side and behaviour is drawn, nulls too, and names are only text."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from analyses._pair_figures_layers import internal_curves, internal_forest, internal_shift
from analyses.internal_distinguishability import (
    ANSWER_COLUMNS,
    INTERNAL_COLUMNS,
    InternalDistinguishability,
    internal_distinguishability,
)
from lens_personas.views import DARK, LIGHT

HOSTILE = "<img src=x onerror=alert(1)>"


def result(*, answers: bool = True, sides: tuple[str, ...] = ("base", "tuned"), n: int = 6):
    rng = np.random.default_rng(0)
    rows = []
    for side in sides:
        for at in range(n):
            for layer in range(4):
                auroc = 0.5 + rng.normal(0, 0.02) + (side == "tuned") * 0.1 * layer
                value = {
                    "side": side,
                    "behaviour": HOSTILE if at == 0 else f"behaviour {at}",
                    "layer": layer,
                    "p": 0.001 if auroc > 0.65 else 0.5,
                    "null_auroc_95": 0.6,
                    "n": 40,
                }
                value |= {"auroc": auroc, "auroc_low": auroc - 0.1, "auroc_high": auroc + 0.1}
                value |= {"d_prime": auroc, "d_prime_low": auroc - 1, "d_prime_high": auroc + 1}
                if answers:
                    value |= dict.fromkeys(ANSWER_COLUMNS, auroc)
                rows.append(value)
    table = pd.DataFrame(rows)
    assert set(INTERNAL_COLUMNS) <= set(table.columns)
    found = internal_distinguishability(table, rng=rng)
    assert found is not None
    return found


def names_of(figure: go.Figure) -> list[str]:
    return [trace.name for trace in figure.data if trace.showlegend is not False and trace.name]


def test_curves_show_both_sides_their_nulls_and_every_behaviour() -> None:
    found = result()
    figure = internal_curves(found)
    assert names_of(figure) == [
        "base",
        "base: labels dealt anew, 95 %",
        "tuned",
        "tuned: labels dealt anew, 95 %",
    ]
    assert [each.text for each in figure.layout.annotations] == [
        "AUROC of a probe",
        "d′ along the difference of means",
        "AUROC of “Yes” read off the layer",
    ]
    faint = [trace for trace in figure.data if trace.mode == "lines" and None in tuple(trace.x)]
    assert len(faint) == 6
    assert all(len(trace.x) == 6 * 5 for trace in faint), "six behaviours of four layers and a gap"
    mean = found.curves.query("side == 'tuned'").sort_values("layer")["auroc"]
    drawn = [trace for trace in figure.data if trace.name == "tuned" and "markers" in trace.mode]
    np.testing.assert_allclose(drawn[0].y, mean)


def test_what_was_not_read_is_not_drawn() -> None:
    figure = internal_curves(result(answers=False))
    assert len(figure.layout.annotations) == 2
    shift = internal_shift(result(answers=False))
    assert names_of(shift) == ["AUROC of a probe"]


def test_marks_of_the_shift_are_filled_where_it_lasts() -> None:
    found = result(n=8)
    figure = internal_shift(found)
    assert names_of(figure) == ["AUROC of a probe", "AUROC of “Yes” read off the layer"]
    lasting = found.shift_by_layer.query("measure == 'auroc'").sort_values("layer")["p"] < 0.05
    assert lasting.any()
    assert not lasting.all()
    line = next(t for t in figure.data if t.name == "AUROC of a probe" and t.mode != "lines")
    assert [colour != LIGHT.paper for colour in line.marker.color] == list(lasting)


def test_every_behaviour_has_its_row_and_its_null() -> None:
    figure = internal_forest(result())
    assert [each.text for each in figure.layout.annotations] == [
        "AUROC at the best layer",
        "AUROC, mean over layers",
        "d′ at that layer",
    ]
    assert len(figure.layout.yaxis.ticktext) == 6
    assert "chance" in names_of(figure)


@pytest.mark.parametrize("found", [result(), result(sides=("base",), n=1)], ids=["all", "bare"])
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_names_are_only_text(found: InternalDistinguishability, theme: object) -> None:
    for draw in (internal_curves, internal_shift, internal_forest):
        assert "<img" not in draw(found, theme=theme).to_json()
