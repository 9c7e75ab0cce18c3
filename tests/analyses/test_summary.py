"""What is written down of a study is complete, plain, and read back number for number."""

import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from analyses._json import json_safe
from analyses._store import load_result, save_result
from analyses._summary import summary
from analyses._text_table import text_table
from analyses.whos_asking import WhosAsking

MakeStudy = Callable[..., WhosAsking]
EFFECT_KEYS = {
    "persona",
    "group",
    "kind",
    "treatment",
    "n",
    "estimate",
    "interval",
    "p",
    "p_corrected",
    "correction",
    "control",
    "difference",
    "layer",
    "layer_chosen_by",
    "optimism",
    "minimal_detectable",
    "null_range",
    "answered",
    "claim",
}


def numbers(value: Any) -> list[float]:
    """Every number in a tree of lists and mappings."""
    if isinstance(value, dict):
        return [n for each in value.values() for n in numbers(each)]
    if isinstance(value, list):
        return [n for each in value for n in numbers(each)]
    return [value] if isinstance(value, float) else []


def printed(study: WhosAsking) -> str:
    out = io.StringIO()
    Console(file=out, width=160, color_system=None).print(text_table(study))
    return out.getvalue()


def test_summary_holds_every_persona_and_treatment_with_its_evidence(study: WhosAsking) -> None:
    found = summary(study)
    arms = {(e["persona"], e["treatment"]) for e in found["effects"]}
    assert arms == {(e.persona, e.treatment) for e in study.effects.effects}
    assert all(e.keys() >= EFFECT_KEYS for e in found["effects"])
    assert all(len(e["interval"]) == 2 for e in found["effects"])
    assert {"study", "status", "message", "seed", "outcome", "model", "baseline"} <= found.keys()
    assert {"refusal_tokens", "sizes", "control", "alpha", "vectors"} <= found.keys()


def test_summary_says_what_each_effect_stands_beside(study: WhosAsking) -> None:
    beside = {e["treatment"]: e["control"]["name"] for e in summary(study)["effects"]}
    assert beside["prompt"] == beside["plus"] == study.control
    assert beside["ablate"] == "mean of the nulls"


def test_summary_of_geometry_has_both_correlations(study: WhosAsking) -> None:
    fits = summary(study)["geometry"]
    assert len(fits) == 6
    for fit in fits:
        assert {"layer", "layer_chosen_by", "n", "p_over_layers"} <= fit.keys()
        assert fit["pearson"].keys() == fit["spearman"].keys() == {"estimate", "interval", "p"}


def test_summary_is_strict_json_though_numbers_are_undefined(study: WhosAsking) -> None:
    assert any(math.isnan(e.optimism) for e in study.effects.effects)
    found = summary(study)
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text) == found
    assert all(math.isfinite(n) for n in numbers(found))


def test_summary_without_what_may_be_missing(make_study: MakeStudy) -> None:
    found = summary(make_study(bare=True))
    assert found["geometry"] == []
    assert found["hidden_answers"] is None
    assert found["vectors"] == []
    assert {e["answered"] for e in found["effects"]} == {None}


def test_json_safe_replaces_what_json_cannot_hold() -> None:
    value = {"a": (np.float32(1.5), float("inf")), "b": np.array([1, 2]), "c": Path("x/y")}
    assert json_safe(value) == {"a": [1.5, None], "b": [1, 2], "c": "x/y"}


def test_json_safe_refuses_an_object() -> None:
    with pytest.raises(TypeError, match=r"expected a number, text, container.* got object"):
        json_safe({"a": object()})


def test_saved_result_is_read_back_number_for_number(study: WhosAsking, tmp_path: Path) -> None:
    save_result(study, tmp_path)
    found = load_result(tmp_path)
    assert summary(found) == summary(study)
    assert found.settings == study.settings
    assert found.refusal_tokens == study.refusal_tokens
    assert found.geometry is not None
    assert study.geometry is not None
    assert torch.equal(found.geometry.matrices, study.geometry.matrices)
    for name in ("cosines", "by_layer"):
        pd.testing.assert_frame_equal(getattr(found.geometry, name), getattr(study.geometry, name))
    pd.testing.assert_frame_equal(found.effects.layer_means, study.effects.layer_means)
    pd.testing.assert_frame_equal(found.baseline.examples, study.baseline.examples)
    pd.testing.assert_frame_equal(found.geometry.fits[0].points, study.geometry.fits[0].points)


def test_undefined_and_absent_parts_are_read_back(make_study: MakeStudy, tmp_path: Path) -> None:
    bare = replace(
        make_study(bare=True), settings={"a": (1, float("inf")), "b": [None, {"c": float("nan")}]}
    )
    save_result(bare, tmp_path)
    found = load_result(tmp_path)
    assert found.geometry is None
    assert found.hidden is None
    assert found.vectors == ()
    assert found.settings["a"] == (1, float("inf"))
    assert math.isnan(found.settings["b"][1]["c"])
    assert math.isnan(found.effects.effects[0].optimism) == math.isnan(
        bare.effects.effects[0].optimism
    )


def test_saving_again_leaves_only_the_new_tables(study: WhosAsking, tmp_path: Path) -> None:
    path = save_result(study, tmp_path)
    other = path.parent / "cell.parquet"
    other.write_bytes(b"another's")
    before = {each.name for each in path.parent.iterdir()}
    less = replace(study, vectors=study.vectors[:2])
    save_result(less, tmp_path)
    after = {each.name for each in path.parent.iterdir()}
    assert after < before
    assert other.name in after
    assert not any(name.endswith(".tmp") for name in after)
    assert summary(load_result(tmp_path)) == summary(less)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected the folder of a finished run.*--out"):
        load_result(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": "other/9"}', "expected a result of format .*got 'other/9'"),
        ("[1]", "expected a result of format .*got None"),
        ("{", "expected JSON in"),
    ],
)
def test_another_version_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "result.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_result(tmp_path)


def test_a_result_whose_fields_do_not_fit_is_refused(study: WhosAsking, tmp_path: Path) -> None:
    path = save_result(study, tmp_path)
    whole = json.loads(path.read_text(encoding="utf-8"))
    del whole["result"]["fields"]["seed"]
    whole["lens_personas"] = "9.9"
    path.write_text(json.dumps(whole), encoding="utf-8")
    with pytest.raises(ValueError, match=r"that 9\.9 wrote and that does not fit.*seed"):
        load_result(tmp_path)


def test_a_missing_table_is_refused(study: WhosAsking, tmp_path: Path) -> None:
    path = save_result(study, tmp_path)
    next(path.parent.glob("result.geometry*.parquet")).unlink()
    with pytest.raises(ValueError, match=r"does not fit.*geometry"):
        load_result(tmp_path)


def test_settings_that_cannot_be_stored_are_refused(study: WhosAsking, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"got object at result\.settings\.odd"):
        save_result(replace(study, settings={"odd": object()}), tmp_path)


def test_terminal_tells_claims_by_a_word(study: WhosAsking) -> None:
    text = printed(study)
    assert study.message.split(",")[0] in text.replace("\n", " ")
    rows = [line.split() for line in text.splitlines()]
    tested = [e for e in study.effects.effects if e.kind in ("persona", "refusal")]
    assert {e.persona for e in tested} <= {" ".join(row) for row in rows}
    assert sum(row[-1:] == ["yes"] for row in rows) == sum(e.claim for e in tested)
    assert sum(row[-1:] == ["no"] for row in rows) == sum(not e.claim for e in tested)
    assert "Pearson" in text
    assert "Refused answers" in text
    assert "→" in text


def test_terminal_shows_a_name_that_looks_like_markup(make_study: MakeStudy) -> None:
    text = printed(make_study(renamed={"selfish": "[bold]sly[/bold]"}))
    assert "[bold]sly[/bold]" in text


def test_terminal_without_what_may_be_missing(make_study: MakeStudy) -> None:
    text = printed(make_study(bare=True))
    assert "Pearson" not in text
    assert "Refused answers" not in text
