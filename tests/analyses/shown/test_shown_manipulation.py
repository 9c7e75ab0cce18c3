"""The manipulation check is told and drawn from any result, names and gaps included."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analyses._shown.manipulation import SHOWN
from analyses.manipulation_check import ManipulationCheck, PersonaCheck
from lens_personas.statistics import Interval

HOSTILE = "<img src=x onerror=alert(1)>"
NAN = float("nan")
UNKNOWN = Interval(estimate=NAN, low=NAN, high=NAN, level=0.95)


def interval(at: float) -> Interval:
    return Interval(estimate=at, low=at - 0.25, high=at + 0.25, level=0.95)


def check(name: str, group: str, *, passed: bool, known: bool = True) -> PersonaCheck:
    values: dict[str, Any] = {}
    for field in fields(PersonaCheck):
        if field.type is Interval:
            at = -1.0 if "minus" in field.name else 1.0
            values[field.name] = interval(at) if known else UNKNOWN
        elif field.type is bool:
            values[field.name] = passed
        elif field.type is float:
            values[field.name] = 0.5 if known else NAN
    told = {"persona": name, "group": group, "n": 4, "against": None if group == "control" else "b"}
    return PersonaCheck(**values | told)


def planted(**changes: Any) -> ManipulationCheck:
    rows = [
        {"scope": scope, "layer": layer, "treatment": treatment, "who": who, "estimate": 0.5,
         "low": 0.25 if who == "personas" else NAN, "high": 0.75 if who == "personas" else NAN}
        for scope in ("all", "user")
        for layer in (0, 3)
        for treatment in ("plus", "minus")
        for who in ("personas", "control", "random")
    ]  # fmt: skip
    share = Interval(estimate=0.5, low=0.25, high=0.75, level=0.95)
    whole: dict[str, Any] = {
        "n": 12,
        "n_personas": 2,
        "layer": 3,
        "control": HOSTILE,
        "personas": (
            check("kind", "pro", passed=True),
            check("mean", "anti", passed=False),
            check(HOSTILE, "control", passed=False, known=False),
        ),
        "specific": interval(1.25),
        "specific_p": 0.0001,
        "specific_random": (-0.5, 0.5),
        "random_range": (-0.5, 0.25),
        "random_gap": 0.75,
        "text_range": (-0.25, 0.25),
        "random_passes": replace(share, estimate=0.125),
        "vector_share": share,
        "raw_share": share,
        "user_share": share,
        "text_share": share,
        "choice_form": "paired questions",
        "position_bias": None,
        "by_layer": pd.DataFrame(rows),
        "by_request": pd.DataFrame(),
    }
    return ManipulationCheck(**whole | changes)


def empty() -> ManipulationCheck:
    nothing = {f.name: UNKNOWN for f in fields(ManipulationCheck) if f.type is Interval}
    return planted(
        **nothing,
        specific_p=1.0,
        specific_random=None,
        random_range=None,
        random_gap=None,
        text_range=None,
        by_layer=planted().by_layer.iloc[:0],
        personas=(check(HOSTILE, "other", passed=False, known=False),),
    )


def test_tells_who_passes_beside_what_random_directions_do() -> None:
    told = SHOWN.tell(planted())

    assert "50 % [25 %, 75 %] of 2 personas pass the signed gate at layer 3" in told.answer
    assert "12 % of random directions would pass" in told.answer
    assert "+1.25 nats [1.00, 1.50]" in told.answer
    assert "p < .001" in told.answer
    gate = told.tables[0]
    assert gate.rows[0][:3] == ("kind", "4", "+1.00 [0.75, 1.25]")
    assert [row[5] for row in gate.rows] == ["passed", "failed", "failed"]


def test_control_is_offered_no_other_user() -> None:
    choice = SHOWN.tell(planted()).tables[2]

    assert [row[0] for row in choice.rows] == ["kind", "mean"]
    assert "without an order" in choice.note


def test_bias_of_the_place_is_told_where_options_are_listed() -> None:
    told = SHOWN.tell(planted(choice_form="listed", position_bias=interval(0.5)))

    assert "+0.50 [0.25, 0.75]" in told.tables[2].note


@pytest.mark.parametrize("result", [planted(), empty()], ids=["planted", "empty"])
def test_tables_and_figures_hold_with_gaps_and_hostile_names(result: ManipulationCheck) -> None:
    told, panels = SHOWN.tell(result), SHOWN.panels(result)

    for table in told.tables:
        assert {len(row) for row in table.rows} <= {len(table.columns)}
    assert [each.section for each in panels] == ["part-manipulation"] * 2
    for each in panels:
        assert "<img" not in each.light.to_json().replace("\\u003c", "<")
        assert "<img" not in each.dark.to_json().replace("\\u003c", "<")


def test_names_that_are_cut_alike_keep_rows_of_their_own() -> None:
    long = "a name that is far longer than an axis can hold"
    result = planted(personas=tuple(check(f"{long} {at}", "pro", passed=True) for at in range(3)))

    bars, _ = SHOWN.panels(result)

    rows = np.concatenate([np.atleast_1d(t.y) for t in bars.light.data if t.y is not None])
    assert len({row for row in rows if row is not None}) == 3
