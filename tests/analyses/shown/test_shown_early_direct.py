"""The direct measure is told and drawn from any result, names and gaps included."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analyses._shown._early_direct import direct_panels, direct_sentence, direct_tables
from analyses.known_answers import KnownAnswers, LensFit
from lens_personas.statistics import Interval

HOSTILE = "<img src=x onerror=alert(1)>"
SHARES = ("top1", "top1_low", "top1_high", "other_top1", "random_top1", "refusal_top1")
NATS = ("log_prob", "whole", "per_token", "other_per_token", "difference", "null_low")


def planted(**changes: Any) -> KnownAnswers:
    rows = []
    for lens in ("logit", "tuned"):
        for layer in (0, 3, 7):
            row: dict[str, Any] = {"lens": lens, "layer": layer, "median_rank": 1.0, "p": 0.01}
            row |= dict.fromkeys(SHARES, 0.0) | dict.fromkeys(NATS, -2.0)
            row |= {"difference_low": -3.0, "difference_high": -1.0, "null_high": 0.5}
            row |= {"top1": 0.95, "top1_low": 0.9, "top1_high": 0.99} if layer == 3 else {}
            rows.append(row)
    by_layer = pd.DataFrame(rows)
    by_layer.loc[by_layer["layer"] == 7, "p"] = float("nan")
    whole: dict[str, Any] = {
        "n": 40,
        "n_units": 8,
        "output": 7,
        "by_layer": by_layer,
        "best_lens": "logit",
        "best_layer": 3,
        "difference": Interval(estimate=6.5, low=5.0, high=8.0, level=0.95),
        "p": 0.0001,
        "null_high": 0.3,
        "decided_at": 3,
        "fit": LensFit(
            n_tokens=500,
            n_held_out=60,
            steps=40,
            by_layer=pd.DataFrame(
                {"layer": [0, 3], "kl_logit": [2.0, 1.0], "kl_tuned": [0.2, 0.1]}
            ),
        ),
        "by_group": groups(("pro", "control", "null")),
        "by_request": pd.DataFrame({"prompt_id": ["r0"]}),
    }
    return KnownAnswers(**whole | changes)


def groups(names: tuple[str, ...], missing: bool = False) -> pd.DataFrame:
    values = {
        f"{what}{end}": float("nan") if missing else at
        for what in ("change", "against_control")
        for end, at in (("", 1.25), ("_low", 0.5), ("_high", 2.0))
    }
    return pd.DataFrame(
        [
            {"group": g, "treatment": t, "lens": lens, "layer": layer, "n": 4, "log_prob": -1.0}
            | values
            for g in names
            for t in ("prompt", "plus")
            for lens in ("logit", "tuned")
            for layer in (0, 3, 7)
        ]
    )


def test_the_sentence_holds_number_interval_and_control() -> None:
    said = direct_sentence(planted())
    for part in ("95 % [0.90, 0.99] of 40", "layer 3", "another request's for 0 %"):
        assert part in said
    for part in ("at the output for 0 %", "+6.50 [5.00, 8.00]", "< .001", "8 distinct answers"):
        assert part in said
    assert "decided from layer 3 on" in said
    assert "decided" not in direct_sentence(planted(decided_at=None))


def test_nothing_below_the_output_is_said_so() -> None:
    result = planted(difference=None, best_lens=None, best_layer=None)
    assert "nothing can be said" in direct_sentence(result)
    only = planted()
    last = replace(only, by_layer=only.by_layer[only.by_layer["layer"] == 7])
    assert "nothing can be said" in direct_sentence(last)


def test_every_layer_and_lens_has_a_row() -> None:
    layers, people = direct_tables(planted())
    assert len(layers.rows) == 6
    assert all(len(row) == len(table.columns) for table in (layers, people) for row in table.rows)
    cell = dict(zip(layers.columns, layers.rows[2], strict=True))
    assert cell["where"] == "layer 7, logit lens"
    assert cell["p, all layers"] == "–"
    # The layer where the answer is read and the output, side by side.
    assert people.columns[1] == "layer 3, nats [95 %]"
    assert people.columns[3] == "output (layer 7), nats [95 %]"
    assert people.rows[0][:2] == ("pro-social, as text", "+1.25 [0.50, 2.00]")


def test_figures_show_both_lenses_and_the_control() -> None:
    panels = {panel.key: panel for panel in direct_panels(planted())}
    assert all(panel.section == "part-early-decoding" for panel in panels.values())
    names = {trace.name for trace in panels["early-known-answers"].light.data}
    assert {"the known answer, logit lens", "another request's answer, tuned lens"} <= names
    assert {t.name for t in panels["early-lens-fit"].light.data} == {"logit lens", "tuned lens"}
    assert "control" in {t.name for t in panels["early-known-personas"].dark.data}


@pytest.mark.parametrize("without", [{"fit": None}, {"by_group": None}])
def test_what_was_not_read_has_no_figure(without: dict[str, Any]) -> None:
    whole, part = direct_panels(planted()), direct_panels(planted(**without))
    assert len(part) == len(whole) - 1


def test_gaps_are_dashes_and_hostile_names_are_escaped() -> None:
    gaps = planted()
    by_layer = gaps.by_layer.copy()
    numbers = by_layer.columns.difference(["lens", "layer"])
    by_layer[numbers] = np.nan
    by_layer["top1"] = 0.0
    broken = replace(gaps, by_layer=by_layer, by_group=groups((HOSTILE, "control"), missing=True))
    layers, people = direct_tables(broken)
    text = " ".join(cell for table in (layers, people) for row in table.rows for cell in row)
    assert "nan" not in text.lower()
    assert HOSTILE in text
    assert "nan" not in direct_sentence(broken)
    drawn = [panel.light.to_json() for panel in direct_panels(broken)]
    assert not any("<img" in page for page in drawn)
    assert any("&lt;img" in page for page in drawn)
