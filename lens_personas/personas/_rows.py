"""The rows of a table in a file, each with its line: JSONL, JSON, CSV or YAML."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import yaml

_SPACE: Final = re.compile(r"[ \t\r\n]*")


class DataFileError(ValueError):
    """A file of personas, requests or statements that cannot be read as it is."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table."""

    line: int
    """Line of the file on which the row starts, counted from 1."""
    values: Mapping[str, object]
    """Cells by column; an empty CSV cell is left out."""
    columns: tuple[str, ...]
    """Columns found: those of the row, or of the header of a CSV file."""
    columns_line: int
    """Line on which the columns are named: the row's own, or the header's."""


def data_file_error(
    path: Path, line: int | None, *, expected: str, found: str, fix: str
) -> DataFileError:
    """The error for one place of a file, worded the same everywhere; for the caller to raise."""
    place = f"{path}" if line is None else f"{path}, line {line}"
    return DataFileError(f"{place}: expected {expected}, found {found}; {fix}")


def read_rows(path: Path, *, formats: tuple[str, ...]) -> tuple[Row, ...]:
    """All rows of a file whose format is told by the end of its name, such as ``.jsonl``.

    Raises:
        FileNotFoundError: If there is no such file.
        DataFileError: If the format is not one of ``formats``, the file is not UTF-8, is
            malformed (with the line), or holds no row.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"expected a file at {path}, found nothing; check the path, which is relative to "
            f"the working directory {Path.cwd()}"
        )
    suffix = path.suffix.lower()
    if suffix not in formats or not path.is_file():
        raise data_file_error(
            path,
            None,
            expected=f"a file that ends in {', '.join(formats)}",
            found="a folder" if path.is_dir() else repr(path.name),
            fix="convert it, or rename it if it is in one of these formats",
        )
    rows = tuple(_READERS[suffix](path, _read_text(path)))
    if not rows:
        raise data_file_error(
            path, None, expected="at least one row", found="none", fix="add a row to the file"
        )
    return rows


def check_columns(
    path: Path,
    row: Row,
    *,
    required: tuple[str, ...],
    optional: tuple[str, ...],
    others_allowed: bool = False,
) -> None:
    """Accept a row that has the required columns and, unless allowed, no unknown one.

    Raises:
        DataFileError: If a column is missing or unknown; it names the nearest known column.
    """
    missing = [column for column in required if column not in row.columns]
    unknown = [column for column in row.columns if column not in required + optional]
    if not missing and (others_allowed or not unknown):
        return
    known = [column for column in required + optional if column not in row.columns] or required
    advice = [_rename(column, known) for column in unknown[:3]]
    advice += [f"add the column {column!r}" for column in missing]
    raise data_file_error(
        path,
        row.columns_line,
        expected=f"columns {', '.join(required)}"
        + (f" (and optionally {', '.join(optional)})" if optional else ""),
        found=f"columns {', '.join(map(repr, row.columns)) or 'none at all'}",
        fix="; ".join(advice),
    )


def _rename(column: str, known: tuple[str, ...] | list[str]) -> str:
    nearest = get_close_matches(column, known, n=1, cutoff=0.0)
    return f"remove {column!r} or rename it (the nearest known column is {nearest[0]!r})"


def _read_text(path: Path) -> str:
    data = path.read_bytes()
    try:
        # Spreadsheets put a byte order mark before the first column's name.
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise data_file_error(
            path,
            data[: error.start].count(b"\n") + 1,
            expected="UTF-8 text",
            found=f"the byte {data[error.start]:#04x}",
            fix="save the file with the encoding UTF-8",
        ) from error


def _row(path: Path, line: int, value: object) -> Row:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise data_file_error(
            path,
            line,
            expected="a row with named columns",
            found=f"{value!r:.80}",
            fix='write it as {"column": value, ...}, or "- column: value" in YAML',
        )
    return Row(line=line, values=value, columns=tuple(value), columns_line=line)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    columns = [key for key, _ in pairs]
    _refuse_twice(columns)
    return dict(pairs)


def _refuse_twice(columns: list[str]) -> None:
    twice = [column for column in columns if columns.count(column) > 1]
    if twice:
        raise ValueError(f"the column {twice[0]!r} twice")


def _jsonl(path: Path, text: str) -> Iterator[Row]:
    # Not splitlines: a JSON string may hold other line ends, such as U+2028.
    for line, content in enumerate(text.split("\n"), start=1):
        if content.strip():
            yield _row(path, line, _decode(path, content, line))


def _decode(path: Path, content: str, line: int | None = None) -> object:
    try:
        return json.loads(content, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        # Of the whole file, the decoder knows the line; of one line, we do.
        where = error.lineno if isinstance(error, json.JSONDecodeError) and line is None else line
        raise data_file_error(
            path, where, expected="valid JSON", found=f"{error}", fix="correct this place"
        ) from error


def _json(path: Path, text: str) -> Iterator[Row]:
    values = _decode(path, text)
    if not isinstance(values, list):
        raise data_file_error(
            path,
            1,
            expected="a list of rows",
            found=f"one {type(values).__name__}",
            fix="put [ and ] around the rows, or name the file .jsonl if it has one row a line",
        )
    decoder = json.JSONDecoder()
    line, counted, at = 1, 0, text.index("[") + 1
    for value in values:
        at = _skip_space(text, at)
        line, counted = line + text.count("\n", counted, at), at
        yield _row(path, line, value)
        # One past the comma (or the closing bracket) that follows this row.
        at = _skip_space(text, decoder.raw_decode(text, at)[1]) + 1


def _skip_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _csv(path: Path, text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        columns = next(reader, [])
        _refuse_twice(columns)
        line = reader.line_num + 1
        for cells in reader:
            if cells:
                yield _csv_row(path, line, columns, cells)
            line = reader.line_num + 1
    except (csv.Error, ValueError) as error:
        if isinstance(error, DataFileError):
            raise
        raise data_file_error(
            path, line, expected="valid CSV", found=f"{error}", fix="correct this place"
        ) from error


def _csv_row(path: Path, line: int, columns: list[str], cells: list[str]) -> Row:
    if len(cells) != len(columns):
        raise data_file_error(
            path,
            line,
            expected=f"{len(columns)} cells ({', '.join(columns)})",
            found=f"{len(cells)}",
            fix="put quotation marks around a text that holds a comma",
        )
    filled = {column: cell for column, cell in zip(columns, cells, strict=True) if cell}
    return Row(line=line, values=filled, columns=tuple(columns), columns_line=1)


def _yaml(path: Path, text: str) -> Iterator[Row]:
    try:
        # What yaml.safe_load does, in two steps: the nodes still know their lines.
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        values = [] if node is None else loader.construct_document(node)
        if not isinstance(node, yaml.SequenceNode | None):
            raise ValueError(f"one {type(values).__name__}")
        children = [] if node is None else node.value
        for child in children:
            if isinstance(child, yaml.MappingNode):
                _refuse_twice([key.value for key, _ in child.value])
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        raise data_file_error(
            path,
            None if mark is None else mark.line + 1,
            expected="a YAML list of rows",
            found=" ".join(f"{error}".split()),
            fix="correct this place; each row starts with '- '",
        ) from error
    for child, value in zip(children, values, strict=True):
        yield _row(path, child.start_mark.line + 1, value)


_READERS: Final[Mapping[str, Callable[[Path, str], Iterator[Row]]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".yaml": _yaml,
    ".yml": _yaml,
}
