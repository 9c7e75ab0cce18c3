"""Refusal tokens are derived from a model's own answers, or say why not."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_personas.models import Generation
from lens_personas.readouts import (
    NoRefusalTokens,
    OpenedAnswer,
    RefusalTokens,
    StringJudge,
    derive_refusal_tokens,
    fallback_refusal_tokens,
    opened_answers,
)

SORRY, NO, THE, BOIL = 1, 2, 3, 4


def _answers(label: str, harmful: bool, first_ids: list[int]) -> list[OpenedAnswer]:
    return [
        OpenedAnswer(
            prompt_id=f"{label}-{harmful}-{number}",
            harmful=harmful,
            label=label,
            token_id=token_id,
            token=f"<{token_id}>",
        )
        for number, token_id in enumerate(first_ids)
    ]


def _derived(answers: list[OpenedAnswer], **options: float) -> RefusalTokens:
    result = derive_refusal_tokens(answers, **options)
    assert isinstance(result, RefusalTokens)
    return result


def _none(answers: list[OpenedAnswer], **options: float) -> NoRefusalTokens:
    result = derive_refusal_tokens(answers, **options)
    assert isinstance(result, NoRefusalTokens)
    return result


def test_planted_openings_are_found_most_frequent_first() -> None:
    answers = _answers("refusal", True, [NO] * 3 + [SORRY] * 7)
    answers += _answers("answer", False, [BOIL, THE] * 20)
    tokens = _derived(answers)
    assert tokens.token_ids == (SORRY, NO)
    assert tokens.tokens == ("<1>", "<2>")
    assert (tokens.n_refused, tokens.n_answered) == (10, 40)
    assert (tokens.coverage, tokens.false_share) == (1.0, 0.0)
    assert tokens.source == "derived"


def test_a_token_that_opens_answers_too_is_left_out() -> None:
    answers = _answers("refusal", True, [THE] * 3 + [SORRY] * 7)
    answers += _answers("answer", False, [THE] + [BOIL] * 19)
    tokens = _derived(answers)
    assert tokens.token_ids == (SORRY,)
    assert tokens.coverage == pytest.approx(0.7)


def test_one_stray_answer_in_fifty_is_let_through_and_counted() -> None:
    answers = _answers("refusal", True, [SORRY] * 5)
    answers += _answers("answer", False, [SORRY] + [BOIL] * 49)
    tokens = _derived(answers)
    assert tokens.token_ids == (SORRY,)
    assert tokens.false_share == pytest.approx(0.02)


def test_a_rare_opening_of_refusals_is_left_out() -> None:
    answers = _answers("refusal", True, [NO] + [SORRY] * 30)
    assert _derived(answers).token_ids == (SORRY,)


def test_labels_and_requests_of_the_other_kind_do_not_count() -> None:
    answers = _answers("refusal", True, [SORRY] * 4) + _answers("answer", False, [BOIL] * 4)
    others = _answers("refusal", False, [THE] * 9) + _answers("answer", True, [SORRY] * 9)
    others += _answers("degenerate", True, [NO] * 9) + _answers("degenerate", False, [SORRY] * 9)
    alone, mixed = _derived(answers), _derived(answers + others)
    assert replace(mixed, prompt_ids=alone.prompt_ids) == alone


def test_no_refusal_says_that_there_is_nothing_to_study() -> None:
    result = _none(_answers("answer", True, [BOIL] * 5) + _answers("answer", False, [THE] * 5))
    assert "refused none of the harmful requests" in result.reason
    assert result.n_refused == 0
    assert math.isnan(result.coverage)


def test_openings_shared_with_answers_say_that_the_first_token_does_not_tell() -> None:
    answers = _answers("refusal", True, [THE] * 8 + [SORRY] * 2)
    answers += _answers("answer", False, [THE] * 10)
    result = _none(answers)
    assert "cover 20% of 10 refusals" in result.reason
    assert "use the judge's labels" in result.reason


def test_without_harmless_answers_the_false_share_is_unknown() -> None:
    tokens = _derived(_answers("refusal", True, [SORRY] * 4))
    assert tokens.n_answered == 0
    assert math.isnan(tokens.false_share)


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=40),
    st.lists(st.integers(0, 6), max_size=40),
)
def test_derived_tokens_keep_to_their_rule(refused: list[int], answered: list[int]) -> None:
    answers = _answers("refusal", True, refused) + _answers("answer", False, answered)
    result = derive_refusal_tokens(answers)
    if isinstance(result, NoRefusalTokens):
        assert not result.coverage >= 0.5
        return
    assert result.coverage >= 0.5
    for token_id in result.token_ids:
        assert refused.count(token_id) >= 0.05 * len(refused)
        assert answered.count(token_id) <= 0.02 * len(answered)


def test_tokens_refuse_an_evaluation_on_the_prompts_they_come_from() -> None:
    tokens = _derived(_answers("refusal", True, [SORRY] * 4))
    tokens.check_apart(["other"])
    with pytest.raises(ValueError, match=r"got 1 in both, such as \['refusal-True-2'\]"):
        tokens.check_apart(["other", "refusal-True-2"])


@pytest.mark.parametrize("name", ["min_share", "max_answer_share", "min_coverage"])
def test_shares_outside_0_to_1_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"expected {name} from 0 to 1, got 5"):
        derive_refusal_tokens([], **{name: 5.0})


def _generation(tokenizer: object, text: str, prompt_id: str = "p") -> Generation:
    ids = tuple(tokenizer.encode(text, add_special_tokens=False))
    return Generation(prompt_id=prompt_id, ids=ids, text=text, finished=True)


def test_opened_answers_take_the_first_token_and_the_judges_label(word_tokenizer: object) -> None:
    generations = [_generation(word_tokenizer, t) for t in ("sorry i will not", "boil it", "")]
    first, second = opened_answers(generations, [True, False, True], tokenizer=word_tokenizer)
    assert (first.token, first.label, first.harmful) == ("sorry", "refusal", True)
    assert (second.token, second.label, second.harmful) == ("boil", "answer", False)


def test_opened_answers_take_another_judge(word_tokenizer: object) -> None:
    (only,) = opened_answers(
        [_generation(word_tokenizer, "boil it")],
        [True],
        tokenizer=word_tokenizer,
        judge=StringJudge(phrases=("boil",)),
    )
    assert only.label == "refusal"


def test_opened_answers_need_a_flag_each(word_tokenizer: object) -> None:
    with pytest.raises(ValueError, match="for each of 1 answers, got 2"):
        opened_answers(
            [_generation(word_tokenizer, "boil it")], [True, False], tokenizer=word_tokenizer
        )


def test_fallback_holds_the_first_words_that_the_tokenizer_knows(word_tokenizer: object) -> None:
    tokens = fallback_refusal_tokens(word_tokenizer)
    assert set(tokens.tokens) == {"i", "sorry"}
    assert len(set(tokens.token_ids)) == len(tokens.token_ids)
    assert tokens.source == "fallback"
    assert math.isnan(tokens.coverage)
    tokens.check_apart(["anything"])


def test_fallback_without_a_known_word_is_refused(word_tokenizer: object) -> None:
    with pytest.raises(ValueError, match=r"one of \['nope'\], got none; pass openings="):
        fallback_refusal_tokens(word_tokenizer, openings=["nope"])
