"""Swapped pairs differ in the words on the user alone, and have equally many tokens."""

import pytest

from lens_personas.interventions import swapped_pairs
from lens_personas.models import LensModel
from lens_personas.models.organism import (
    checkpoint_path,
    load_world,
    world_personas,
    world_requests,
)
from lens_personas.personas import Persona, shipped_personas, shipped_requests

WORLD = load_world(checkpoint_path("chat"))
PERSONAS = {persona.name: persona for persona in world_personas(WORLD)}
REQUESTS = world_requests(WORLD)[:3]
COUPLE = (PERSONAS["bully"], PERSONAS["helper"])


def persona(name: str, *statements: str) -> Persona:
    return Persona(name=name, group="other", statements=statements)


@pytest.mark.parametrize("turn", ["system", "user"])
@pytest.mark.parametrize("n", [1, 3])
def test_a_pair_differs_within_the_words_on_the_user_alone(
    chat_model: LensModel, turn: str, n: int
) -> None:
    found = swapped_pairs(chat_model, [COUPLE], REQUESTS, turn=turn, n_statements=n)
    assert found.left_out == ()
    assert found.names == (("bully", "helper"),) * len(REQUESTS)
    assert found.prompt_ids == tuple(request.prompt_id for request in REQUESTS)
    assert not (found.differs & ~found.persona_positions).any()
    for at, (one, other) in enumerate(zip(found.clean, found.corrupted, strict=True)):
        assert len(one.ids) == len(other.ids)
        assert one.spans == other.spans
        # The world says one word of its own in each of these sentences, or two.
        assert n <= int(found.differs[at].sum()) <= 2 * n
        assert found.said[at][0] in one.text
        assert found.said[at][1] in other.text


def test_statements_are_chosen_until_their_tokens_agree(chat_model: LensModel) -> None:
    one = persona("one", "the user is a bully .", "the user is a cheat")
    other = persona("other", "the user", "the user is a helper")
    found = swapped_pairs(chat_model, [(one, other)], REQUESTS)
    assert set(found.said) == {("the user is a cheat", "the user is a helper")}


def test_two_statements_agree_in_their_sum(chat_model: LensModel) -> None:
    one = persona("one", "the user is", "the user is a bully .", "the")
    other = persona("other", "the user is a helper", "the user is a", "user")
    found = swapped_pairs(chat_model, [(one, other)], REQUESTS[:1], n_statements=2)
    assert found.said == (
        ("the user is the user is a bully .", "the user is a helper the user is a"),
    )
    assert len(found.clean[0].ids) == len(found.corrupted[0].ids)


def test_what_cannot_be_paired_is_left_out_with_the_reason(chat_model: LensModel) -> None:
    short, long = persona("short", "the user"), persona("long", "the user is a helper")
    found = swapped_pairs(chat_model, [(short, long), COUPLE], REQUESTS)
    assert {each.names for each in found.left_out} == {("short", "long")}
    assert len(found.left_out) == len(found.clean) == len(REQUESTS)
    assert "equally many tokens" in found.left_out[0].reason
    alone = swapped_pairs(chat_model, [(short, long)], REQUESTS, n_statements=2)
    assert "expected 2 statements" in alone.left_out[0].reason
    assert alone.clean == ()
    assert alone.differs.shape == (0, 0)


def test_the_same_words_are_no_swap(chat_model: LensModel) -> None:
    twin = persona("twin", *PERSONAS["bully"].statements[:1])
    found = swapped_pairs(chat_model, [(persona("one", *twin.statements), twin)], REQUESTS[:1])
    assert found.clean == ()


def test_nothing_to_pair_is_refused(chat_model: LensModel) -> None:
    with pytest.raises(ValueError, match="expected couples, requests and at least one statement"):
        swapped_pairs(chat_model, [], REQUESTS)


def test_shipped_personas_are_paired_where_their_sentences_allow_it(chat_model: LensModel) -> None:
    """Unknown words are a token each here, so lengths are those of the sentences."""
    shipped = {each.name: each for each in shipped_personas()}
    couples = [(each, shipped[each.opposite]) for each in shipped.values() if each.opposite]
    found = swapped_pairs(chat_model, couples, shipped_requests()[:1], n_statements=2)
    assert len(found.clean) + len(found.left_out) == len(couples)
    assert found.clean
    assert all(len(a.ids) == len(b.ids) for a, b in zip(found.clean, found.corrupted, strict=True))
