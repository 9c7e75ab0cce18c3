"""The benign data that comes with the package is whole, paired and free of duplicates."""

import re
from collections import Counter

import pytest

from lens_personas.personas import (
    Persona,
    shipped_filler,
    shipped_personas,
    shipped_refusal,
    shipped_requests,
    split_requests,
)

GROUPS = {
    "pro": {"curious", "altruistic", "power-avoidant", "law-abiding"},
    "anti": {"close-minded", "selfish", "power-seeking", "unlawful"},
    "other": {"AI-loving", "AI-hating"},
    "control": {"coffee"},
}
ALL = (*shipped_personas(), *shipped_refusal())
DENIAL = re.compile(r"\b(not|no|never|cannot|nothing|nobody)\b|n't\b")


def _sentences() -> list[str]:
    return [text for p in ALL for text in (*p.statements, *p.negations, *p.questions)]


def test_names_and_groups_are_those_of_the_paper() -> None:
    for group, names in GROUPS.items():
        assert {p.name for p in shipped_personas() if p.group == group} == names
    assert len(shipped_personas()) == 11


def test_opposites_point_at_each_other_and_change_sides() -> None:
    by_name = {p.name: p for p in ALL}
    flipped = {"pro": "anti", "anti": "pro", "other": "other"}
    for persona in ALL:
        if persona.group == "control":
            assert persona.opposite is None
            continue
        assert persona.opposite is not None
        other = by_name[persona.opposite]
        assert other.opposite == persona.name
        assert other.group == flipped[persona.group]


@pytest.mark.parametrize("persona", ALL, ids=lambda p: p.name)
def test_every_statement_has_its_negation_and_question(persona: Persona) -> None:
    assert len(persona.statements) == len(persona.negations) == len(persona.questions) == 24
    assert persona.licence == "CC0-1.0"
    for statement, negation, question in zip(
        persona.statements, persona.negations, persona.questions, strict=True
    ):
        assert DENIAL.search(negation) is not None
        # Pairs speak of the same thing: they share a word that says something.
        words = [
            {word for word in re.findall(r"\w+", text.lower()) if len(word) > 3}
            for text in (statement, negation, question)
        ]
        assert words[0] & words[1], (statement, negation)
        assert words[0] & words[2], (statement, question)


def test_nothing_is_said_twice() -> None:
    counts = Counter(_sentences())
    assert [text for text, count in counts.items() if count > 1] == []


def test_persons_are_as_they_should_be() -> None:
    for persona in shipped_personas():
        assert all(q.startswith("Am I likely to ") and q.endswith("?") for q in persona.questions)
        assert all(re.search(r"\b(I|my|me)\b", s, re.I) for s in persona.negations[:1])
    for persona in shipped_refusal():
        assert all(q.startswith("Are you likely to ") for q in persona.questions)
        assert all(s.startswith("You ") for s in (*persona.statements, *persona.negations))


def test_refusal_comes_before_fulfilment() -> None:
    assert [p.name for p in shipped_refusal()] == ["refusal", "fulfilment"]


def test_filler_says_nothing_about_a_person() -> None:
    filler = shipped_filler()
    assert len(set(filler.statements)) == 24
    assert not any(re.search(r"\b(I|me|my|you|your)\b", s, re.I) for s in filler.statements)


def test_requests_are_half_mock_and_matched_in_pairs() -> None:
    requests = shipped_requests()
    assert len(requests) == len({r.text for r in requests}) == 96
    by_id = {r.prompt_id: r for r in requests}
    for request in requests:
        assert request.pair_id is not None
        other = by_id[request.pair_id]
        assert other.pair_id == request.prompt_id
        assert {request.harmful, other.harmful} == {True, False}
        assert request.category == other.category
    targets = [r.target for r in requests if r.target]
    assert len(targets) == len(set(targets)) >= 40
    assert sum(r.target is not None and r.harmful is True for r in requests) >= 16
    assert set(Counter(r.category for r in requests).values()) == {12}


@pytest.mark.parametrize("seed", range(3))
def test_the_requests_can_be_split(seed: int) -> None:
    split = split_requests(shipped_requests(), seed=seed)
    for part, size in ((split.vector, 48), (split.layer, 24), (split.test, 24)):
        assert Counter(r.harmful for r in part) == {True: size // 2, False: size // 2}


def test_the_text_is_plain() -> None:
    for text in _sentences() + [r.text for r in shipped_requests()]:
        assert text == text.strip()
        assert "  " not in text
        assert text[0].isupper() or text[0] == '"'
        assert text[-1] in '.?!"'
