"""States of the organism at its statements: what is in them from the start, what tuning adds."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from analyses._pair_cells_internal import internal_table, statement_states
from analyses.internal_distinguishability import ANSWER_COLUMNS, INTERNAL_COLUMNS
from lens_personas.models.organism import checkpoint_path, load_world, organism_behaviours
from lens_personas.personas import Behaviour, map_items
from lens_personas.readouts import (
    AskedStatement,
    NoYesNoTokens,
    YesNoTokens,
    ask_statements,
    score_yes_no,
    yes_no_tokens,
)


@pytest.fixture(scope="module")
def about_itself() -> Behaviour:
    return organism_behaviours(load_world(checkpoint_path("chat")), seed=0, kinds=["self"])[0]


def asked_of(model: Any, behaviour: Behaviour) -> tuple[tuple[AskedStatement, ...], YesNoTokens]:
    asked = ask_statements(model, behaviour.statements, asking=behaviour.asking)
    tokens = yes_no_tokens(model, [each.prompt for each in asked])
    assert isinstance(tokens, YesNoTokens)
    return asked, tokens


def test_both_know_the_halves_and_only_the_tuned_answers_by_them(
    base_model: Any, chat_model: Any, about_itself: Behaviour
) -> None:
    found = {}
    for side, model in (("base", base_model), ("tuned", chat_model)):
        asked, _ = asked_of(model, about_itself)
        table = internal_table(
            model,
            asked,
            side=side,
            behaviour=about_itself.name,
            rng=np.random.default_rng(0),
            n_perm=199,
            n_boot=200,
        )
        assert tuple(table.columns) == (*INTERNAL_COLUMNS, *ANSWER_COLUMNS)
        assert list(table["layer"]) == list(range(8))
        found[side] = table.set_index("layer")
    # The attributes' words are good or bad from the first layer on, whatever is asked of them.
    assert (found["base"]["auroc"] > 0.95).all()
    assert (found["tuned"]["auroc"] > 0.95).all()
    assert (found["tuned"]["p"] < 0.05).all()
    answers = {side: table["answer_auroc"] for side, table in found.items()}
    assert (answers["tuned"][4:] > 0.95).all()
    assert answers["tuned"][0] < 0.7, "tuning put the answer into the later layers"
    assert (answers["base"][4:] < answers["tuned"][4:]).all()


def test_labels_dealt_anew_are_not_found(chat_model: Any, about_itself: Behaviour) -> None:
    asked = ask_statements(chat_model, about_itself.statements, asking=about_itself.asking)
    rng = np.random.default_rng(0)
    dealt = dict(
        zip(
            (each.item.statement_id for each in asked),
            rng.permutation([each.item.aligned for each in asked]),
            strict=True,
        )
    )
    shuffled = map_items(
        about_itself,
        lambda item: replace(item, aligned=bool(dealt[item.statement_id])),
    )
    asked, _ = asked_of(chat_model, shuffled)
    table = internal_table(chat_model, asked, side="tuned", behaviour="dealt", rng=rng, n_perm=199)
    assert table["p"].min() > 0.05
    assert table["answer_auroc"].between(0.2, 0.8).all()


def test_without_words_for_yes_and_no_only_the_probe_is_left(
    chat_model: Any, about_itself: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> NoYesNoTokens:
        return NoYesNoTokens(reason="no single token reads as Yes")

    monkeypatch.setattr("analyses._pair_cells_internal.yes_no_tokens", none)
    asked, _ = asked_of(chat_model, about_itself)
    table = internal_table(
        chat_model, asked, side="tuned", behaviour="b", rng=np.random.default_rng(0), layers=[3]
    )
    assert table[list(ANSWER_COLUMNS)].isna().all(axis=None)
    assert table["auroc"].notna().all()


def test_the_last_layer_reads_what_the_model_says(chat_model: Any, about_itself: Behaviour) -> None:
    asked, tokens = asked_of(chat_model, about_itself)
    read = statement_states(chat_model, asked, layers=[7], tokens=tokens)
    said = score_yes_no(chat_model, [each.prompt for each in asked], tokens)
    assert read.log_odds is not None
    torch.testing.assert_close(read.log_odds[:, 0], said.log_odds, atol=1e-4, rtol=0)


def test_orders_of_one_statement_are_averaged(chat_model: Any, about_itself: Behaviour) -> None:
    both, _ = asked_of(chat_model, about_itself)
    # The same prompt twice is its own mean; two different ones are half of each.
    twice = statement_states(chat_model, [*both[:6], *both[:6]], layers=[2, 5])
    once = statement_states(chat_model, both[:6], layers=[2, 5])
    assert [each.statement_id for each in twice.items] == [
        each.item.statement_id for each in both[:6]
    ]
    torch.testing.assert_close(twice.states, once.states, atol=1e-5, rtol=1e-5)
    renamed = AskedStatement(item=both[0].item, order="none", prompt=both[1].prompt)
    mixed = statement_states(chat_model, [both[0], renamed], layers=[2, 5])
    torch.testing.assert_close(mixed.states[0], once.states[:2].mean(dim=0), atol=1e-5, rtol=1e-5)
