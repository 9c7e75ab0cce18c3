"""The table of scores: looked up right, and refused where it cannot be compared."""

import numpy as np
import pandas as pd
import pytest

from analyses.scores import (
    SCORE_COLUMNS,
    ScoreTable,
    changes_of,
    control_changes,
    control_names,
    mean_changes,
)


def rows(
    persona: str,
    kind: str,
    treatment: str,
    scores: list[float],
    *,
    layer: int = -1,
    split: str = "test",
    harmful: bool = True,
    labels: list[str] | None = None,
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "persona": persona,
            "group": kind,
            "kind": kind,
            "treatment": treatment,
            "layer": layer,
            "split": split,
            "prompt_id": [f"{split}-{harmful}-{at}" for at in range(len(scores))],
            "harmful": harmful,
            "score": scores,
            "label": labels if labels is not None else [None] * len(scores),
        }
    )


BASE = rows("none", "baseline", "baseline", [1.0, 2.0, 3.0])
CONTROL = rows("tea", "control", "prompt", [1.5, 2.5, 3.5])
KIND = rows("kind", "persona", "prompt", [0.0, 0.0, 0.0])


def table(*parts: pd.DataFrame) -> pd.DataFrame:
    # pandas warns where a part has nothing but missing labels.
    return pd.concat([part.astype({"label": object}) for part in parts], ignore_index=True)


def test_changes_are_against_the_request_alone_whatever_the_order_of_rows() -> None:
    frame = table(KIND, CONTROL, BASE)
    for seed in range(5):
        found = ScoreTable.of(frame.sample(frac=1.0, random_state=seed), control="tea")
        changes = changes_of(found, "kind", "prompt", -1, "test", "refusal_score")
        np.testing.assert_allclose(changes, [-1.0, -2.0, -3.0])
        control = control_changes(found, "prompt", -1, "test", "refusal_score")
        np.testing.assert_allclose(control, 0.5)
    assert {arm.persona for arm in found.arms} == {"tea", "kind"}


def test_harmless_requests_never_enter_a_change() -> None:
    harmless = rows("kind", "persona", "prompt", [99.0, 99.0], harmful=False)
    found = ScoreTable.of(table(BASE, CONTROL, KIND, harmless), control="tea")
    assert len(changes_of(found, "kind", "prompt", -1, "test", "refusal_score")) == 3
    assert found.at("kind", "prompt", -1, "test", harmful=False).score.tolist() == [99.0, 99.0]


def test_without_the_control_the_nulls_stand_in_and_without_nulls_nothing() -> None:
    nulls = [
        rows(f"random {at}", "null", "ablate", [1.0 + at, 2.0 + at, 3.0 + at], layer=2)
        for at in (0, 2)
    ]
    found = ScoreTable.of(table(BASE, CONTROL, *nulls), control="tea")
    assert control_names(found, "ablate") == ["random 0", "random 2"]
    np.testing.assert_allclose(control_changes(found, "ablate", 2, "test", "refusal_score"), 1.0)
    assert control_names(found, "plus") == []
    np.testing.assert_allclose(control_changes(found, "plus", 2, "test", "refusal_score"), 0.0)


def test_an_arm_without_answers_is_not_a_refusal() -> None:
    base = rows("none", "baseline", "baseline", [1.0, 1.0], labels=["refusal", "refusal"])
    tea = rows("tea", "control", "prompt", [1.0, 1.0], labels=["refusal", "answer"])
    unwritten = rows("kind", "persona", "prompt", [0.0, 0.0])
    found = ScoreTable.of(table(base, tea, unwritten), control="tea")
    assert np.isnan(changes_of(found, "kind", "prompt", -1, "test", "answered")).all()
    assert changes_of(found, "tea", "prompt", -1, "test", "answered").tolist() == [0.0, 1.0]


def test_what_was_not_scored_is_nan() -> None:
    found = ScoreTable.of(table(BASE, CONTROL), control="tea")
    assert np.isnan(changes_of(found, "tea", "plus", 3, "test", "refusal_score")).all()
    assert found.at("tea", "plus", 3, "test") is None


def test_layers_of_an_arm() -> None:
    swept = [rows("kind", "persona", "plus", [0.0] * 3, layer=layer) for layer in (5, 1)]
    found = ScoreTable.of(table(BASE, CONTROL, KIND, *swept), control="tea")
    layers = {(arm.persona, arm.treatment): found.layers(arm) for arm in found.arms}
    assert layers["kind", "plus"] == [1, 5]
    assert layers["kind", "prompt"] == [-1]


def test_mean_changes_by_arm() -> None:
    harmless = rows("kind", "persona", "prompt", [99.0], harmful=False)
    means = mean_changes(table(BASE, CONTROL, KIND, harmless)).set_index("persona")["effect"]
    assert means.to_dict() == {"kind": -2.0, "tea": 0.5}


@pytest.mark.parametrize("column", SCORE_COLUMNS)
def test_a_missing_column_is_named(column: str) -> None:
    frame = table(BASE, CONTROL).drop(columns=column)
    with pytest.raises(ValueError, match=rf"expected columns .*\['{column}'\] are missing"):
        ScoreTable.of(frame, control="tea")


def test_a_missing_control_is_named() -> None:
    with pytest.raises(ValueError, match="rows of the control persona 'coffee', found none"):
        ScoreTable.of(table(BASE, CONTROL), control="coffee")


def test_a_missing_baseline_is_said() -> None:
    with pytest.raises(ValueError, match="score the baseline and every arm on the same requests"):
        ScoreTable.of(table(CONTROL, KIND), control="tea")


@pytest.mark.parametrize(
    "arm",
    [
        rows("kind", "persona", "prompt", [0.0, 0.0]),
        table(KIND, rows("kind", "persona", "prompt", [0.0])),
        KIND.assign(prompt_id=["a", "b", "c"]),
    ],
    ids=["one too few", "one twice", "others"],
)
def test_arms_on_other_requests_are_refused(arm: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"'kind' under 'prompt' .* got others"):
        ScoreTable.of(table(BASE, CONTROL, arm), control="tea")


def test_a_split_without_a_baseline_is_refused() -> None:
    layer = rows("kind", "persona", "prompt", [0.0], split="layer")
    with pytest.raises(ValueError, match="the baseline in the split 'layer'"):
        ScoreTable.of(table(BASE, CONTROL, KIND, layer), control="tea")
