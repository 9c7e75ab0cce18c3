"""The wording of statements: both orders, in chat and in plain text; what no template says."""

import pytest

from lens_personas.personas import (
    orders_of,
    question_about,
    statement_messages,
    statement_prompts,
    statement_text,
    worded,
)
from lens_personas.personas._sentences import words

QUESTION = question_about("I like tea")


def test_the_two_orders_differ_in_the_order_alone() -> None:
    assert orders_of("agreement") == ("yes_first", "no_first")
    assert orders_of("bare") == ("none",)
    for ask in (
        lambda order: statement_messages(QUESTION, asking="agreement", order=order)[-1].content,
        lambda order: statement_text(QUESTION, asking="agreement", order=order),
    ):
        first, second = (words(ask(order)) for order in ("yes_first", "no_first"))
        swap = {"yes": "no", "no": "yes"}
        assert first == tuple(swap.get(word, word) for word in second)
        assert first != second
        assert (first.count("yes"), first.count("no")) == (1, 1)


def test_a_persona_prompt_goes_before_the_question() -> None:
    system, user = statement_messages(QUESTION, asking="bare", order="none", said="You are kind.")
    assert (system.role, system.content) == ("system", "You are kind.")
    assert (user.role, user.content) == ("user", QUESTION)
    text = statement_text(QUESTION, asking="agreement", order="no_first", said="You are kind.")
    assert text.startswith(f"You are kind.\n\n{QUESTION}\n")
    assert text.endswith("Answer:")


def test_nothing_in_a_statement_is_taken_for_a_template() -> None:
    odd = "I write {question} and {statement} in braces"
    question = question_about(odd)
    asked = statement_text(question, asking="agreement", order="yes_first")
    assert odd in asked
    assert odd in worded(odd, 'You would say: "{statement}"')


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(
        ValueError, match="expected an order of yes_first, no_first for 'agreement'"
    ):
        statement_text(QUESTION, asking="agreement", order="none")
    with pytest.raises(ValueError, match=r"expected \{statement\} in the wording"):
        worded("I like tea", "You would say so.")


@pytest.mark.parametrize(
    ("said", "ends"), [("I like tea", "tea."), (" I do! ", "I do!"), ("Why?", "Why?")]
)
def test_a_sentence_has_an_end(said: str, ends: str) -> None:
    assert worded(said, "{statement}").endswith(ends)


def test_wordings_neither_instruct_nor_answer() -> None:
    shipped = statement_prompts()
    forbidden = {"yes", "no", "agree", "answer", "must", "should", "always", "never", "pretend"}
    for wording in shipped.wordings:
        assert wording.count("{statement}") == 1
        assert not forbidden & set(words(wording))
        # A sentence of a prompt is one sentence of the model's text: it ends with the quote.
        assert wording.endswith('"{statement}"')


def test_only_the_yes_arm_speaks_of_the_answer() -> None:
    shipped = statement_prompts()
    assert all({"yes", "no"} & set(words(each)) for each in shipped.yes)
    assert not any({"yes", "no", "i", "you"} & set(words(each)) for each in shipped.neutral)
    for said in (shipped.yes, shipped.neutral):
        assert len(set(said)) == len(said)
