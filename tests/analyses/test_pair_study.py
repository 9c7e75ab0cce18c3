"""The study of two models finds what was planted in the organism, and runs on any two models."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from analyses import _pair_cells, _pair_worker
from analyses._contents import Contents
from analyses._pair_assemble import PairRun
from analyses._pair_cells import SCORE_COLUMNS, scores_table
from analyses._pair_config import PAIR_PARTS, PairConfig
from analyses._pair_data import pair_data
from analyses._pair_plan import PairOutline
from analyses._pair_study import run_pair
from analyses._pair_summary import pair_summary
from analyses._pair_table import COLUMNS, pair_table
from analyses._pair_worker import TwoModels
from analyses._settings import ConfigError
from analyses._store import load_result, save_result
from analyses.distinguishability import distinguishability
from lens_personas.models import LensModel, load_model
from lens_personas.readouts import NoYesNoTokens

FEW = {
    "lengths": (1, 3),
    "assemblies": 2,
    "doses": (0.5,),
    "n_random": 2,
    "steered_layers": (3,),
    "n_samples": 2,
    "prefix_lengths": (0, 1),
    "n_prefixes": 2,
    "continuation_tokens": 2,
    "n_boot": 100,
    "n_perm": 199,
}
"""Settings under which a run takes seconds, for what does not depend on its size."""


def few(**changes: Any) -> PairConfig:
    return PairConfig.model_validate(FEW | changes)


@pytest.fixture(scope="session")
def organisms() -> dict[str, LensModel]:
    """Both, by the class that is the default here: what cells compute is tested by either."""
    return {
        side: load_model(f"organism:{name}", device="cpu")
        for side, name in (("base", "base"), ("tuned", "chat"))
    }


@pytest.fixture(scope="session")
def whole(organisms: dict[str, LensModel]) -> PairRun:
    """All parts, on the organisms."""
    config = few(study="steerability", parts=PAIR_PARTS, references=("vector",))
    return run_pair(config, models=organisms)


def w1(run: PairRun, side: str, kind: str) -> pd.DataFrame:
    assert run.result.distinguishability is not None
    table = run.result.distinguishability.table
    chosen = (table["metric"] == "wasserstein") & (table["side"] == side)
    return table[chosen & table["behaviour"].str.startswith(kind)]


@pytest.mark.slow
def test_tuning_is_what_makes_self_descriptions_tell_the_halves_apart(whole: PairRun) -> None:
    assert w1(whole, "base", "self")["estimate"].max() < 0.4
    tuned = w1(whole, "tuned", "self")
    assert tuned["estimate"].min() > 2
    assert (tuned["p_bh"] < 0.05).all()
    # Nothing is known of the user without a prompt, in either model.
    assert w1(whole, "tuned", "user")["estimate"].max() < 0.4
    shift = whole.result.comparison
    assert shift is not None
    (found,) = (each for each in shift.shifts if each.measure == "wasserstein")
    assert found.tuned > found.base


@pytest.mark.slow
def test_prompts_steer_what_is_said_of_the_user(whole: PairRun) -> None:
    steered = whole.result.steerability
    assert steered is not None
    for side in ("base", "tuned"):
        for behaviour in steered.behaviours:
            if behaviour.startswith("user"):
                assert steered.curve(side, behaviour, "misaligned").trend.estimate > 0.1
                assert steered.curve(side, behaviour, "aligned").trend.estimate < -0.1


@pytest.mark.slow
def test_every_part_is_there_and_nothing_is_left_of_the_texts(whole: PairRun) -> None:
    result = whole.result
    assert None not in (result.internal, result.divergence, result.steerability, result.comparison)
    assert result.divergence is not None
    assert {row.reference for row in result.divergence.rows} == {"prompt", "vector"}
    assert set(whole.scores["step"]) == {"scores", "prompts", "vectors"}
    assert list(result.scores.columns) == list(SCORE_COLUMNS)
    assert result.models["base"]["model_id"] == "organism:base"
    assert set(result.data.templates.values()) == {"chat"}
    assert result.data.fictional


@pytest.mark.slow
def test_the_result_is_stored_number_for_number(whole: PairRun, tmp_path: Path) -> None:
    save_result(whole.result, tmp_path)
    loaded = load_result(tmp_path)
    assert type(loaded) is type(whole.result)
    assert pair_summary(loaded) == pair_summary(whole.result)
    pd.testing.assert_frame_equal(loaded.scores, whole.result.scores)
    pd.testing.assert_frame_equal(pair_table(loaded), pair_table(whole.result))


@pytest.mark.slow
def test_the_table_has_every_part(whole: PairRun) -> None:
    table = pair_table(whole.result)
    assert list(table.columns) == list(COLUMNS)
    assert set(table["part"]) == {*PAIR_PARTS, "comparison"}
    finite = table.dropna(subset=["low", "high"])
    assert (finite["low"] <= finite["estimate"]).mean() > 0.99


@pytest.mark.slow
def test_labels_dealt_anew_tell_nothing(organisms: dict[str, LensModel]) -> None:
    counts = []
    for seed in range(3):
        config = few(parts=("distinguishability",), shuffle_labels=True, seed=seed)
        run = run_pair(config, models=organisms)
        p = pd.concat([w1(run, side, "") for side in ("base", "tuned")])["p"]
        counts.append(int((p < 0.05).sum()))
    n = 3 * 16
    # The four wordings ask about the same attributes: twice the spread of independent tests.
    assert sum(counts) <= 2 * binom.ppf(0.99, n, 0.05)


@pytest.mark.slow
def test_the_same_settings_give_the_same_numbers(organisms: dict[str, LensModel]) -> None:
    config = few(parts=("distinguishability",))
    one, other = (run_pair(config, models=organisms).result for _ in range(2))
    assert pair_summary(one) == pair_summary(other)


@pytest.mark.slow
def test_any_two_checkpoints_can_be_held_against_each_other(
    tiny_gpt2_checkpoint: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """A base model without a chat template, and a tuned one of another architecture."""
    config = few(
        study="steerability",
        base=str(tiny_gpt2_checkpoint),
        tuned=str(tiny_checkpoint),
        limit=4,
        scored_limit=2,
        steered_layers=(1,),
        parts=PAIR_PARTS,
    )
    result = run_pair(config, folder=tmp_path).result
    assert dict(result.data.templates) == {"base": "plain", "tuned": "chat"}
    assert result.data.source == "shipped"
    assert not result.data.fictional
    assert result.distinguishability is not None
    assert set(result.scores["order"]) == {"yes_first", "no_first"}
    assert len(result.distinguishability.sides) == 2
    assert result.message


def outline(models: Mapping[str, LensModel], config: PairConfig) -> PairOutline:
    cards = {side: model.card for side, model in models.items()}
    return PairOutline(config=config, texts=pair_data(config), cards=cards, context="c")


def test_a_worker_needs_each_model_once(organisms: dict[str, LensModel]) -> None:
    cells = outline(organisms, few(parts=PAIR_PARTS)).cells
    sides = [cell.spec["side"] for cell in cells]
    assert sides == sorted(sides)
    assert len({cell.key for cell in cells}) == len(cells) == 2 * 5 * 8


def test_one_model_is_at_hand_at_a_time(
    organisms: dict[str, LensModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load(model: str, **given: Any) -> LensModel:
        loaded.append(model)
        return organisms["base" if model.endswith("base") else "tuned"]

    monkeypatch.setattr(_pair_worker, "load_model", load)
    config = few(parts=("distinguishability",))
    texts = pair_data(config)
    work = TwoModels(config, texts)
    assert work.card("tuned").model_id == "organism:chat"
    assert work.card("base").model_id == "organism:base"
    for cell in outline(organisms, config).cells:
        assert isinstance(work.evaluate(cell, Contents(read=())), pd.DataFrame)
    assert loaded == ["organism:chat", "organism:base", "organism:chat"]
    assert work.card("base").model_id == "organism:base", "a card is kept"
    assert len(loaded) == 3


def test_what_a_model_lacks_is_refused_before_any_work(organisms: dict[str, LensModel]) -> None:
    with pytest.raises(ConfigError, match=r"unknown layers \[8\]; the base model .* 0 to 7"):
        outline(organisms, few(steered_layers=(8,)))
    without = {"base": replace(organisms["base"].card, chat_template_hash=None)}
    with pytest.raises(ConfigError, match=r"expected a chat template in the base model"):
        PairOutline(config=few(template="chat"), texts=pair_data(few()), cards=without, context="c")
    made = PairOutline(config=few(), texts=pair_data(few()), cards=without, context="c")
    assert made.styles == {"base": "plain"}


def test_a_model_without_tokens_for_yes_is_scored_by_the_statements(
    organisms: dict[str, LensModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        _pair_cells, "yes_no_tokens", lambda model, prompts: NoYesNoTokens(reason="none")
    )
    texts = pair_data(few())
    first = texts.behaviours[0]
    tables = [
        scores_table(model, first, texts.alone(first.name), side=side, style="chat")
        for side, model in organisms.items()
    ]
    for table in tables:
        assert list(table.columns) == list(SCORE_COLUMNS)
        assert (table["order"] == "none").all()
        assert table["mass"].isna().all()
        assert (table["log_odds"] < 0).all()
    rng = np.random.default_rng(0)
    found = distinguishability(pd.concat(tables), rng=rng, n_boot=100, n_perm=99)
    for side in organisms:
        assert np.isfinite(found.row(side, first.name, "wasserstein").plug_in)


def test_texts_are_measured_in_words_where_the_models_share_no_tokens(
    organisms: dict[str, LensModel],
) -> None:
    alike = outline(organisms, few())
    assert not alike.counts_words
    other = replace(alike.cards["tuned"], tokenizer_hash="other")
    unlike = replace(alike, cards={**alike.cards, "tuned": other})
    assert unlike.counts_words
    assert unlike.cells[0].key != alike.cells[0].key
