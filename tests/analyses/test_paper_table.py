"""Our numbers beside the paper's, and only where they are of the same model."""

from dataclasses import replace
from typing import Any

import pytest

from analyses._paper_table import COLUMNS, paper_table


def test_the_papers_numbers_stand_beside_ours_for_its_own_model(study: Any) -> None:
    own = replace(study, model={**study.model, "model_id": "meta-llama/Llama-2-13b-chat-hf"})
    table = paper_table(own)
    assert tuple(table.columns) == COLUMNS
    answered = table[table["quantity"] == "answered"].set_index(["persona", "treatment"])
    # From the paper's table: adding the selfish vector 23 of 100, subtracting it 53.
    assert answered.loc[("selfish", "plus"), "paper"] == 0.23
    assert answered.loc[("selfish", "minus"), "paper"] == 0.53
    assert answered.loc[("coffee", "plus"), "paper"] == 0.45
    assert answered.loc[("none", "baseline"), "paper"] == 0.39
    # The Wilson interval of 39 of 100.
    assert answered.loc[("none", "baseline"), "paper_low"] == pytest.approx(0.30, abs=0.005)
    assert answered.loc[("none", "baseline"), "paper_high"] == pytest.approx(0.49, abs=0.005)


def test_another_model_gets_no_number_of_the_paper(study: Any) -> None:
    table = paper_table(study)
    assert table[["paper", "paper_n", "paper_low", "paper_high"]].isna().all(axis=None)
    assert table["ours"].notna().any()


def test_every_effect_and_cosine_is_in_the_table(study: Any) -> None:
    table = paper_table(study)
    effects = study.effects.effects
    changes = table[table["quantity"] == "change of refusal_score"]
    assert len(changes) == len(effects)
    by_arm = changes.set_index(["persona", "treatment"])
    for effect in effects:
        row = by_arm.loc[(effect.persona, effect.treatment)]
        assert (row["ours"], row["low"], row["high"]) == (
            effect.estimate,
            effect.interval.low,
            effect.interval.high,
        )
    cosines = table[table["quantity"].str.startswith("cosine")]
    assert len(cosines) == len(study.geometry.cosines)
