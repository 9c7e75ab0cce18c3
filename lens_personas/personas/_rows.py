"""The rows of a table in a file, each with its line: JSONL, JSON, CSV or YAML."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import yaml

from lens_personas.personas._row import (
    DataFileError,
    Row,
    data_file_error,
    refuse_twice,
    row_of,
)
from lens_personas.personas._yaml_rows import listed_rows, yaml_parts, yaml_rows

_SPACE: Final = re.compile(r"[ \t\r\n]*")


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


def read_headed(
    path: Path, *, formats: tuple[str, ...], header: str, rows: str
) -> tuple[Row | None, tuple[Row, ...]]:
    """The header and the rows of a YAML file ``{header: {...}, rows: [...]}``; or rows alone.

    Raises:
        FileNotFoundError: If there is no such file.
        DataFileError: As for :func:`read_rows`, or if the file has other parts than these two.
    """
    suffix = path.suffix.lower()
    if suffix in (".yaml", ".yml") and suffix in formats and path.is_file():
        found = yaml_parts(path, _read_text(path))
        if rows in found:
            return _headed(path, found, header, rows)
    return None, read_rows(path, formats=formats)


def _headed(
    path: Path, found: Mapping[str, tuple[yaml.Node, object]], header: str, rows: str
) -> tuple[Row | None, tuple[Row, ...]]:
    top = Row(line=1, values=found, columns=tuple(found), columns_line=1)
    check_columns(path, top, required=(rows,), optional=(header,))
    node, values = found[rows]
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        raise data_file_error(
            path,
            node.start_mark.line + 1,
            expected=f"a list of at least one row under {rows!r}",
            found=f"{values!r:.80}",
            fix="write the rows below it, each starting with '- '",
        )
    listed = tuple(listed_rows(path, node, values))
    if header not in found:
        return None, listed
    node, values = found[header]
    return row_of(path, node.start_mark.line + 1, values), listed


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


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    columns = [key for key, _ in pairs]
    refuse_twice(columns)
    return dict(pairs)


def _jsonl(path: Path, text: str) -> Iterator[Row]:
    # Not splitlines: a JSON string may hold other line ends, such as U+2028.
    for line, content in enumerate(text.split("\n"), start=1):
        if content.strip():
            yield row_of(path, line, _decode(path, content, line))


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
        yield row_of(path, line, value)
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
        refuse_twice(columns)
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


_READERS: Final[Mapping[str, Callable[[Path, str], Iterator[Row]]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".yaml": yaml_rows,
    ".yml": yaml_rows,
}
