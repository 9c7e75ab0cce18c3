"""Conversations as they are kept, opened, and shown in a report, with their text or without."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from analyses._report import render_report
from analyses._report_explorer import HOW, explorer
from analyses._shown import shown
from analyses._store import load_result, save_result
from analyses._summary import summary
from analyses.conversations import (
    Conversations,
    open_conversation,
    pack_attention,
    quantised,
    unpack_attention,
)
from analyses.whos_asking import Parts, WhosAsking

MakeStudy = Callable[..., WhosAsking]
SECRET = ("whisper", "grumble", "tinker", "wobble")


@pytest.fixture(scope="module")
def found(make_conversations: Callable[..., Conversations]) -> Conversations:
    return make_conversations(SECRET)


@pytest.fixture(scope="module")
def study(make_study: MakeStudy, found: Conversations) -> WhosAsking:
    return replace(make_study(bare=True), parts=Parts(layer=3, conversations=found))


@pytest.fixture(scope="module")
def page(study: WhosAsking) -> str:
    return render_report(study)


def test_attention_is_kept_to_less_than_half_a_percent() -> None:
    generator = torch.Generator().manual_seed(0)
    patterns = torch.rand(3, 4, 9, 9, generator=generator).tril() ** 4
    kept = quantised(patterns)
    again = torch.stack([unpack_attention(pack_attention(each), 4, 9) for each in kept])
    assert (again - patterns).abs().max() < 0.004
    # What was kept once is kept again without loss: a view quantises it in the same way.
    assert torch.equal(quantised(again), kept)
    assert not again.triu(1).any()


def test_a_conversation_is_opened_as_it_was_kept(found: Conversations) -> None:
    rows = found.by_request.conversations
    (number,) = rows.query("prompt_id == 'r0' and persona == 'selfish' and treatment == 'prompt'")[
        "conversation"
    ]
    opened = open_conversation(found, int(number))
    assert opened.tokens == ("<bos>", "i", "am", "selfish", *SECRET)
    assert opened.lens.tokens == opened.tokens[-3:]
    assert opened.lens.ids.shape == opened.lens.log_probs.shape == (2, 3, 2)
    top = [opened.lens.tokens_of[int(each)] for each in opened.lens.ids[1, -1]]
    assert top == list(SECRET[:2])
    assert opened.attention is not None
    assert opened.attention.patterns.shape == (2, 2, 8, 8)
    values = found.by_request.tokens.query("conversation == @number")["projection"]
    assert opened.projection.tolist() == pytest.approx(values.tolist(), abs=1e-6)


def test_an_unknown_conversation_is_refused(found: Conversations) -> None:
    with pytest.raises(ValueError, match="expected one of 14 conversations, got number 99"):
        open_conversation(found, 99)


def test_it_is_stored_and_read_again(study: WhosAsking, tmp_path: Path) -> None:
    save_result(study, tmp_path)
    again = load_result(tmp_path)
    assert isinstance(again, WhosAsking)
    kept, before = again.parts.conversations, study.parts.conversations
    assert kept is not None
    assert before is not None
    for name in ("conversations", "tokens", "lens", "attention"):
        table, expected = (getattr(each.by_request, name) for each in (kept, before))
        pd.testing.assert_frame_equal(table, expected)


def test_the_summary_holds_no_text(study: WhosAsking) -> None:
    told = summary(study)["parts"]["conversations"]
    assert told["n"] == 14
    assert not any(word in str(told) for word in SECRET)


def test_everybody_who_asks_can_be_picked(found: Conversations) -> None:
    shown_all = explorer(found, full_text=True)
    assert [asked.kind for asked in shown_all.requests] == ["harmful", "harmless"]
    for asked in shown_all.requests:
        assert asked.text == " ".join(SECRET)
        assert asked.alone.who == "nobody in particular"
        assert list(asked.personas) == ["selfish", "coffee"]
        assert all(len(looks) == len(HOW) for looks in asked.personas.values())
    numbers = [look.number for asked in shown_all.requests for look in asked.looks]
    assert sorted(numbers) == list(range(14))
    kinds = ("strip", "lens", "attention")
    assert {*shown_all.views} == {f"{kind}-{n}" for n in numbers for kind in kinds}
    assert shown_all.sides == {"selfish": "anti-social", "coffee": "control"}


def test_all_strips_have_one_scale(found: Conversations) -> None:
    views = explorer(found, full_text=True).views
    ends = {
        tuple(re.findall(r"<span>([−+][\d.]+)</span>", views[f"strip-{n}"].body)) for n in range(14)
    }
    assert len(ends) == 1


def test_no_word_is_in_the_page_unless_asked_for(study: WhosAsking, page: str) -> None:
    assert not any(word in page for word in SECRET)
    assert "▇▇▇▇▇▇ 29 characters" in page
    # The chat template's own tokens are nobody's text.
    assert "&lt;bos&gt;" in page
    whole = render_report(study, full_text=True)
    assert all(word in whole for word in SECRET)


def test_a_page_says_what_is_not_in_it(
    study: WhosAsking, page: str, make_conversations: Callable[..., Conversations]
) -> None:
    bare = make_conversations(SECRET, bare=True)
    every = bare.by_request
    longer = every.conversations.assign(n_tokens=every.conversations["n_tokens"] + 100)
    cut = replace(bare, by_request=replace(every, conversations=longer))
    less = render_report(replace(study, parts=Parts(layer=3, conversations=cut)))
    for told in ("too large to be kept here", "Of its 105 tokens, the last 5 are shown."):
        assert told in less
        assert told not in page


def test_it_is_told_without_text_and_claims_nothing(found: Conversations) -> None:
    told = shown("conversations").tell(found)
    assert "2 requests" in told.answer
    assert "claim nothing" in told.answer
    (table,) = told.tables
    # The request alone, and two personas in three ways.
    assert len(table.rows) == 7
    assert {row[3] for row in table.rows} == {"1"}
    assert not any(word in str(told) for word in SECRET)
