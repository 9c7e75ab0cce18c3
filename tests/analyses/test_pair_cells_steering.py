"""Prompts and vectors on the embedded pair: answers follow its law, and nulls do not."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from analyses._pair_cells_steering import (
    LENGTH_COLUMNS,
    VECTOR_COLUMNS,
    behaviour_vector,
    length_table,
    steering_edits,
    vector_table,
)
from analyses._pair_cells_vectors import with_random_directions
from lens_personas.models import load_model
from lens_personas.models.organism import (
    behaviour_law,
    checkpoint_path,
    load_world,
    organism_behaviours,
)
from lens_personas.personas import Behaviour, assemble_prompts, behaviour_of, shipped_behaviours
from lens_personas.readouts import (
    NoYesNoTokens,
    ask_statements,
    score_yes_no,
    token_counter,
    yes_no_tokens,
)

WORLD = load_world(checkpoint_path("chat"))
LENGTHS, ASSEMBLIES = (1, 4), 2


@pytest.fixture(scope="module")
def about_user() -> Behaviour:
    return organism_behaviours(WORLD, seed=0, kinds=["user"])[0]


@pytest.fixture(scope="module")
def said(chat_model: Any, about_user: Behaviour) -> pd.DataFrame:
    return length_table(
        chat_model, about_user, side="tuned", lengths=LENGTHS, seed=0, assemblies=ASSEMBLIES
    )


def towards(table: pd.DataFrame) -> pd.Series:
    return table["log_odds"].where(~table["aligned"], -table["log_odds"])


def test_answers_follow_the_law_of_what_was_said(
    said: pd.DataFrame, chat_model: Any, about_user: Behaviour
) -> None:
    law = behaviour_law(WORLD)
    items = {item.statement_id: item for item in about_user.scored}
    prompts = assemble_prompts(
        about_user,
        lengths=LENGTHS,
        seed=0,
        count_tokens=token_counter(chat_model),
        assemblies=ASSEMBLIES,
    )
    sentences = {(each.arm, each.n_sentences, each.assembly): each.sentences for each in prompts}
    rows = said[said["arm"].isin(["none", "misaligned", "aligned"])]
    expected = [
        law.log_odds(items[each.statement_id], sentences[each.arm, each.n_sentences, each.assembly])
        for each in rows.itertuples()
    ]
    assert stats.spearmanr(rows["log_odds"], expected).statistic > 0.95
    assert np.abs(np.tanh(rows["log_odds"] / 2) - np.tanh(np.array(expected) / 2)).mean() < 0.25


def test_a_table_has_every_statement_under_every_prompt(
    said: pd.DataFrame, about_user: Behaviour
) -> None:
    assert tuple(said.columns) == LENGTH_COLUMNS
    arms = said.groupby("arm")["assembly"].count()
    n = len(about_user.scored)
    assert arms["none"] == n
    assert (arms.drop("none") == n * len(LENGTHS) * ASSEMBLIES).all()
    assert set(said["statement_id"]) == {item.statement_id for item in about_user.scored}
    assert not set(said["group"]) & {item.group for item in about_user.prompt}
    assert (said["mass"] > 0.9).all()
    means = towards(said).groupby([said["arm"], said["n_sentences"]]).mean()
    assert means["misaligned", 4] > means["misaligned", 1] > 0.5
    assert means["aligned", 4] < means["aligned", 1] < -0.5
    assert abs(means["filler", 4]) < 0.5


def test_lengths_that_do_not_fit_are_left_out(base_model: Any, about_user: Behaviour) -> None:
    found = length_table(
        base_model,
        about_user,
        side="base",
        lengths=(1, 18, 500),
        seed=0,
        assemblies=1,
        arms=("misaligned",),
    )
    # 18 sentences go beyond the 128 tokens of the context; 500 there are not.
    assert set(found["n_sentences"]) == {0, 1}
    with pytest.raises(ValueError, match=r"fit the context of 128 tokens, got \[18\]"):
        length_table(base_model, about_user, side="base", lengths=(18,), seed=0, assemblies=1)


@pytest.fixture(scope="module")
def steered(chat_model: Any, about_user: Behaviour) -> pd.DataFrame:
    return vector_table(
        chat_model, about_user, side="tuned", layers=(2,), doses=(0.25, 0.5), seed=0, n_random=3
    )


def test_the_vector_moves_answers_and_random_directions_less(
    steered: pd.DataFrame, about_user: Behaviour
) -> None:
    assert tuple(steered.columns) == VECTOR_COLUMNS
    assert sorted(set(steered["dose"])) == [-0.5, -0.25, 0.0, 0.25, 0.5]
    assert len(steered) == 4 * 5 * len(about_user.scored)
    means = steered.groupby(["vector", "dose"])["propensity"].mean()
    gaps = means.xs(0.5, level="dose") - means.xs(-0.5, level="dose")
    assert gaps["own"] > 1.0
    assert (gaps.drop("own").abs() < gaps["own"]).all()


def test_dose_0_is_the_question_alone(steered: pd.DataFrame, said: pd.DataFrame) -> None:
    alone = said[said["arm"] == "none"]
    wanted = towards(alone).groupby(alone["statement_id"]).mean()
    none = steered[steered["dose"] == 0.0]
    for _, rows in none.groupby("vector"):
        got = rows.set_index("statement_id")["propensity"]
        assert got.to_numpy() == pytest.approx(wanted[got.index].to_numpy(), abs=1e-3)


def test_a_dose_is_what_its_edits_do(
    steered: pd.DataFrame, chat_model: Any, about_user: Behaviour
) -> None:
    vector = behaviour_vector(chat_model, about_user, layers=[2])
    assert (vector.from_label, vector.to_label) == ("aligned", "misaligned")
    edits = steering_edits(
        chat_model,
        vector.at(2),
        layer=2,
        resid_norm=vector.resid_norm_at(2),
        dose=0.5,
    )
    asked = ask_statements(chat_model, about_user.scored, asking=about_user.asking)
    prompts = [each.prompt for each in asked]
    tokens = yes_no_tokens(chat_model, prompts)
    assert not isinstance(tokens, NoYesNoTokens)
    found = score_yes_no(chat_model, prompts, tokens, edits=edits).log_odds
    sign = torch.tensor([-1.0 if each.item.aligned else 1.0 for each in asked])
    rows = steered[(steered["vector"] == "own") & (steered["dose"] == 0.5)]
    wanted = rows.set_index("statement_id")["propensity"][[e.item.statement_id for e in asked]]
    assert (sign * found).numpy() == pytest.approx(wanted.to_numpy(), abs=1e-3)


def test_vectors_from_answers_hold_little_of_saying_yes(
    chat_model: Any, about_user: Behaviour
) -> None:
    vector = behaviour_vector(chat_model, about_user, layers=[2, 6], source="answers")
    assert vector.method == "behaviour:answers:paired"
    assert (vector.n_to, vector.n_from) == (len(about_user.prompt),) * 2
    # The halves are of one size, so the answers' own direction drops out of the difference.
    n_aligned = sum(item.aligned for item in about_user.prompt)
    assert n_aligned == len(about_user.prompt) - n_aligned
    assert float(vector.norms[0]) < 0.5 * vector.resid_norm_at(2)


def test_random_directions_come_again_by_seed(chat_model: Any, about_user: Behaviour) -> None:
    vector = behaviour_vector(chat_model, about_user, layers=[1, 2])
    first, again, other = (with_random_directions(vector, 2, seed=seed) for seed in (0, 0, 1))
    assert list(first) == ["own", "random 1", "random 2"]
    assert torch.equal(first["random 2"], again["random 2"])
    assert not torch.equal(first["random 2"], other["random 2"])
    assert not torch.equal(first["random 1"][0], first["random 1"][1])


def test_doses_are_given_without_sign(chat_model: Any, about_user: Behaviour) -> None:
    with pytest.raises(ValueError, match="doses above 0"):
        vector_table(chat_model, about_user, side="tuned", layers=(2,), doses=(-0.5,), seed=0)


@pytest.mark.parametrize("without", [False, True])
def test_any_model_is_asked_in_its_own_way(
    tiny_gpt2_checkpoint: Any, monkeypatch: pytest.MonkeyPatch, without: bool
) -> None:
    model = load_model(str(tiny_gpt2_checkpoint), device="cpu")
    behaviour = behaviour_of(shipped_behaviours()[0], seed=0, limit=2)
    if without:
        lacking = NoYesNoTokens(reason="none reads as Yes")
        for module in ("_pair_asker", "_pair_cells_vectors"):
            monkeypatch.setattr(f"analyses.{module}.yes_no_tokens", lambda *_: lacking)
    found = length_table(
        model,
        behaviour,
        side="base",
        lengths=(1, 2),
        seed=0,
        assemblies=1,
        arms=("misaligned", "filler"),
    )
    assert set(found["arm"]) == {"none", "misaligned", "filler"}
    assert np.isfinite(found["log_odds"]).all()
    assert found["mass"].isna().all() == without
    if without:
        assert found.loc[found["arm"] == "none", "log_odds"].mean() == pytest.approx(0.0, abs=1e-6)
        with pytest.raises(ValueError, match="fit it from sentences"):
            behaviour_vector(model, behaviour, layers=[1], source="answers")
    steered = vector_table(
        model, behaviour, side="base", layers=(1,), doses=(0.5,), seed=0, n_random=1,
        source="answers",
    )  # fmt: skip
    assert set(steered["vector"]) == {"own", "random 1"}
    assert np.isfinite(steered["propensity"]).all()
