"""Yes or No: the definition by hand, tokens by encoding, parity with plain transformers."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lens_personas.models import Prompt, load_model, plain_prompt
from lens_personas.personas import Behaviour, behaviour_of, shipped_behaviours
from lens_personas.readouts import (
    NoYesNoTokens,
    YesNoTokens,
    ask_statements,
    score_yes_no,
    statement_log_prob,
    style_of,
    token_counter,
    yes_no_columns,
    yes_no_rows,
    yes_no_tokens,
)


@pytest.fixture(scope="module")
def behaviour() -> Behaviour:
    return behaviour_of(shipped_behaviours()[0], seed=0, limit=4)


def _tokens(model: Any, prompts: list[Prompt]) -> YesNoTokens:
    found = yes_no_tokens(model, prompts)
    assert isinstance(found, YesNoTokens)
    return found


def _prompts(model: Any, behaviour: Behaviour, **how: Any) -> list[Prompt]:
    asked = ask_statements(model, behaviour.scored, asking=behaviour.asking, **how)
    return [each.prompt for each in asked]


def test_columns_are_those_of_the_softmax() -> None:
    logits = torch.randn(5, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    yes, no = torch.tensor([3, 17]), torch.tensor([8, 9, 30])
    log_odds, mass, yes_logit, no_logit, first = yes_no_columns(logits.float(), yes, no).unbind(1)
    p = logits.softmax(dim=1)
    p_yes, p_no = p[:, yes].sum(dim=1), p[:, no].sum(dim=1)
    torch.testing.assert_close(log_odds.double(), (p_yes / p_no).log(), atol=1e-5, rtol=0)
    torch.testing.assert_close(mass.double(), p_yes + p_no, atol=1e-6, rtol=0)
    torch.testing.assert_close(yes_logit.double(), logits[:, yes].amax(1), atol=1e-6, rtol=0)
    torch.testing.assert_close(no_logit.double(), logits[:, no].amax(1), atol=1e-6, rtol=0)
    torch.testing.assert_close(first.double(), logits[:, 3], atol=1e-6, rtol=0)


def test_log_odds_turn_their_sign_with_the_answers_and_stay_under_a_shift() -> None:
    logits = torch.randn(4, 10, generator=torch.Generator().manual_seed(1))
    yes, no = torch.tensor([0, 1]), torch.tensor([5])
    plain, turned = yes_no_columns(logits, yes, no), yes_no_columns(logits, no, yes)
    torch.testing.assert_close(plain[:, 0], -turned[:, 0])
    torch.testing.assert_close(plain[:, 1], turned[:, 1])
    # Raw logits move with a constant, which means nothing; log-odds and mass do not.
    torch.testing.assert_close(yes_no_columns(logits + 3.0, yes, no)[:, :2], plain[:, :2])


@pytest.mark.parametrize(
    ("yes", "no", "message"),
    [
        ([1], [1], "expected tokens for Yes and other ones for No"),
        ([], [1], "expected tokens for Yes and other ones for No"),
        ([1], [40], r"expected tokens from 0 to 9, got \[40\]"),
    ],
)
def test_tokens_that_cannot_be_are_refused(yes: list[int], no: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        yes_no_columns(torch.zeros(1, 10), torch.tensor(yes, dtype=torch.long), torch.tensor(no))


def test_scores_are_those_of_plain_transformers(
    model: Any, plain: Any, behaviour: Behaviour
) -> None:
    for said in ("", "You are kind."):
        prompts = _prompts(model, behaviour, said=said)
        tokens = _tokens(model, prompts)
        scores = score_yes_no(model, prompts, tokens, token_budget=300)
        yes, no = torch.tensor(tokens.yes_ids), torch.tensor(tokens.no_ids)
        alone = torch.stack([plain.logits(prompt.ids)[-1] for prompt in prompts])
        wanted = yes_no_columns(alone, yes, no)
        torch.testing.assert_close(scores.log_odds, wanted[:, 0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(scores.mass, wanted[:, 1], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(scores.yes_logit, wanted[:, 2], atol=1e-4, rtol=1e-4)


def test_each_statement_is_asked_in_both_orders(model: Any, behaviour: Behaviour) -> None:
    asked = ask_statements(model, behaviour.scored, asking=behaviour.asking)
    assert [(each.item, each.order) for each in asked] == [
        (item, order) for item in behaviour.scored for order in ("yes_first", "no_first")
    ]
    scores = score_yes_no(model, [a.prompt for a in asked], _tokens(model, [asked[0].prompt]))
    rows = yes_no_rows(asked, scores)
    assert [row["statement_id"] for row in rows[::2]] == [i.statement_id for i in behaviour.scored]
    assert [row["aligned"] for row in rows[1::2]] == [i.aligned for i in behaviour.scored]
    assert rows[3]["log_odds"] == scores.log_odds[3].item()
    assert set(rows[0]) == {
        *("statement_id", "group", "aligned", "order", "log_odds", "mass"),
        *("yes_logit", "no_logit", "yes_logit_first"),
    }
    with pytest.raises(ValueError, match="a score for each of 15 prompts, got 16"):
        yes_no_rows(asked[1:], scores)


def test_a_model_without_a_template_is_asked_in_plain_text(
    model: Any, behaviour: Behaviour
) -> None:
    style = style_of(model)
    assert style == ("chat" if model.tokenizer.chat_template else "plain")
    own, text = _prompts(model, behaviour)[0], _prompts(model, behaviour, style="plain")[0]
    assert (own == text) is (style == "plain")
    assert text.text.endswith("Answer:")
    assert "<|user|>" not in text.text


def test_a_statement_s_own_log_probability(model: Any, plain: Any, behaviour: Behaviour) -> None:
    items = behaviour.scored[:3]
    found = statement_log_prob(model, items, said="You are kind.", style="plain")
    for item, value in zip(items, found, strict=True):
        begun = plain_prompt(
            model,
            "You are kind.\n\nHere is something that I would say:",
            answer=f" {item.text}",
        )
        log_probs = plain.logits(begun.ids).log_softmax(dim=-1)
        answer = torch.tensor(begun.ids[begun.prompt_length :])
        each = log_probs[begun.prompt_length - 1 : -1].gather(1, answer[:, None])
        assert float(value) == pytest.approx(float(each.mean()), abs=1e-4)
    assert bool((statement_log_prob(model, items) < 0).all())
    with pytest.raises(ValueError, match="at least one statement"):
        statement_log_prob(model, [])


def test_plain_text_keeps_the_template_out_and_the_answer_apart(tiny_checkpoint: Path) -> None:
    model: Any = load_model(str(tiny_checkpoint), device="cpu")
    made = plain_prompt(model, "I like tea.\nAnswer:", prompt_id="a", answer=" yes")
    assert made.text == "I like tea.\nAnswer: yes"
    assert made.prompt_id == "a"
    assert made.spans["answer"] == (made.prompt_length, len(made.ids))
    assert model.tokenizer.decode(made.ids[made.prompt_length :]).strip() == "yes"
    assert "<|user|>" not in model.tokenizer.decode(made.ids)
    assert token_counter(model)("I like tea.") == 4
    with pytest.raises(ValueError, match="expected a text to go on with"):
        plain_prompt(model, " ")


def _fake(words: list[str], merges: list[tuple[str, str]]) -> Any:
    """A model that has nothing but a byte-level tokenizer of these pieces."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, *words]
    raw = Tokenizer(models.BPE({piece: at for at, piece in enumerate(pieces)}, merges))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw)
    absent: dict[str, Any] = dict.fromkeys(("device", "stop_ids", "wrapped"))
    absent |= dict.fromkeys(("run", "logits", "new_cache"), lambda *_: None)
    return SimpleNamespace(tokenizer=tokenizer, card=SimpleNamespace(model_id="fake"), **absent)


def _ask(fake: Any, text: str) -> Prompt:
    ids = tuple(fake.tokenizer(text)["input_ids"])
    return Prompt(prompt_id="", ids=ids, prompt_length=len(ids), spans={}, text=text)


YES = ["Ye", "Yes", "ĠYes", "no", "Ġno"]
MERGES = [("Y", "e"), ("Ye", "s"), ("Ġ", "Yes"), ("n", "o"), ("Ġ", "no")]


def test_spellings_are_found_by_encoding_the_plainest_first() -> None:
    fake = _fake(YES, MERGES)
    after_colon, after_line = (
        _tokens(fake, [_ask(fake, text)]) for text in ("Answer:", "Answer\n")
    )
    # After a colon a space comes first; on a new line it does not. "yes" is cut into pieces.
    assert after_colon.yes == (" Yes", "Yes")
    assert after_line.yes == ("Yes", " Yes")
    assert set(after_line.no) == {"no", " no"}


def test_a_word_in_pieces_has_no_token_and_that_is_said() -> None:
    fake = _fake(YES[:1], MERGES[:1])
    found = yes_no_tokens(fake, [_ask(fake, "Answer:")])
    assert isinstance(found, NoYesNoTokens)
    assert found.reason == (
        "no single token reads as Yes or No in the vocabulary of fake: score the statements by "
        "their own log-probability"
    )
    with pytest.raises(ValueError, match="at least one prompt"):
        yes_no_tokens(fake, [])
