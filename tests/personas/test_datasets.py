"""Published data sets: planted rows in the published columns, and the real files where present."""

import csv
import hashlib
import json
from pathlib import Path
from typing import get_args

import pytest

from lens_personas.personas import (
    DataFileError,
    RequestDataset,
    load_completions,
    load_requests,
    load_statements,
)
from lens_personas.personas._catalogue import REQUEST_SOURCES, STATEMENT_TERMS, StatementDataset

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "anthropic_persona"

# One harmless row for each data set, with the columns as published.
PUBLISHED: dict[str, dict[str, object]] = {
    "advbench": {"goal": "Hum a tune", "target": "Sure, here"},
    "jailbreakbench-harmful": {
        "Index": "4",
        "Goal": "Hum a tune",
        "Target": "Sure, here",
        "Behavior": "Humming",
        "Category": "Noise",
        "Source": "Original",
    },
    "jailbreakbench-benign": {
        "": "4",
        "Goal": "Hum a tune",
        "Target": "Sure, here",
        "Behavior": "Humming",
        "Category": "Noise",
        "Source": "Original",
    },
    "harmbench": {
        "Behavior": "Hum a tune",
        "FunctionalCategory": "standard",
        "SemanticCategory": "noise",
        "Tags": "",
        "ContextString": "A tune.",
        "BehaviorID": "hum_a_tune",
    },
    "strongreject": {"category": "Noise", "source": "custom", "forbidden_prompt": "Hum a tune"},
    "xstest": {
        "id": "v2-1",
        "prompt": "Hum a tune",
        "type": "homonyms",
        "label": "safe",
        "focus": "hum",
        "note": "",
    },
    "or-bench": {"prompt": "Hum a tune", "category": "noise"},
    "or-bench-toxic": {"prompt": "Hum a tune", "category": "noise"},
    "sorry-bench": {
        "question_id": 9,
        "category": "44",
        "turns": ["Hum a tune"],
        "prompt_style": "base",
    },
    "refusal-direction-harmful": {"instruction": "Hum a tune", "category": None},
    "refusal-direction-harmless": {"instruction": "Hum a tune", "category": None},
}
IDENTIFIERS = {"harmbench": "hum_a_tune", "xstest": "v2-1", "sorry-bench": "9"}
HARMLESS = {"jailbreakbench-benign", "xstest", "or-bench", "refusal-direction-harmless"}

STATEMENT: dict[str, object] = {
    "question": 'Would you say "I hum"?',
    "statement": "I hum",
    "label_confidence": 0.75,
    "answer_matching_behavior": " Yes",
    "answer_not_matching_behavior": " No",
}
COMPLETION: dict[str, object] = {
    "id": "v2-1",
    "type": "contrast_homonyms",
    "prompt": "Hum a tune",
    "completion": "",
    "annotation_1": "2_full_refusal",
    "annotation_2": "3_partial_refusal",
    "agreement": "FALSE",
    "final_label": "2_full_refusal",
}


def _csv(path: Path, *rows: dict[str, object]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _jsonl(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _publish(folder: Path, dataset: str) -> Path:
    row = PUBLISHED[dataset]
    if dataset == "sorry-bench":
        return _jsonl(folder / "question.jsonl", row)
    if dataset.startswith("refusal-direction"):
        (folder / "split.json").write_text(json.dumps([row]), encoding="utf-8")
        return folder / "split.json"
    return _csv(folder / "rows.csv", row)


def test_every_named_data_set_is_in_the_catalogue_and_tested() -> None:
    assert set(get_args(RequestDataset)) == set(REQUEST_SOURCES) == set(PUBLISHED)
    assert set(get_args(StatementDataset)) == set(STATEMENT_TERMS)


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_a_published_row_becomes_a_request(tmp_path: Path, dataset: RequestDataset) -> None:
    path = _publish(tmp_path, dataset)
    loaded = load_requests(path, dataset=dataset, revision="abc")
    (request,) = loaded.rows
    identifier = IDENTIFIERS.get(dataset, "4" if dataset.startswith("jailbreak") else "1")
    assert request.prompt_id == f"{dataset}-{identifier}"
    assert request.text == "Hum a tune"
    assert request.harmful is (dataset not in HARMLESS)
    assert (request.source, request.source_row) == (dataset, 1)
    assert loaded.origin.revision == "abc"
    assert loaded.origin.path == str(path)
    assert loaded.origin.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.origin.licence
    assert "https://" in loaded.origin.citation


def test_columns_go_to_their_fields(tmp_path: Path) -> None:
    behaviour = load_requests(_publish(tmp_path, "harmbench"), dataset="harmbench").rows[0]
    assert (behaviour.category, behaviour.context) == ("noise", "A tune.")
    goal = load_requests(_publish(tmp_path, "advbench"), dataset="advbench").rows[0]
    assert (goal.target, goal.category) == ("Sure, here", None)


def test_the_two_jailbreakbench_files_are_matched_by_index(tmp_path: Path) -> None:
    pair = [
        load_requests(_publish(tmp_path, name), dataset=name).rows[0]
        for name in ("jailbreakbench-harmful", "jailbreakbench-benign")
    ]
    assert pair[0].pair_id == pair[1].prompt_id
    assert pair[1].pair_id == pair[0].prompt_id


def test_xstest_labels_tell_safe_from_unsafe(tmp_path: Path) -> None:
    safe = PUBLISHED["xstest"]
    rows = [safe, safe | {"id": "v2-2", "label": "unsafe"}]
    loaded = load_requests(_csv(tmp_path / "x.csv", *rows), dataset="xstest")
    assert [request.harmful for request in loaded.rows] == [False, True]
    wrong = _csv(tmp_path / "x.csv", safe, safe | {"id": "v2-2", "label": "odd"})
    with pytest.raises(DataFileError, match=r"line 3: expected one of safe, unsafe .* 'odd'"):
        load_requests(wrong, dataset="xstest")


def test_a_file_of_another_set_is_refused_with_both_sides(tmp_path: Path) -> None:
    path = _csv(tmp_path / "x.csv", {"Goal": "Hum", "target": "Sure"})
    with pytest.raises(
        DataFileError,
        match=r"line 1: expected columns goal, target, found columns 'Goal', 'target'",
    ):
        load_requests(path, dataset="advbench")


def test_further_columns_of_a_published_file_are_passed_over(tmp_path: Path) -> None:
    path = _csv(tmp_path / "x.csv", PUBLISHED["or-bench"] | {"split": "train"})
    assert load_requests(path, dataset="or-bench").rows[0].text == "Hum a tune"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"turns": ["Hum", "Again"]}, "expected one text in the column 'turns'"),
        ({"turns": []}, "expected one text in the column 'turns'"),
        ({"turns": [" "]}, "expected a text in the column 'turns', found nothing"),
        ({"question_id": None}, "expected a text in the column 'question_id'"),
        ({"category": {"a": 1}}, "expected one text in the column 'category'"),
    ],
)
def test_a_malformed_row_is_refused_with_its_line(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    row = PUBLISHED["sorry-bench"]
    path = _jsonl(tmp_path / "q.jsonl", row, row | {"question_id": 10} | change)
    with pytest.raises(DataFileError, match=rf"q\.jsonl, line 2: {message}"):
        load_requests(path, dataset="sorry-bench")


def test_an_identifier_may_not_come_twice(tmp_path: Path) -> None:
    row = PUBLISHED["sorry-bench"]
    with pytest.raises(DataFileError, match="expected each identifier once, found 'sorry-bench-9'"):
        load_requests(_jsonl(tmp_path / "q.jsonl", row, row), dataset="sorry-bench")


def test_an_unknown_data_set_is_refused(tmp_path: Path) -> None:
    # TypeError where the annotations are checked, as they are in these tests.
    with pytest.raises((ValueError, TypeError), match="advbench"):
        load_requests(tmp_path / "x.csv", dataset="nothing")  # type: ignore[arg-type]


def test_statements_keep_the_answers_as_published(tmp_path: Path) -> None:
    turned = STATEMENT | {
        "answer_matching_behavior": " No",
        "answer_not_matching_behavior": " Yes",
    }
    loaded = load_statements(_jsonl(tmp_path / "humming.jsonl", STATEMENT, turned))
    assert loaded.behaviour == "humming"
    first, second = loaded.rows
    assert (first.statement_id, first.text, first.matching) == ("humming-1", "I hum", " Yes")
    assert first.label_confidence == 0.75
    assert (first.yes_shows_it, second.yes_shows_it) == (True, False)


@pytest.mark.parametrize("dataset", ["advanced-ai-risk", "caa"])
def test_lettered_questions_have_no_statement(tmp_path: Path, dataset: StatementDataset) -> None:
    row = {
        "question": "Hum? (A) yes (B) no",
        "answer_matching_behavior": "(A)",
        "answer_not_matching_behavior": "(B)",
    }
    path = tmp_path / "hum.json"
    path.write_text(json.dumps([row]), encoding="utf-8")
    (statement,) = load_statements(path, dataset=dataset).rows
    assert (statement.text, statement.yes_shows_it) == (None, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_confidence": 1.5}, "a label_confidence from 0 to 1, found '1.5'"),
        ({"label_confidence": "high"}, "a label_confidence from 0 to 1, found 'high'"),
        ({"answer_not_matching_behavior": "Yes"}, "two different answers, found ' Yes' and 'Yes'"),
        ({"statement": ""}, "a text in the column 'statement', found nothing"),
    ],
)
def test_a_malformed_statement_is_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = _jsonl(tmp_path / "hum.jsonl", STATEMENT, STATEMENT | change)
    with pytest.raises(DataFileError, match=rf"line 2: expected {message}"):
        load_statements(path)


def test_completions_carry_the_human_labels(tmp_path: Path) -> None:
    loaded = load_completions(_csv(tmp_path / "c.csv", COMPLETION))
    (row,) = loaded.rows
    assert (row.prompt_id, row.harmful, row.completion) == ("xstest-v2-1", True, "")
    assert row.label == "refusal"
    assert row.annotations == ("refusal", "partial_refusal")
    wrong = _csv(tmp_path / "c.csv", COMPLETION | {"final_label": "refused"})
    with pytest.raises(DataFileError, match=r"one of 1_full_compliance, .* found 'refused'"):
        load_completions(wrong)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no {REAL.parent.name}/{REAL.name} beside the tree")
def test_the_published_persona_files_load_whole() -> None:
    files = sorted(REAL.glob("*.jsonl"))
    sets = [load_statements(path) for path in files]
    for path, loaded in zip(files, sets, strict=True):
        assert len(loaded.rows) == path.read_text(encoding="utf-8").strip().count("\n") + 1
        assert all(row.yes_shows_it is not None for row in loaded.rows)
        assert all(row.text is not None and row.text in row.question for row in loaded.rows)
    halves = {s.behaviour: sum(row.yes_shows_it is True for row in s.rows) for s in sets}
    assert halves["agreeableness"] == 500
