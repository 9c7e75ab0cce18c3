"""Degenerate text is found, and plain text is left alone."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_personas.readouts import degenerate_share, distinct_n, is_degenerate
from lens_personas.readouts._text import normalise

PROSE = (
    "To make the broth, wash the roots and cut them into small pieces. Put them in a pot with "
    "cold water, add salt and thyme, and let it simmer for an hour. Strain it, taste it, and "
    "serve it hot with a slice of bread. It keeps for three days in a cool place."
)
WORD = st.text(alphabet="abcdefgh", min_size=1, max_size=6)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t",
        "...",
        "\u2014 !? \u2026",
        "the the the the",
        "boil it and boil it and boil it and boil it and",
        "Sure. I will help. I will help. I will help. I will help. I will help.",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "hahahahahahahahahahahahahaha",
        "the of the and the of and the " * 8,
    ],
)
def test_loops_and_empty_texts_are_degenerate(text: str) -> None:
    assert is_degenerate(text)


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "42",
        "no no no",
        "amber plus basil boiled",
        PROSE,
        "very, very, very good",
        "1. a 2. b 3. c",
    ],
)
def test_language_is_not_degenerate(text: str) -> None:
    assert not is_degenerate(text)


def test_a_loop_that_covers_less_than_half_is_let_pass() -> None:
    assert not is_degenerate(f"{PROSE} ha ha ha ha ha ha")
    assert is_degenerate(f"Boil it now. {'ha ' * 12}")


@given(st.lists(WORD, min_size=1, max_size=12, unique=True), st.integers(4, 9))
def test_any_ngram_said_four_times_is_degenerate(ngram: list[str], copies: int) -> None:
    assert is_degenerate(" ".join(ngram * copies))


@given(st.lists(WORD, min_size=1, max_size=200, unique=True))
def test_distinct_words_of_unlike_letters_have_no_word_loop(words: list[str]) -> None:
    assert distinct_n(words, 1) == 1
    # A prefix of its own keeps the characters from looping too.
    text = " ".join(f"{number}x{word}" for number, word in enumerate(words))
    assert distinct_n(text.split()) >= 0.3 or len(words) == 1


@given(st.text(alphabet="aAbB .", max_size=80))
def test_case_and_outer_space_do_not_matter(text: str) -> None:
    assert is_degenerate(f"  {text.swapcase()}\n") == is_degenerate(text)


@given(st.text(max_size=120))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


def test_degenerate_share_counts() -> None:
    assert degenerate_share([PROSE, "", "ha ha ha ha", "fine"]) == 0.5
    assert math.isnan(degenerate_share([]))


def test_distinct_n_of_known_sequences() -> None:
    assert distinct_n([1, 2, 3, 4]) == 1.0
    assert distinct_n([1, 1, 1, 1, 1]) == 0.25
    assert distinct_n([1, 2, 1, 2], n=1) == 0.5
    assert math.isnan(distinct_n([1], n=2))


@given(st.lists(st.integers(0, 4), min_size=3, max_size=30), st.integers(1, 3))
def test_distinct_n_is_a_share_that_renaming_tokens_does_not_change(
    tokens: list[int], n: int
) -> None:
    share = distinct_n(tokens, n)
    assert 0 < share <= 1
    assert distinct_n([f"t{token}" for token in tokens], n) == share


def test_ngrams_of_no_token_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 token, got n = 0"):
        distinct_n([1, 2], n=0)
