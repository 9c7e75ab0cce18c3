"""The user's own requests, read from a file and checked row by row."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from lens_personas.personas._row import DataFileError, Row, data_file_error
from lens_personas.personas._rows import check_columns, read_rows
from lens_personas.personas._types import Request

T = TypeVar("T")

_request_of: Final = TypeAdapter(Request).validate_python
_REQUEST_COLUMNS: Final = ("text",)
_BOOLEANS: Final[Mapping[str, bool | None]] = {
    "true": True,
    "1": True,
    "yes": True,
    "false": False,
    "0": False,
    "no": False,
    "": None,
}


def read_requests(path: str | Path) -> tuple[Request, ...]:
    """The requests of a JSONL, JSON or CSV file, in its order.

    The columns are the fields of `Request`; only ``text`` is required. ``prompt_id`` is
    ``row-1``, ``row-2``, … where it is absent. ``harmful`` is true, false, 1, 0, yes, no, or
    empty for unknown.

    Raises:
        FileNotFoundError: If there is no such file.
        DataFileError: If a column or value is wrong, or a prompt_id is there twice. The message
            has the file, the line and the fix.
    """
    path = Path(path)
    rows = read_rows(path, formats=(".jsonl", ".json", ".csv"))
    requests = tuple(_request(path, row, number) for number, row in enumerate(rows, start=1))
    refuse_duplicates(path, rows, "prompt_id", [request.prompt_id for request in requests])
    return requests


def refuse_duplicates(path: Path, rows: tuple[Row, ...], column: str, names: list[str]) -> None:
    """Accept rows whose names are all different.

    Raises:
        DataFileError: If a name is there twice; it has both lines.
    """
    lines: dict[str, int] = {}
    for row, name in zip(rows, names, strict=True):
        if name in lines:
            raise data_file_error(
                path,
                row.line,
                expected=f"each {column} once",
                found=f"{name!r} again (first on line {lines[name]})",
                fix="rename or remove one of them",
            )
        lines[name] = row.line


def _request(path: Path, row: Row, number: int) -> Request:
    check_fields(path, row, Request, required=_REQUEST_COLUMNS)
    values = dict(row.values)
    values["harmful"] = _harmful(path, row, values.get("harmful"))
    identifier = values.get("prompt_id")
    # A number is a fine identifier; bool is an int, and is not.
    if isinstance(identifier, int) and not isinstance(identifier, bool):
        values["prompt_id"] = str(identifier)
    if identifier in (None, ""):
        values["prompt_id"] = f"row-{number}"
    return validated(path, row, _request_of, values, filled=("prompt_id", "text"))


def check_fields(path: Path, row: Row, kind: type[Any], *, required: tuple[str, ...]) -> None:
    """Accept a row whose columns are fields of a dataclass.

    Raises:
        DataFileError: If one is missing or unknown.
    """
    names = tuple(field.name for field in fields(kind))
    optional = tuple(name for name in names if name not in required)
    check_columns(path, row, required=required, optional=optional)


def validated(
    path: Path,
    row: Row,
    validate: Callable[[object], T],
    values: Mapping[str, object],
    *,
    filled: tuple[str, ...],
) -> T:
    """A row as its type.

    Args:
        path: The file, for the error.
        row: The row, for the error.
        validate: Gives the type or raises pydantic's error.
        values: What is validated.
        filled: Columns that may not be blank.

    Raises:
        DataFileError: If a value is wrong.
    """
    for column in filled:
        if not str(values.get(column, "")).strip():
            raise data_file_error(
                path,
                row.line,
                expected=f"a text in the column {column!r}",
                found="nothing",
                fix="fill it in or remove the row",
            )
    try:
        return validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        column = ".".join(str(part) for part in first["loc"])
        if not column:
            # Raised by the type itself, which words its errors in full.
            raise DataFileError(f"{path}, line {row.line}: {first['ctx']['error']}") from error
        raise data_file_error(
            path,
            row.line,
            expected=f"in {column}: {first['msg'].replace('Input should be ', '')}",
            found=f"{first['input']!r:.80}",
            fix="correct this value (text that looks like another type needs quotation marks)",
        ) from error


def _harmful(path: Path, row: Row, value: object) -> bool | None:
    text = "" if value is None else str(value).strip().casefold()
    if text not in _BOOLEANS:
        raise data_file_error(
            path,
            row.line,
            expected="true, false, 1, 0, yes, no or nothing in the column 'harmful'",
            found=f"{value!r}",
            fix="correct this value",
        )
    return _BOOLEANS[text]
