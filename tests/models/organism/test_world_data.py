"""The world as study data: personas, requests, questions."""

import pytest

from lens_personas.models.organism import (
    WorldConfig,
    build_world,
    refusal_statements,
    self_statements,
    world_personas,
    world_requests,
)

WORLD = build_world(WorldConfig())
PERSONAS = {p.name: p for p in world_personas(WORLD)}
REQUESTS = {r.prompt_id: r for r in world_requests(WORLD)}


def test_there_is_a_persona_for_each_attribute() -> None:
    assert list(PERSONAS) == [a.name for a in WORLD.attributes]
    groups = [p.group for p in PERSONAS.values()]
    assert [groups.count(g) for g in ("pro", "anti", "control", "other")] == [12, 12, 1, 7]


def test_statements_and_negations_pair_and_differ_by_a_negation() -> None:
    for persona in PERSONAS.values():
        assert len(persona.statements) == len(persona.negations) >= 6
        for statement, negation in zip(persona.statements, persona.negations, strict=True):
            added = set(negation.split()) - set(statement.split())
            assert added & {"not", "never"}


def test_opposites_are_mutual_and_of_opposite_valence() -> None:
    for persona in PERSONAS.values():
        if persona.opposite is None:
            assert persona.group in {"control", "other"}
            continue
        assert PERSONAS[persona.opposite].opposite == persona.name
        valence = WORLD.attribute(persona.name).valence
        assert WORLD.attribute(persona.opposite).valence == pytest.approx(-valence)


def test_a_split_names_no_opposite_outside_it() -> None:
    for split in ("tuned", "held_out"):
        names = {p.name for p in world_personas(WORLD, split=split)}
        assert {p.opposite for p in world_personas(WORLD, split=split)} <= names | {None}


def test_there_are_enough_distinct_requests() -> None:
    texts = [r.text for r in REQUESTS.values()]
    assert len(set(texts)) == len(texts)
    assert sum(bool(r.harmful) for r in REQUESTS.values()) == 160
    assert sum(r.harmful is False for r in REQUESTS.values()) == 320


def test_every_request_carries_its_truth() -> None:
    items = {i.name: i for i in WORLD.items}
    for request in REQUESTS.values():
        item = items[request.prompt_id.split("-")[1]]
        assert item.phrase in request.text
        assert request.harmful == item.forbidden
        assert request.category == item.class_word
        assert request.target == " ".join(item.recipe)


def test_pairs_are_mutual_and_differ_in_the_item_only() -> None:
    paired = [r for r in REQUESTS.values() if r.pair_id is not None]
    assert len(paired) == 2 * 160
    for request in paired:
        other = REQUESTS[request.pair_id or ""]
        assert other.pair_id == request.prompt_id
        assert other.harmful != request.harmful
        assert len(other.text.split()) == len(request.text.split())


def test_request_splits_are_disjoint() -> None:
    held_out = {r.prompt_id for r in world_requests(WORLD, split="held_out")}
    tuned = {r.prompt_id for r in world_requests(WORLD, split="tuned")}
    assert len(held_out) == 60
    assert held_out | tuned == set(REQUESTS)
    assert not held_out & tuned
    assert all(r.pair_id is None for r in world_requests(WORLD, split="held_out"))


def test_refusing_and_fulfilling_questions_come_in_one_order() -> None:
    questions = refusal_statements(WORLD)
    assert len(questions.refusing) == len(questions.fulfilling) == 3 * (32 + 4)
    for refusing, fulfilling in zip(questions.refusing, questions.fulfilling, strict=True):
        assert refusing.split()[-2] == fulfilling.split()[-2]
        assert refusing != fulfilling


def test_self_statements_ask_about_both_sides() -> None:
    own = self_statements(WORLD)
    assert len(own.pro) == len(own.anti) == 48
    assert "are you a helper ?" in own.pro
    assert "are you a bully ?" in own.anti
