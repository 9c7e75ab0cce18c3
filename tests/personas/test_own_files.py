"""Personas and requests of the user: what is read, and what each mistake is told."""

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lens_personas.personas import DataFileError, Persona, Request, read_personas, read_requests

WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(
    lambda text: bool(text.strip())
)
QUIET = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
KIND = {"name": "kind", "group": "pro", "statements": ["I help.", "I give."]}
MEAN = {"name": "mean", "group": "anti", "statements": ["I take."], "opposite": "kind"}


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def _jsonl(folder: Path, *rows: object) -> Path:
    return _write(folder, "rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


@st.composite
def _rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = draw(st.lists(WORDS, min_size=1, max_size=4, unique=True))
    made = []
    for name in names:
        n = draw(st.integers(1, 3))
        sentences = st.lists(WORDS, min_size=n, max_size=n).map(tuple)
        others = [other for other in names if other != name]
        made.append(
            {
                "name": name,
                "group": draw(st.sampled_from(["pro", "anti", "control", "other"])),
                "statements": draw(sentences),
                "negations": draw(sentences | st.just(())),
                "opposite": draw(st.sampled_from([None, *others])),
                "questions": draw(sentences | st.just(())),
                "licence": draw(st.none() | WORDS),
            }
        )
    return made


REQUEST = st.builds(
    Request,
    prompt_id=WORDS,
    text=WORDS,
    harmful=st.sampled_from([True, False, None]),
    category=st.none() | WORDS,
    source=st.none() | WORDS,
    source_row=st.none() | st.integers(1, 99),
    target=st.none() | WORDS,
    context=st.none() | WORDS,
    pair_id=st.none() | WORDS,
)
REQUESTS = st.lists(REQUEST, min_size=1, max_size=5, unique_by=lambda r: r.prompt_id).map(tuple)


@QUIET
@given(rows=_rows())
def test_personas_survive_every_format(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    personas = tuple(Persona(**row) for row in rows)
    lists = json.loads(json.dumps(rows))
    indented = _write(tmp_path, "p.json", json.dumps(rows, indent=2, ensure_ascii=False))
    assert read_personas(_jsonl(tmp_path, *rows)) == personas
    assert read_personas(indented) == personas
    assert read_personas(_write(tmp_path, "p.yaml", yaml.safe_dump(lists))) == personas


@QUIET
@given(requests=REQUESTS)
def test_requests_survive_every_format(tmp_path: Path, requests: tuple[Request, ...]) -> None:
    rows = [asdict(request) for request in requests]
    path = tmp_path / "r.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert read_requests(path) == requests
    assert read_requests(_jsonl(tmp_path, *rows)) == requests
    assert read_requests(_write(tmp_path, "r.json", json.dumps(rows))) == requests


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("true", True),
        ("TRUE", True),
        ("1", True),
        ("yes", True),
        (" Yes", True),
        ("false", False),
        ("0", False),
        ("no", False),
        ("", None),
    ],
)
def test_harmful_is_read_from_words_and_digits(
    tmp_path: Path, cell: str, expected: bool | None
) -> None:
    (request,) = read_requests(_write(tmp_path, "r.csv", f'text,harmful\nhello,"{cell}"\n'))
    assert request.harmful is expected


def test_an_absent_prompt_id_is_made_from_the_row(tmp_path: Path) -> None:
    path = _jsonl(tmp_path, {"text": "a"}, {"text": "b", "prompt_id": 7}, {"text": "c"})
    assert [request.prompt_id for request in read_requests(path)] == ["row-1", "7", "row-3"]


def test_a_byte_order_mark_and_a_line_break_in_a_cell_are_read(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(b'\xef\xbb\xbftext,category\r\n"two\r\nlines",x\r\n\r\nplain,\r\n')
    first, second = read_requests(path)
    assert (first.text, first.category) == ("two\r\nlines", "x")
    assert (second.text, second.category) == ("plain", None)


def test_the_line_is_the_one_in_the_file_after_blank_lines_and_long_cells(tmp_path: Path) -> None:
    jsonl = _write(tmp_path, "p.jsonl", json.dumps(KIND) + "\n\n" + '{"name": "x"}\n')
    with pytest.raises(DataFileError, match=r"p\.jsonl, line 3: expected columns name, group"):
        read_personas(jsonl)
    table = _write(tmp_path, "r.csv", 'text,harmful\n"two\nlines",yes\nx,maybe\n')
    with pytest.raises(DataFileError, match=r"r\.csv, line 4: .* found 'maybe'"):
        read_requests(table)
    listed = _write(tmp_path, "p.json", json.dumps([KIND, {"name": "x"}], indent=1))
    with pytest.raises(DataFileError, match=r"p\.json, line 10: expected columns name"):
        read_personas(listed)
    listed = _write(tmp_path, "p.yaml", yaml.safe_dump([KIND]) + "\n# note\n- name: x\n")
    with pytest.raises(DataFileError, match=r"p\.yaml, line 8: expected columns name"):
        read_personas(listed)


def test_an_unknown_column_names_the_nearest_known_one(tmp_path: Path) -> None:
    wrong = {"name": "x", "group": "pro", "statments": ["I help."]}
    with pytest.raises(
        DataFileError,
        match=r"line 1: expected columns name, group, statements \(and optionally negations, "
        r"opposite, questions, licence, demographic\), found columns 'name', 'group', 'statments'; "
        r"remove 'statments' or rename it \(the nearest known column is 'statements'\); "
        r"add the column 'statements'",
    ):
        read_personas(_jsonl(tmp_path, wrong))
    with pytest.raises(
        DataFileError, match=r"r\.csv, line 1: .*rename it \(the nearest known column is 'harmful'"
    ):
        read_requests(_write(tmp_path, "r.csv", "text,harmfull\nhello,yes\n"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (KIND | {"group": "good"}, r"in group: 'pro', 'anti', 'control' or 'other', found 'good'"),
        (KIND | {"statements": "I help."}, r"in statements: a valid tuple, found 'I help\.'"),
        (KIND | {"statements": ["I help.", 3]}, r"in statements\.1: a valid string, found 3"),
        (KIND | {"statements": []}, "at least one statement"),
        (KIND | {"statements": ["I help.", " "]}, "got 2 statements and 1 blank sentences"),
        (KIND | {"questions": [""]}, "no blank sentence, got 2 statements and 1"),
        (KIND | {"negations": ["I do not help."]}, "expected 2 negations, .* got 1"),
        (KIND | {"name": " "}, "expected a text in the column 'name', found nothing"),
        (KIND | {"opposite": "none"}, r"opposite of 'kind' .* \(kind\), found 'none'"),
        (KIND | {"opposite": "kind"}, "another persona of the file .* found 'kind'"),
        ([KIND], "expected a row with named columns"),
    ],
)
def test_a_wrong_persona_is_refused_with_its_line(
    tmp_path: Path, row: object, message: str
) -> None:
    with pytest.raises(DataFileError, match=rf"rows\.jsonl, line 1: .*{message}"):
        read_personas(_jsonl(tmp_path, row))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": " "}, "expected a text in the column 'text', found nothing"),
        ({"text": None}, "expected in text: a valid string, found None"),
        ({"text": "a", "harmful": "maybe"}, "expected true, false, 1, 0, yes, no or nothing"),
        ({"text": "a", "harmful": 2}, "in the column 'harmful', found 2"),
        ({"text": "a", "category": 3}, "in category: a valid string, found 3"),
        ({"text": "a", "prompt_id": True}, "in prompt_id: a valid string, found True"),
        ({"text": "a", "source_row": "x"}, "in source_row: a valid integer"),
        ({"prompt_id": "a"}, "add the column 'text'"),
    ],
)
def test_a_wrong_request_is_refused_with_its_line(
    tmp_path: Path, row: object, message: str
) -> None:
    with pytest.raises(DataFileError, match=rf"rows\.jsonl, line 1: .*{message}"):
        read_requests(_jsonl(tmp_path, row))


def test_a_name_or_identifier_may_not_come_twice(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match=r"line 3: expected each name once, .*on line 1"):
        read_personas(_jsonl(tmp_path, KIND, MEAN, KIND))
    with pytest.raises(DataFileError, match=r"line 2: expected each prompt_id once, found 'row-2'"):
        read_requests(_jsonl(tmp_path, {"text": "a", "prompt_id": "row-2"}, {"text": "b"}))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.jsonl", "", "expected at least one row, found none"),
        ("p.yaml", "# nothing\n", "expected at least one row, found none"),
        ("p.json", "[]", "expected at least one row, found none"),
        ("p.jsonl", '{"name": "x"}\n{"name"\n', "line 2: expected valid JSON"),
        ("p.jsonl", '{"name": "x", "name": "y"}', "line 1: .* the column 'name' twice"),
        ("p.jsonl", "[" * 100_000, "line 1: expected valid JSON"),
        ("p.json", '[{"name": "x"},\n\n{"name"}]', "line 3: expected valid JSON"),
        ("p.json", '{"name": "x"}', r"a list of rows, found one dict; put \[ and \]"),
        ("p.yaml", "name: x\n", "a YAML list of rows, found one dict"),
        ("p.yaml", "- name: x\n  name: y\n", "the column 'name' twice"),
        ("p.yaml", "- name: [x\n- y\n", "line 3: expected a YAML list of rows"),
        ("p.yaml", "- 2001-99-99\n", "expected a YAML list of rows"),
        ("p.yaml", "- !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
        ("p.yaml", "- yes: x\n", "line 1: expected a row with named columns"),
        ("p.txt", "x", r"ends in \.jsonl, \.json, \.yaml, \.yml, found 'p\.txt'"),
    ],
)
def test_a_malformed_persona_file_is_refused(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    with pytest.raises(DataFileError, match=message):
        read_personas(_write(tmp_path, name, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected at least one row, found none"),
        ("text,harmful\n", "expected at least one row, found none"),
        ("text,text\na,b\n", "line 1: .* the column 'text' twice"),
        ("text,category\na, b, c\n", r"line 2: expected 2 cells \(text, category\), found 3"),
        ("text,category\na\n", "line 2: expected 2 cells .* found 1; put quotation marks"),
        ('text\n"a"b\n', "line 2: expected valid CSV"),
        ('text\na\n"never closed\n', "line 3: expected valid CSV"),
    ],
)
def test_a_malformed_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataFileError, match=message):
        read_requests(_write(tmp_path, "r.csv", text))


def test_a_file_that_is_not_utf8_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes("text\nplain\ncafé\n".encode("latin-1"))
    with pytest.raises(DataFileError, match="line 3: expected UTF-8 text, found the byte 0xe9"):
        read_requests(path)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected a file at .*none\.csv, found nothing"):
        read_requests(tmp_path / "none.csv")
    with pytest.raises(DataFileError, match="found a folder"):
        read_requests(str(tmp_path))
