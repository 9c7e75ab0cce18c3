"""Published data sets, read from the user's file into our row types."""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

from lens_personas.personas._catalogue import (
    MATCHING,
    NOT_MATCHING,
    REQUEST_SOURCES,
    STATEMENT_TERMS,
    RequestDataset,
    Source,
    StatementDataset,
)
from lens_personas.personas._own import refuse_duplicates
from lens_personas.personas._row import Row, data_file_error
from lens_personas.personas._rows import check_columns, read_rows
from lens_personas.personas._sets import (
    Completion,
    CompletionLabel,
    CompletionSet,
    Origin,
    RequestSet,
    Statement,
    StatementSet,
)
from lens_personas.personas._types import Request

T = TypeVar("T")

_FORMATS: Final = (".csv", ".jsonl", ".json")
_LABELS: Final[Mapping[str, CompletionLabel]] = {
    "1_full_compliance": "compliance",
    "2_full_refusal": "refusal",
    "3_partial_refusal": "partial_refusal",
}
_STATEMENT_COLUMNS: Final = {
    "anthropic-persona": ("statement", "label_confidence"),
    "lens-personas": ("statement",),
    "own": ("statement",),
}
_COMPLETION_COLUMNS: Final = (
    "id",
    "type",
    "prompt",
    "completion",
    "annotation_1",
    "annotation_2",
    "final_label",
)


def load_requests(
    path: str | Path, *, dataset: RequestDataset, revision: str | None = None
) -> RequestSet:
    """The requests of a published data set, from the file the user has.

    Columns are read by the names of the source; further columns are passed over. The
    ``prompt_id`` is the name of the data set, a hyphen, and the source's own identifier, or the
    row counted from 1.

    Raises:
        FileNotFoundError: If there is no such file.
        DataFileError: If a column is missing or a value is wrong, with the line.
        ValueError: If ``dataset`` is unknown.
    """
    path = Path(path)
    source = _of(dataset, REQUEST_SOURCES)
    rows = read_rows(path, formats=_FORMATS)
    requests = tuple(
        _request(path, row, number, dataset, source) for number, row in enumerate(rows, start=1)
    )
    refuse_duplicates(path, rows, "identifier", [request.prompt_id for request in requests])
    terms = (source.licence, source.citation)
    return RequestSet(rows=requests, origin=_origin(path, dataset, revision, terms))


def load_statements(
    path: str | Path,
    *,
    dataset: StatementDataset = "anthropic-persona",
    revision: str | None = None,
) -> StatementSet:
    """The statements of one behaviour, from the file the user has.

    Answers are kept as published, a leading space included: find their token ids by encoding
    them under the model's own template.

    Raises:
        FileNotFoundError: If there is no such file.
        DataFileError: If a column is missing or a value is wrong, with the line.
        ValueError: If ``dataset`` is unknown.
    """
    path = Path(path)
    terms = _of(dataset, STATEMENT_TERMS)
    rows = read_rows(path, formats=_FORMATS)
    statements = tuple(
        _statement(path, row, number, dataset) for number, row in enumerate(rows, start=1)
    )
    origin = _origin(path, dataset, revision, terms)
    return StatementSet(behaviour=path.stem, rows=statements, origin=origin)


def load_completions(path: str | Path, *, revision: str | None = None) -> CompletionSet:
    """The judged answers of one model to XSTest, from the file the user has.

    Raises:
        FileNotFoundError: If there is no such file.
        DataFileError: If a column is missing or a value is wrong, with the line.
    """
    path = Path(path)
    rows = read_rows(path, formats=_FORMATS)
    source = REQUEST_SOURCES["xstest"]
    terms = ("prompts CC-BY-4.0; answers under the terms of each model", source.citation)
    return CompletionSet(
        rows=tuple(_completion(path, row) for row in rows),
        origin=_origin(path, "xstest-completions", revision, terms),
    )


def _of(dataset: str, table: Mapping[str, T]) -> T:
    if dataset not in table:
        raise ValueError(f"expected a dataset of {', '.join(table)}; got {dataset!r}")
    return table[dataset]


def _origin(path: Path, dataset: str, revision: str | None, terms: tuple[str, str]) -> Origin:
    return Origin(
        dataset=dataset,
        path=str(path),
        revision=revision,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        licence=terms[0],
        citation=terms[1],
    )


def _request(path: Path, row: Row, number: int, dataset: str, source: Source) -> Request:
    optional = source.identifiers[:1] + source.unused
    check_columns(path, row, required=source.required, optional=optional, others_allowed=True)
    column = next((name for name in source.identifiers if name in row.columns), None)
    identifier = str(number) if column is None else _needed(path, row, column)
    return Request(
        prompt_id=f"{dataset}-{identifier}",
        text=_needed(path, row, source.text),
        harmful=_harmful(path, row, source),
        category=_cell(path, row, source.category),
        source=dataset,
        source_row=number,
        target=_cell(path, row, source.target),
        context=_cell(path, row, source.context),
        pair_id=None if source.matched is None else f"{source.matched}-{identifier}",
    )


def _harmful(path: Path, row: Row, source: Source) -> bool:
    if isinstance(source.harmful, bool):
        return source.harmful
    return _one_of(path, row, source.label or "", source.harmful)


def _statement(path: Path, row: Row, number: int, dataset: str) -> Statement:
    extra = _STATEMENT_COLUMNS.get(dataset, ())
    required = ("question", *extra, MATCHING, NOT_MATCHING)
    check_columns(path, row, required=required, optional=(), others_allowed=True)
    matching, not_matching = (_needed(path, row, name) for name in (MATCHING, NOT_MATCHING))
    if matching.strip() == not_matching.strip():
        raise data_file_error(
            path,
            row.line,
            expected="two different answers",
            found=f"{matching!r} and {not_matching!r}",
            fix="correct one of them",
        )
    return Statement(
        statement_id=f"{path.stem}-{number}",
        question=_needed(path, row, "question"),
        text=_needed(path, row, "statement") if "statement" in extra else None,
        matching=matching,
        not_matching=not_matching,
        label_confidence=_confidence(path, row) if "label_confidence" in row.columns else None,
    )


def _completion(path: Path, row: Row) -> Completion:
    check_columns(
        path, row, required=_COMPLETION_COLUMNS, optional=("agreement",), others_allowed=True
    )
    category = _needed(path, row, "type")
    return Completion(
        prompt_id=f"xstest-{_needed(path, row, 'id')}",
        text=_needed(path, row, "prompt"),
        completion=_cell(path, row, "completion") or "",
        # The files of answers have no label column; the read-me names this prefix.
        harmful=category.startswith("contrast_"),
        category=category,
        label=_one_of(path, row, "final_label", _LABELS),
        annotations=(
            _one_of(path, row, "annotation_1", _LABELS),
            _one_of(path, row, "annotation_2", _LABELS),
        ),
    )


def _confidence(path: Path, row: Row) -> float:
    text = _needed(path, row, "label_confidence")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= 1.0:
        raise data_file_error(
            path,
            row.line,
            expected="a label_confidence from 0 to 1",
            found=repr(text),
            fix="correct this value",
        )
    return value


def _one_of(path: Path, row: Row, column: str, meaning: Mapping[str, T]) -> T:
    text = _needed(path, row, column)
    if text not in meaning:
        raise data_file_error(
            path,
            row.line,
            expected=f"one of {', '.join(meaning)} in the column {column!r}",
            found=repr(text),
            fix="correct this value",
        )
    return meaning[text]


def _needed(path: Path, row: Row, column: str) -> str:
    text = _cell(path, row, column)
    if text is None or not text.strip():
        raise data_file_error(
            path,
            row.line,
            expected=f"a text in the column {column!r}",
            found="nothing",
            fix="fill it in or remove the row",
        )
    return text


def _cell(path: Path, row: Row, column: str | None) -> str | None:
    """The text of a cell; a number is written out, and a list of one text is that text."""
    value = None if column is None else row.values.get(column)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if value is None or isinstance(value, str):
        return value or None
    raise data_file_error(
        path,
        row.line,
        expected=f"one text in the column {column!r}",
        found=f"{value!r:.80}",
        fix="give one text in this column",
    )
