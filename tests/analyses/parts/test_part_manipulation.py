"""The manipulation check on the embedded model, and on models that know nothing of its world."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analyses._config import WhosAskingConfig
from analyses._contents import Contents
from analyses._data import study_data
from analyses._parts import _manipulation_answers
from analyses._parts._manipulation_answers import Rows, battery, steered_rows
from analyses._parts._manipulation_questions import Ask, Battery, answer_tokens
from analyses._parts.manipulation import PART
from analyses._study import run_study
from analyses._workbench import Workbench, workbench
from analyses.answers_about_users import changes_of
from analyses.claims import Claim
from analyses.manipulation_check import ManipulationCheck, gates, manipulation_claims
from lens_personas.models import LensModel, load_model
from lens_personas.models.organism import checkpoint_path, load_world

TINY: dict[str, Any] = {
    "parts": ("manipulation",),
    "layers": (3, 7),
    "part_layer": 3,
    "max_personas": 5,
    "max_requests": 12,
    "n_nulls": 2,
    "write_answers": False,
    "max_new_tokens": 6,
}


def checked(lens_model: LensModel | None = None, **settings: Any) -> ManipulationCheck:
    result = run_study(WhosAskingConfig(**TINY | settings), model=lens_model).result
    found = result.parts.manipulation
    assert found is not None
    return found


@pytest.fixture(scope="module")
def organism() -> LensModel:
    """By the backend that is used where none is asked for; parts know of none."""
    return load_model("organism:chat", device="cpu")


@pytest.fixture(scope="module")
def result(organism: LensModel) -> ManipulationCheck:
    return checked(organism)


@pytest.fixture(scope="module")
def work(organism: LensModel) -> Workbench:
    config = WhosAskingConfig(**TINY)
    return workbench(config, study_data(config), organism)


def test_texts_do_what_they_say_and_vectors_are_held_to_both_signs(
    result: ManipulationCheck,
) -> None:
    sided = [each for each in result.personas if each.group in ("pro", "anti")]

    assert sided
    assert all(each.text_gate and each.text.estimate > 0.5 for each in sided)
    assert all(each.vector_gate == (each.plus.low > 0 > each.minus.high) for each in sided)
    assert set(gates(result)) == {(e.persona, v) for e in result.personas for v in (True, False)}
    assert result.layer == 3


def test_truth_of_the_world_is_what_the_text_moves(result: ManipulationCheck) -> None:
    valence = {a.name: a.valence for a in load_world(checkpoint_path("chat")).attributes}
    changes = changes_of(result.by_request)
    said = changes[(changes["treatment"] == "prompt") & changes["brought"].isin(list(valence))]

    # The law: log-odds of yes = 4 times trust times valence, and a text's trust has its side.
    law = said["brought"].map(valence) * said["about"].map(valence)
    assert np.corrcoef(law, said["change"])[0, 1] > 0.8


def test_every_answer_has_its_baseline_and_a_choice_has_no_order(
    result: ManipulationCheck,
) -> None:
    assert np.isfinite(changes_of(result.by_request)["change"]).all()
    assert result.choice_form == "paired questions"
    assert result.position_bias is None
    # Persona by persona, questions alone and after a greeting.
    plain = result.by_request[result.by_request["treatment"] == "baseline"]
    assert plain.groupby("about").size().tolist() == [8] * 5


def test_last_layer_at_the_users_words_changes_no_answer(result: ManipulationCheck) -> None:
    table = result.by_layer[result.by_layer["layer"] == 7].set_index("scope")

    np.testing.assert_allclose(table.loc["user", "estimate"].to_numpy(float), 0.0, atol=1e-4)
    assert table.loc["all", "estimate"].abs().max() > 1e-3


def test_dealt_labels_give_a_question_another_ones_vector(
    organism: LensModel, result: ManipulationCheck
) -> None:
    plain, dealt = (
        changes_of(found.by_request).set_index(
            ["treatment", "scope", "layer", "brought", "form", "about", "place"]
        )["change"]
        for found in (result, checked(organism, shuffle_labels=True))
    )
    keys = [("plus", "all", 3, slice(None), "question", about, place) for about, place in
            {(key[5], key[6]) for key in plain.index}]  # fmt: skip

    moved = 0
    for key in keys:
        own, other = plain.sort_index().loc[key], dealt.sort_index().loc[key]
        personas = ~own.index.get_level_values("brought").str.startswith("random")
        # The same changes under other names: dealt within a question, none lost.
        np.testing.assert_allclose(np.sort(own[personas]), np.sort(other[personas]), atol=1e-4)
        np.testing.assert_allclose(own[~personas], other[~personas], atol=1e-4)
        moved += int((np.abs(own - other) > 1e-3).sum())
    assert moved > 0


def test_whole_and_part_of_the_questions(work: Workbench) -> None:
    found = battery(work)
    assert found is not None
    rows = Rows(found)

    whole = steered_rows(rows, "whole")
    curve = steered_rows(rows, "curve")

    # 5 personas and 2 random directions, 20 questions in 2 contexts.
    assert len(whole) == len(set(whole)) == 7 * 40
    assert {ask.context for _, ask in curve} == {"alone"}
    own = [row for row in curve if row[0] == row[1].about]
    assert len(own) == 5 * 4
    # Another persona's place is not always the same one.
    assert len({ask.place for name, ask in curve if name != ask.about}) > 1


def test_model_of_another_world_is_asked_in_words_it_knows(tiny_checkpoint: Path) -> None:
    model = load_model(str(tiny_checkpoint), device="cpu")

    found = checked(
        model,
        model=str(tiny_checkpoint),
        layers=(0, 1),
        part_layer=1,
        max_requests=6,
        n_statements=2,
        manipulation_questions=3,
    )

    assert found.n >= 5 * 3
    assert np.isfinite(found.by_request["score"]).all()
    assert all(np.isfinite(each.plus.estimate) for each in found.personas)


def test_listed_answers_come_in_both_orders(tiny_checkpoint: Path) -> None:
    model = load_model(str(tiny_checkpoint), device="cpu")
    config = WhosAskingConfig(
        **TINY | {"model": str(tiny_checkpoint), "layers": (0, 1), "part_layer": 1}
    )
    data = study_data(config)
    # Letters that this vocabulary has.
    data = replace(data, answer_strings=replace(data.answer_strings, letters=("a", "i")))
    tokens = answer_tokens(model, data)
    assert tokens is not None
    assert tokens.listed
    asks = Battery(workbench(config, data, model), tokens).asks

    by_unit: dict[tuple[str, str], list[Ask]] = {}
    for ask in asks:
        by_unit.setdefault((ask.unit, ask.context), []).append(ask)
    assert all(sum(ask.sign for ask in group) == 0 for group in by_unit.values())
    assert {ask.form for ask in asks} == {"question", "statement", "choice"}
    control = data.control.name
    assert not any(ask.form == "choice" and ask.about == control for ask in asks)
    first = next(ask for ask in asks if ask.form == "choice")
    assert "(a)" in first.text
    assert "(i)" in first.text


def test_model_without_words_to_answer_is_asked_nothing(
    work: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_manipulation_answers, "answer_tokens", lambda model, data: None)

    for spec in ({"step": "said"}, {"step": "steered", "scope": "all", "layer": 3}):
        table = PART.evaluate(work, spec, Contents(read=()))
        assert isinstance(table, pd.DataFrame)
        assert table.empty
        assert not PART.passes(work, spec).prompts


@pytest.mark.slow
def test_signed_gate_passes_for_most_behavioural_personas() -> None:
    """Of all 24, at the layer that the study chooses by refusal, standard dose."""
    found = checked(max_personas=None, max_requests=40, layers=(1, 2, 3, 4), part_layer=None)

    assert found.n_personas == 24
    assert found.vector_share.estimate >= 0.8
    assert found.text_share.estimate >= 0.95
    assert found.random_passes.high < found.vector_share.low
    (claim,) = manipulation_claims(found)
    assert claim.p < 0.001
    assert claim.beyond_nulls


@pytest.mark.slow
def test_dealt_labels_claim_nothing(organism: LensModel) -> None:
    claims: list[Claim] = []
    passed: list[bool] = []
    for seed in range(4):
        found = checked(organism, shuffle_labels=True, seed=seed, layers=(3,))
        claims += manipulation_claims(found)
        passed += [each.vector_gate for each in found.personas]

    # At .05 more than 1 of 4 comes 1 time in 70; gates of 4 questions 1 time in 16 a sign.
    assert sum(claim.p < 0.05 for claim in claims) <= 1
    assert np.mean(passed) < 0.2
