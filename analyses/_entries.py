"""What a ledger holds: its tables, and a row as an object."""

import json
import sqlite3
from dataclasses import dataclass
from typing import Literal, get_args

from analyses._cells import Cell, CellKind, Shard

Status = Literal["waiting", "running", "done", "failed"]
"""Where a cell stands."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cells (
    key TEXT PRIMARY KEY, place INTEGER NOT NULL, kind TEXT NOT NULL, spec TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'waiting', owner TEXT, lease_until REAL,
    attempts INTEGER NOT NULL DEFAULT 0, path TEXT, sha256 TEXT, rows INTEGER, seconds REAL,
    error TEXT
);
CREATE TABLE IF NOT EXISTS needs (
    key TEXT NOT NULL, place INTEGER NOT NULL, needed TEXT NOT NULL, PRIMARY KEY (key, place)
);
"""
"""Statements that make the tables."""


class LedgerError(ValueError):
    """A ledger cannot be read; the text is one line."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the ledger."""

    cell: Cell
    """What is to be computed."""
    status: Status
    """Where it stands."""
    owner: str | None
    """``host:pid:random`` of the process that has or had it; None where none ever had."""
    lease_until: float | None
    """Unix time until which a running cell is the owner's; None where none ever had it."""
    attempts: int
    """How often it was begun."""
    shard: Shard | None
    """Its result; None unless it is done."""
    seconds: float | None
    """Wall time; None unless it is done."""
    error: str | None
    """Why it failed; None unless it did."""


def entry_of(row: sqlite3.Row, needs: tuple[str, ...]) -> Entry:
    """One row of the table ``cells``, with the keys that the cell needs.

    Raises:
        LedgerError: If this version knows no such cell.
    """
    if row["kind"] not in get_args(CellKind):
        raise LedgerError(f"unknown kind of cell {row['kind']!r}: written by another version")
    done = row["status"] == "done"
    shard = Shard(path=row["path"], sha256=row["sha256"], rows=row["rows"]) if done else None
    cell = Cell(key=row["key"], kind=row["kind"], spec=json.loads(row["spec"]), needs=needs)
    return Entry(
        cell=cell,
        status=row["status"],
        owner=row["owner"],
        lease_until=row["lease_until"],
        attempts=row["attempts"],
        shard=shard,
        seconds=row["seconds"] if done else None,
        error=row["error"] if row["status"] == "failed" else None,
    )
