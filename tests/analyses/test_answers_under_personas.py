"""A planted change is told apart by layer: at the answer, or at the gate alone."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analyses.answers_under_personas import GROUP_COLUMNS, answers_under_personas


def arms(changes: dict[str, dict[int, float]], *, drawn: int = 2, n: int = 20) -> pd.DataFrame:
    """Readings with a planted change by group and layer, over a baseline that varies widely."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for request in range(n):
        base = rng.normal(-5.0, 3.0)
        for group, by_layer in ({"none": {1: 0.0, 2: 0.0}} | changes).items():
            for layer, change in by_layer.items():
                for _ in range(1 if group in ("none", "control") else drawn):
                    rows.append(
                        {
                            "group": group,
                            "treatment": "baseline" if group == "none" else "prompt",
                            "prompt_id": f"r{request}",
                            "unit": f"answer {request // 2}",
                            "lens": "logit",
                            "layer": layer,
                            "log_prob": base
                            + change
                            + (0.0 if group == "none" else rng.normal(0, 0.1)),
                        }
                    )
    return pd.DataFrame(rows)


def rows_of(table: pd.DataFrame) -> pd.DataFrame:
    found = answers_under_personas(table, rng=np.random.default_rng(1))
    assert tuple(found.columns) == GROUP_COLUMNS
    return found.set_index(["group", "layer"])


def test_a_change_of_the_gate_alone_is_seen_at_the_output_alone() -> None:
    found = rows_of(arms({"pro": {1: 0.0, 2: 2.0}, "control": {1: 0.0, 2: 0.5}}))
    assert found.loc[("pro", 2), "change"] == pytest.approx(2.0, abs=0.1)
    assert found.loc[("pro", 2), "against_control"] == pytest.approx(1.5, abs=0.1)
    assert found.loc[("pro", 2), "against_control_low"] > 1.0
    assert found.loc[("pro", 1), "change_low"] < 0 < found.loc[("pro", 1), "change_high"]


def test_the_control_is_not_held_against_itself() -> None:
    found = rows_of(arms({"control": {1: 1.0, 2: 1.0}}))
    assert found["against_control"].isna().all()
    assert (found["n"] == 20).all()


def test_without_a_control_there_is_the_change_alone() -> None:
    found = rows_of(arms({"pro": {1: 1.0, 2: 1.0}}))
    assert found["against_control"].isna().all()
    assert found["change"].notna().all()


def test_how_many_personas_are_drawn_moves_the_estimate_nowhere() -> None:
    few, many = (rows_of(arms({"pro": {1: 1.0, 2: 1.0}}, drawn=n)) for n in (1, 8))
    assert (few["n"] == many["n"]).all()
    assert few["change"].to_numpy() == pytest.approx(many["change"].to_numpy(), abs=0.15)


def test_the_baseline_is_needed() -> None:
    table = arms({"pro": {1: 1.0, 2: 1.0}})
    with pytest.raises(ValueError, match="missing: the baseline"):
        answers_under_personas(
            table[table["treatment"] != "baseline"], rng=np.random.default_rng(0)
        )
    with pytest.raises(ValueError, match=r"missing: .*'lens'"):
        answers_under_personas(table.drop(columns="lens"), rng=np.random.default_rng(0))
