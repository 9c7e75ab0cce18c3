"""The part on conversations, run on the organism: what is shown is what the model does."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from analyses._assemble import StudyRun
from analyses._bench import bench
from analyses._cells import make_cell
from analyses._config import WhosAskingConfig
from analyses._contents import Contents
from analyses._data import study_data
from analyses._parts import _conversations_look as looking
from analyses._parts import part
from analyses._parts.conversations import shown_personas, shown_requests
from analyses._study import run_study
from analyses._workbench import Workbench, workbench
from analyses.conversations import Conversations, open_conversation
from lens_personas.models import LensModel, load_model

pytestmark = pytest.mark.slow

TINY: dict[str, Any] = {
    "parts": ("conversations",),
    "layers": (2, 4),
    "part_layer": 2,
    "max_personas": 4,
    "max_requests": 24,
    "max_new_tokens": 2,
    "n_nulls": 1,
    "write_answers": False,
}


@pytest.fixture(scope="module")
def model() -> LensModel:
    return load_model("organism:chat", device="cpu")


@pytest.fixture(scope="module")
def run(model: LensModel) -> StudyRun:
    return run_study(WhosAskingConfig(**TINY), model=model)


@pytest.fixture(scope="module")
def found(run: StudyRun) -> Conversations:
    result = run.result.parts.conversations
    assert result is not None
    return result


@pytest.fixture(scope="module")
def work(model: LensModel) -> Workbench:
    config = WhosAskingConfig(**TINY)
    return workbench(config, study_data(config), model)


def test_scores_are_those_of_the_study(run: StudyRun, found: Conversations) -> None:
    said = found.by_request.conversations.assign(
        persona=lambda rows: rows["persona"].replace("", "none")
    )
    scores = run.scores.query("split == 'test' and layer in (-1, 2)")
    both = said.merge(scores, on=["prompt_id", "persona", "treatment"], suffixes=("", "_study"))
    assert len(both) >= 3 * (1 + 3 * 3)
    np.testing.assert_allclose(both["score"], both["score_study"], atol=1e-4)


def test_the_last_layer_says_how_the_answer_begins(found: Conversations) -> None:
    assert found.lens_is_exact
    for row in found.by_request.conversations.itertuples():
        lens = open_conversation(found, row.conversation).lens
        top = lens.tokens_of[int(lens.ids[-1, -1, 0])]
        assert row.answer.split()[0] == top
        assert lens.layers[-1] == 7


def test_heads_look_at_what_was_said(found: Conversations) -> None:
    for number in found.by_request.conversations["conversation"]:
        opened = open_conversation(found, int(number))
        assert opened.attention is not None
        patterns = opened.attention.patterns
        assert patterns.shape == (8, 4, len(opened.tokens), len(opened.tokens))
        assert (patterns.sum(-1) - 1).abs().max() < 0.05
        assert not patterns.triu(1).any()


def test_vectors_move_the_projection_only_where_they_are_added_or_later(
    found: Conversations, work: Workbench
) -> None:
    assert (found.steered_at, found.projected_at) == (2, 4)
    said = found.by_request.conversations
    for _, rows in said.groupby("prompt_id"):
        (alone,) = rows.query("treatment == 'baseline'")["conversation"]
        plain = open_conversation(found, int(alone))
        for row in rows.query("treatment in ('plus', 'minus')").itertuples():
            steered = open_conversation(found, row.conversation)
            assert steered.tokens == plain.tokens
            assert not torch.equal(steered.projection, plain.projection)
            assert steered.attention is not None
            assert plain.attention is not None
            below, above = (
                [each.attention.patterns[at] for each in (steered, plain)]
                for at in (slice(0, 3), slice(3, None))
            )
            assert torch.equal(*below)
            assert not torch.equal(*above)


def test_refused_requests_lie_farther_towards_refusal(found: Conversations) -> None:
    said = found.by_request.conversations
    last = found.by_request.tokens.groupby("conversation")["projection"].last()
    alone = said[said["treatment"] == "baseline"]
    harmful = {
        bool(harm): last[rows["conversation"]].to_numpy() for harm, rows in alone.groupby("harmful")
    }
    assert harmful[True].min() > harmful[False].max()


def test_a_pro_an_anti_and_the_control_ask_of_several_categories(work: Workbench) -> None:
    groups = {each.name: each.group for each in work.data.personas}
    assert [groups[name] for name in shown_personas(work)] == ["pro", "anti", "control"]
    requests = shown_requests(work)
    assert [each.harmful for each in requests] == [True, True, True, False]
    assert len({each.category for each in requests[:3]}) > 1
    assert len({each.prompt_id for each in requests}) == 4


def _look(work: Workbench, run: StudyRun, monkeypatch: pytest.MonkeyPatch, **put: Any) -> Any:
    """One request looked into, with vectors of the run and whatever else is put in their place."""
    fitted = {each.vector.name: each.vector.vectors for each in run.vectors}
    plain = replace(
        _bare_bench(work), vectors=fitted, resid_norms=torch.ones(len(work.layers)), **put
    )
    monkeypatch.setattr(looking, "bench", lambda *given: plain)
    names = list(shown_personas(work))[:1]
    request = shown_requests(work)[0].prompt_id
    spec = {"request": request, "names": names, "of": 1, "layer_all": 2}
    return looking.look(work, spec, Contents(read=()))


def _bare_bench(work: Workbench) -> Any:
    tokens = pd.DataFrame({"found": [False], "tokens": pd.Series([None], dtype=object)})
    cell = make_cell("tokens", {}, context="")
    return bench(work, Contents(read=((cell, tokens),)))


def test_without_refusal_tokens_there_is_no_score_but_all_else(
    work: Workbench, run: StudyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = _look(work, run, monkeypatch)
    assert [each["score"] for each in looked.about["conversations"]] == [None] * 4
    assert len(looked.tensors) == 3 * 4


def test_of_long_prompts_the_end_is_kept(
    work: Workbench, run: StudyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _look(work, run, monkeypatch)
    monkeypatch.setattr(looking, "_TOKENS", 6)
    monkeypatch.setattr(looking, "_LENS_TOKENS", 3)
    cut = _look(work, run, monkeypatch)
    for at, (long, short) in enumerate(
        zip(whole.about["conversations"], cut.about["conversations"], strict=True)
    ):
        assert short["n_tokens"] == len(long["tokens"])
        assert short["tokens"] == long["tokens"][-6:]
        before, after = whole.tensors[f"attention/{at}"], cut.tensors[f"attention/{at}"]
        assert torch.equal(before[:, :, -6:, -6:], after)
        assert torch.equal(whole.tensors[f"lens/{at}"][:, -3:], cut.tensors[f"lens/{at}"])


def test_attention_that_does_not_fit_is_left_out(
    work: Workbench, run: StudyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [work.plain[shown_requests(work)[0].prompt_id]]
    a_layer = 4 * len(prompts[0].ids) ** 2 // 2
    for layers, room in (((), a_layer - 1), ((7,), a_layer), ((3, 7), 2 * a_layer)):
        monkeypatch.setattr(looking, "_ATTENTION_BYTES", room)
        assert looking._attention_layers(work, prompts, n_requests=1) == layers
    monkeypatch.setattr(looking, "_ATTENTION_BYTES", 1)
    looked = _look(work, run, monkeypatch)
    assert not any(name.startswith("attention") for name in looked.tensors)


def test_the_plan_counts_what_is_run(work: Workbench) -> None:
    spec = {"request": shown_requests(work)[0].prompt_id, "names": list(shown_personas(work))}
    passes = part("conversations").passes(work, spec)
    assert len(passes.answers) == 10
    assert len(passes.prompts) == 4 * 10
