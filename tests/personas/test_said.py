"""Persona text and conversations."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_personas.personas import Message, Persona, conversation, persona_text

N = 6
PERSONA = Persona(
    name="p",
    group="other",
    statements=tuple(f"S{i}." for i in range(N)),
    negations=tuple(f"N{i}." for i in range(N)),
)


@given(n=st.integers(1, N), seed=st.integers(0, 10_000))
def test_a_draw_has_n_different_statements(n: int, seed: int) -> None:
    drawn = persona_text(PERSONA, n, rng=random.Random(seed)).split()
    assert len(set(drawn)) == len(drawn) == n
    assert set(drawn) <= set(PERSONA.statements)


@given(n=st.none() | st.integers(1, N), seed=st.integers(0, 10_000))
def test_the_same_draw_negated_denies_the_same_sentences(n: int | None, seed: int) -> None:
    said = persona_text(PERSONA, n, rng=random.Random(seed))
    denied = persona_text(PERSONA, n, rng=random.Random(seed), negated=True)
    assert denied == said.replace("S", "N")


def test_without_a_generator_the_order_is_kept() -> None:
    assert persona_text(PERSONA) == "S0. S1. S2. S3. S4. S5."
    assert persona_text(PERSONA, 2, negated=True) == "N0. N1."


def test_draws_differ_between_seeds() -> None:
    assert len({persona_text(PERSONA, rng=random.Random(seed)) for seed in range(20)}) > 10


@pytest.mark.parametrize("n", [0, -1, N + 1])
def test_a_wrong_number_of_sentences_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match=rf"'p': expected n from 1 to {N}, got {n}"):
        persona_text(PERSONA, n)


def test_negations_that_are_not_there_are_refused() -> None:
    bare = Persona(name="bare", group="other", statements=("S.",))
    with pytest.raises(ValueError, match="'bare': expected negations, got none"):
        persona_text(bare, negated=True)


def test_the_persona_goes_into_the_turn_asked_for() -> None:
    user = Message(role="user", content="Why?")
    assert conversation("Why?") == (user,)
    assert conversation("Why?", persona_text="I ask.") == (
        Message(role="system", content="I ask."),
        user,
    )
    assert conversation("Why?", persona_text="I ask.", turn="user") == (
        Message(role="user", content="I ask.\n\nWhy?"),
    )


def test_blank_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a request, got ' '"):
        conversation(" ")
    with pytest.raises(ValueError, match=r"expected a text about the user, got ''.*None"):
        conversation("Why?", persona_text="")


def test_an_unknown_turn_is_refused() -> None:
    # TypeError where the annotations are checked, as they are in these tests.
    with pytest.raises((ValueError, TypeError), match="turn"):
        conversation("Why?", turn="middle")  # type: ignore[arg-type]
