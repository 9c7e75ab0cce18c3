"""One row of a table in a file, and how what is wrong with it is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


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


def row_of(path: Path, line: int, value: object) -> Row:
    """A row of named columns, on one line.

    Raises:
        DataFileError: If it is something else.
    """
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise data_file_error(
            path,
            line,
            expected="a row with named columns",
            found=f"{value!r:.80}",
            fix='write it as {"column": value, ...}, or "- column: value" in YAML',
        )
    return Row(line=line, values=value, columns=tuple(value), columns_line=line)


def refuse_twice(columns: list[str]) -> None:
    """Accept columns that are all different.

    Raises:
        ValueError: If one is there twice.
    """
    twice = [column for column in columns if columns.count(column) > 1]
    if twice:
        raise ValueError(f"the column {twice[0]!r} twice")
