"""Doses and lengths are told and drawn from any result, names and gaps included."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analyses._part_names import PART_NAMES
from analyses._parts._dose_response_matches import dose_matches
from analyses._parts._dose_response_tables import by_dose_table, by_length_table, request_table
from analyses._shown.dose_response import SHOWN
from analyses.dose_response import DoseResponse, dose_slopes, length_trends

HOSTILE = "<img src=x onerror=alert(1)>"
ARMS = {
    HOSTILE: ("pro", "persona", -2.0),
    "bully": ("anti", "persona", 1.5),
    "tea": ("control", "control", 0.0),
    "refusal (requests)": ("refusal", "refusal", 1.0),
    "random 1": ("null", "random", 0.1),
    "random 2": ("null", "random", -0.2),
    "shuffled 1": ("null", "shuffled", 0.1),
    "filler 1": ("null", "filler", 0.02),
    "filler 2": ("null", "filler", -0.02),
}


def rows_of(kinds: tuple[str, ...], level: str, levels: tuple[float, ...]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for name, (group, kind, slope) in ARMS.items():
        if kind not in kinds:
            continue
        for at in levels:
            about = {"persona": name, "group": group, "kind": kind, level: at}
            for n in range(12):
                change = slope * at + float(rng.normal(0, 0.1))
                one = {"prompt_id": f"r{n}", "harmful": True, "change": change, "kl": np.nan}
                rows.append(about | one)
            none = {"prompt_id": "h0", "harmful": False, "change": np.nan, "kl": 0.05 * at**2}
            rows.append(about | none)
    return pd.DataFrame(rows)


def written() -> pd.DataFrame:
    rows = []
    for name, (group, kind, _) in [*ARMS.items(), ("none", ("none", "none", 0.0))]:
        if kind == "filler":
            continue
        treatment = "baseline" if kind == "none" else "dose"
        for dose in (0.0,) if kind == "none" else (-1.0, 1.0):
            for harmful in (True, False):
                about = {"persona": name, "group": group, "kind": kind, "treatment": treatment}
                numbers = dict.fromkeys(("answered", "low", "high", "degenerate", "known"), 0.5)
                rows.append(
                    about
                    | {"dose": dose, "harmful": harmful, "n": 12, "perplexity": 2.0, "empty": 0.0}
                    | numbers
                )
    return pd.DataFrame(rows)


def planted(**changes: Any) -> DoseResponse:
    rng = np.random.default_rng(1)
    steered = rows_of(
        ("persona", "control", "refusal", "random", "shuffled"), "dose", (-1.0, -0.5, 0.5, 1.0)
    )
    said = rows_of(("persona", "control", "filler"), "statements", (1, 2, 4))
    said = said.assign(full=said["statements"] == 4, tokens=7 * said["statements"])
    harmful, told = steered[steered["harmful"]], said[said["harmful"]]
    whole: dict[str, Any] = {
        "n": 12,
        "n_harmless": 1,
        "layer": 3,
        "study_dose": 0.75,
        "doses": (0.5, 1.0),
        "lengths": (1, 2, 4),
        "control": "tea",
        "vectors": dose_slopes(harmful, control="tea", within=1.0, rng=rng),
        "texts": length_trends(told, control="tea", rng=rng),
        "matches": dose_matches(steered, said, rng=rng),
        "by_dose": by_dose_table(steered, rng),
        "by_length": by_length_table(said, steered, rng),
        "written": written(),
        "sampled": (HOSTILE, "tea"),
        "left_out": ("1 of 3 texts of 8 statements do not fit the model's context.",),
        "by_request": request_table(steered, said),
    }
    return DoseResponse(**whole | changes)


@pytest.fixture(scope="module")
def result() -> DoseResponse:
    return planted()


def missing(result: DoseResponse) -> DoseResponse:
    """The same where no token tells a refusal, and nothing was written."""
    rng = np.random.default_rng(2)
    table = result.by_request.assign(change=np.nan)
    groups = {name: group for name, (group, _, _) in ARMS.items()}
    table = table.assign(group=table["persona"].map(groups))
    steered = table[table["treatment"] == "dose"]
    said = table[table["treatment"] == "prompt"]
    said = said.assign(
        full=said["statements"] == 4, statements=said["statements"].astype(int), tokens=7.0
    )
    harmful, told = steered[steered["harmful"]], said[said["harmful"]]
    return replace(
        result,
        vectors=dose_slopes(harmful, control="tea", within=1.0, rng=rng),
        texts=length_trends(told, control="tea", rng=rng),
        matches=dose_matches(steered, said, rng=rng),
        by_dose=by_dose_table(steered, rng),
        by_length=by_length_table(said, steered, rng),
        written=None,
    )


def test_the_finding_holds_its_number_its_interval_the_control_and_n(result: DoseResponse) -> None:
    answer = SHOWN.tell(result).answer
    assert "2 of 2 persona vectors" in answer
    assert "[" in answer
    assert "the control" in answer
    assert "n = 12" in answer


def test_the_control_and_the_nulls_stand_in_the_table(result: DoseResponse) -> None:
    first, *_ = SHOWN.tell(result).tables
    assert {"tea", "random 1", "shuffled 1", HOSTILE} <= {row[0] for row in first.rows}
    assert "n = 12" in first.note
    assert "Slope of one more random direction" in first.note


def test_every_row_has_a_cell_for_each_column(result: DoseResponse) -> None:
    for each in (result, missing(result)):
        for table in SHOWN.tell(each).tables:
            assert table.rows
            assert {len(row) for row in table.rows} == {len(table.columns)}


def test_what_was_left_out_is_told(result: DoseResponse) -> None:
    assert result.left_out[0] in SHOWN.tell(result).limits


def test_names_are_escaped_in_every_figure(result: DoseResponse) -> None:
    panels = SHOWN.panels(result)
    assert [each.key for each in panels] == ["dose-curves", "length-curves", "dose-side-effects"]
    for each in panels:
        for figure in (each.light, each.dark):
            assert "<img" not in figure.to_json().replace("\\u003c", "<")
            assert figure.data


def test_sections_name_the_part(result: DoseResponse) -> None:
    assert {each.section.removeprefix("part-") for each in SHOWN.panels(result)} <= set(PART_NAMES)


def test_the_dose_curve_of_a_persona_is_its_means(result: DoseResponse) -> None:
    figure = SHOWN.panels(result)[0].light
    table = result.by_dose[result.by_dose["persona"] == "bully"]
    (line,) = (trace for trace in figure.data if "bully" in (trace.hovertemplate or ""))
    assert list(line.x) == list(table["dose"])
    assert list(line.y) == pytest.approx(list(table["change"]))


def test_without_scores_and_answers_the_side_effects_remain(result: DoseResponse) -> None:
    bare = missing(result)
    told = SHOWN.tell(bare)
    assert "No token of this model tells a refusal" in told.answer
    assert [each.key for each in SHOWN.panels(bare)] == ["dose-side-effects"]


def test_without_harmless_requests_there_is_no_figure_of_them(result: DoseResponse) -> None:
    bare = replace(result, n_harmless=0, by_dose=result.by_dose.assign(kl=np.nan))
    assert "dose-side-effects" not in [each.key for each in SHOWN.panels(bare)]


def test_a_single_length_has_a_curve_but_no_slope(result: DoseResponse) -> None:
    bare = replace(result, texts=(), lengths=(4,))
    assert "persona texts" not in SHOWN.tell(bare).answer
    assert SHOWN.tell(bare).tables
