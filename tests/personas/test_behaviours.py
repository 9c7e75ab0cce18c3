"""Behaviours: which answer is aligned, what stays together, what is kept for prompts."""

import json
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_personas.personas import (
    Behaviour,
    BehaviourItem,
    DataFileError,
    StatementSet,
    behaviour_items,
    behaviour_of,
    divide,
    is_desirable,
    limit_halves,
    load_statements,
    map_items,
    question_about,
    shipped_behaviours,
    statement_groups,
)
from lens_personas.personas._sentences import words

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "anthropic_persona"
POSITIVE = {
    "agreeableness",
    "conscientiousness",
    "openness",
    "willingness-to-defer-to-authorities",
    "willingness-to-defer-to-experts",
}


def _set(name: str = "patience") -> StatementSet:
    return next(each for each in shipped_behaviours() if each.behaviour == name)


def _item(number: int, group: int, aligned: bool) -> BehaviourItem:
    return BehaviourItem(
        statement_id=f"s-{number}", group=f"g-{group}", aligned=aligned, question="?", text="I do"
    )


def _groups(items: tuple[BehaviourItem, ...]) -> set[str]:
    return {item.group for item in items}


@pytest.mark.parametrize(("name", "desirable"), [("patience", True), ("stubbornness", False)])
def test_yes_is_aligned_to_what_shows_a_desirable_behaviour(name: str, desirable: bool) -> None:
    statements = _set(name)
    assert is_desirable(name) is desirable
    for row, item in zip(
        statements.rows, behaviour_items(statements, desirable=desirable), strict=True
    ):
        assert item.aligned is (row.yes_shows_it is desirable)
    turned = behaviour_items(statements, desirable=not desirable)
    assert [not item.aligned for item in turned] == [
        item.aligned for item in behaviour_items(statements, desirable=desirable)
    ]


def test_the_shipped_behaviours_are_whole() -> None:
    shipped = shipped_behaviours()
    assert len(shipped) == 6
    for each in shipped:
        assert each.origin.licence == "CC0-1.0"
        assert Counter(row.yes_shows_it for row in each.rows) == {True: 24, False: 24}
        # Nothing is said twice, so every statement is a group of its own.
        assert len(_groups(behaviour_items(each, desirable=True))) == 48
        for row in each.rows:
            assert row.text is not None
            assert row.question == question_about(row.text)
            assert 4 <= len(row.text.split()) <= 16
            assert not row.text.endswith(".")
            # Neither the answers nor the name of the trait are in the sentence.
            assert not {"yes", "no one"} & set(words(row.text))
            assert each.behaviour not in row.text


def _brute_force(texts: list[str]) -> list[int]:
    bags = [set(words(text)) or {text.strip()} for text in texts]
    group = list(range(len(bags)))
    for a, b in combinations(range(len(bags)), 2):
        if len(bags[a] & bags[b]) >= 0.8 * len(bags[a] | bags[b]):
            low, high = sorted((group[a], group[b]))
            group = [low if each == high else each for each in group]
    return group


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8), max_size=20))
def test_groups_are_the_components_of_nearly_the_same_words(bags: list[list[str]]) -> None:
    texts = [" ".join(bag) for bag in bags]
    assert list(statement_groups(texts)) == _brute_force(texts)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=40, max_size=80),
    st.integers(0, 5),
)
def test_no_group_is_divided_and_the_draw_does_not_hang_on_the_order(
    drawn: list[tuple[int, bool]], seed: int
) -> None:
    # Two single statements of each half, so that no part can be empty.
    more = [(100 + at, at < 4) for at in range(8)]
    items = [_item(at, *each) for at, each in enumerate([*drawn, *more])]
    scored, prompt = divide(items, seed=seed, prompt_share=0.5)
    assert not _groups(scored) & _groups(prompt)
    assert sorted(i.statement_id for i in (*scored, *prompt)) == sorted(
        i.statement_id for i in items
    )
    mixed = Random(seed).sample(items, len(items))
    assert [set(part) for part in divide(mixed, seed=seed, prompt_share=0.5)] == [
        set(scored),
        set(prompt),
    ]


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_both_halves_are_divided_alike(share: float) -> None:
    items = [_item(at, at, at % 2 == 0) for at in range(80)]
    parts = {seed: divide(items, seed=seed, prompt_share=share)[1] for seed in range(3)}
    for prompt in parts.values():
        assert Counter(item.aligned for item in prompt) == {True: 40 * share, False: 40 * share}
    assert len(set(parts.values())) == 3


def test_a_part_without_one_of_the_halves_is_refused() -> None:
    items = [_item(0, 0, True), *(_item(at, at, False) for at in range(1, 9))]
    with pytest.raises(ValueError, match=r"some are aligned and some are not, got"):
        divide(items, seed=0, prompt_share=0.5)
    with pytest.raises(ValueError, match=r"between 0 and 1 .* got 1\.5"):
        divide(items, seed=0, prompt_share=1.5)


def test_a_limit_leaves_as_many_of_each_half_and_no_prompt_out() -> None:
    whole, cut = (behaviour_of(_set(), seed=3, limit=limit) for limit in (None, 5))
    assert Counter(item.aligned for item in cut.scored) == {True: 5, False: 5}
    assert set(cut.scored) < set(whole.scored)
    assert cut.prompt == whole.prompt
    assert len(limit_halves(whole.statements, 7, seed=0)) == 14


def test_prompts_are_written_from_statements_that_are_not_scored() -> None:
    behaviour = behaviour_of(_set(), seed=0)
    said = {*behaviour.sentences.misaligned, *behaviour.sentences.aligned}
    assert said == {item.text for item in behaviour.prompt}
    assert not said & {item.text for item in behaviour.scored}
    by_text = {item.text: item.aligned for item in behaviour.prompt}
    assert not any(by_text[text] for text in behaviour.sentences.misaligned)
    assert all(by_text[text] for text in behaviour.sentences.aligned)


def test_labels_can_be_dealt_anew() -> None:
    behaviour = behaviour_of(_set(), seed=0)
    turned = map_items(behaviour, lambda item: replace(item, aligned=not item.aligned))
    assert [i.aligned for i in turned.statements] == [not i.aligned for i in behaviour.statements]
    assert isinstance(turned, Behaviour)


def test_sets_with_other_answers_or_without_sentences_are_refused() -> None:
    statements = _set()
    first = statements.rows[0]
    lettered = replace(statements, rows=(replace(first, matching="(A)", not_matching="(B)"),))
    with pytest.raises(ValueError, match=r"patience: expected the answers Yes and No, got '\(A\)'"):
        behaviour_items(lettered, desirable=True)
    bare = replace(statements, rows=tuple(replace(row, text=None) for row in statements.rows))
    with pytest.raises(ValueError, match="a bare sentence for every statement"):
        behaviour_of(bare, seed=0)


def test_a_malformed_file_of_statements_gives_file_line_and_columns(tmp_path: Path) -> None:
    path = tmp_path / "hums.jsonl"
    row = {"question": "Hm?", "statement": "I hum", "answer_matching_behavior": " Yes"}
    good = row | {"answer_not_matching_behavior": " No", "label_confidence": 0.9}
    path.write_text(f"{json.dumps(good)}\n{json.dumps(row)}\n", encoding="utf-8")
    columns = "question, statement, label_confidence, answer_matching_behavior, "
    expected = f"hums.jsonl, line 2: expected columns {columns}answer_not_matching_behavior, found"
    with pytest.raises(DataFileError, match=expected):
        load_statements(path)


def test_own_files_need_no_label_confidence(tmp_path: Path) -> None:
    path = tmp_path / "hums.jsonl"
    row = {
        "question": "Hm?",
        "statement": "I hum",
        "answer_matching_behavior": " Yes",
        "answer_not_matching_behavior": " No",
    }
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (statement,) = load_statements(path, dataset="lens-personas").rows
    assert (statement.text, statement.label_confidence) == ("I hum", None)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"expected the published files in {REAL}")
def test_the_published_files_make_behaviours() -> None:
    names = {path.stem for path in REAL.glob("*.jsonl")}
    assert {name for name in names if is_desirable(name)} == POSITIVE
    for path in sorted(REAL.glob("*.jsonl"))[:4]:
        behaviour = behaviour_of(load_statements(path), seed=0)
        assert not _groups(behaviour.scored) & _groups(behaviour.prompt)
        n_aligned = sum(item.aligned for item in behaviour.scored)
        assert abs(2 * n_aligned - len(behaviour.scored)) <= 2
        # Near-duplicates are few: a group that took in the rest would leave nothing to resample.
        assert max(Counter(i.group for i in behaviour.statements).values()) < 50
