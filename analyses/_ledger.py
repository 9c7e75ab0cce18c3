"""The ledger of a run: which cells there are, who computes which, and what came out."""

import json
import secrets
import socket
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import getpid
from pathlib import Path
from typing import Any

from analyses._alive import is_alive
from analyses._cells import Cell, CellKind, Done, Finished
from analyses._disk import is_full
from analyses._entries import SCHEMA, Entry, LedgerError, entry_of

LEDGER = "ledger.sqlite"
LEASE_S = 60.0
"""Seconds after which a cell whose owner is no longer heard of is anybody's."""

_BUSY_S = 60.0
_CLAIM = """
UPDATE cells SET status = 'running', owner = :owner, lease_until = :until,
    attempts = attempts + 1, error = NULL
WHERE key = (
    SELECT key FROM cells AS mine
    WHERE (status = 'waiting' OR (status = 'running' AND lease_until < :now))
    AND kind != :leave AND NOT EXISTS (
        SELECT 1 FROM needs JOIN cells AS theirs ON theirs.key = needs.needed
        WHERE needs.key = mine.key AND theirs.status != 'done'
    )
    ORDER BY place LIMIT 1
)
RETURNING key
"""


class Ledger:
    """The cells of one run, shared by every process that works on it."""

    def __init__(
        self, path: Path, *, owner: str | None = None, lease_s: float = LEASE_S, new: bool = False
    ) -> None:
        """Open a ledger, or begin one.

        Args:
            path: Its file.
            owner: Name under which cells are claimed; None for one of its own.
            lease_s: Seconds a claim lasts unless it is renewed.
            new: Whether to begin it where it does not exist.

        Raises:
            LedgerError: If the file is missing, damaged or no ledger.
        """
        self.path = path
        self.owner = owner or f"{socket.gethostname()}:{getpid()}:{secrets.token_hex(4)}"
        self.lease_s = lease_s
        if not new and not path.is_file():
            raise LedgerError(f"expected the ledger of a run, found none at {path}")
        self._db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        try:
            self._open(new)
        except sqlite3.DatabaseError as error:
            self._db.close()
            if is_full(error):
                raise
            raise LedgerError(
                f"expected a whole ledger at {path}, got one that cannot be used ({error}); remove "
                "the run's folder, or choose another --out"
            ) from error

    def _open(self, new: bool) -> None:
        self._set_wal()
        (health,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise sqlite3.DatabaseError(health)
        if new:
            with self.transaction():
                for statement in SCHEMA.split(";"):
                    self._db.execute(statement)
        self._db.execute("SELECT 1 FROM needs, cells, about LIMIT 1")

    def _set_wal(self) -> None:
        # The change waits for no lock, and another process may be at the same change.
        give_up = time.monotonic() + _BUSY_S
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > give_up:
                    raise
                time.sleep(0.05)

    def close(self) -> None:
        """Let the file go."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block's changes or none; no other process writes meanwhile."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def about(self, name: str, default: Any = None) -> Any:
        """What is known of the run under that name: plain JSON values, ``default`` for nothing."""
        row = self._db.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
        return default if row is None else json.loads(row["value"])

    def note(self, name: str, value: Any) -> Any:
        """Keep a fact on the run unless there is one already; gives the one that is kept."""
        with self.transaction():
            self._db.execute("INSERT OR IGNORE INTO about VALUES (?, ?)", (name, json.dumps(value)))
        return self.about(name)

    def begin(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Note what the run is of, unless it has cells already; gives what it is of."""
        with self.transaction():
            if self._db.execute("SELECT 1 FROM cells LIMIT 1").fetchone() is None:
                self._db.execute("DELETE FROM about")
                self._db.executemany(
                    "INSERT INTO about VALUES (?, ?)",
                    [(name, json.dumps(value)) for name, value in facts.items()],
                )
            return {name: self.about(name) for name in facts}

    def add(self, cells: Iterable[Cell]) -> None:
        """Enter cells in their order; those that are there stay as they are."""
        with self.transaction():
            (place,) = self._db.execute("SELECT COALESCE(MAX(place), -1) FROM cells").fetchone()
            for cell in cells:
                place += 1
                self._db.execute(
                    "INSERT OR IGNORE INTO cells (key, place, kind, spec) VALUES (?, ?, ?, ?)",
                    (cell.key, place, cell.kind, json.dumps(dict(cell.spec))),
                )
                self._db.executemany(
                    "INSERT OR IGNORE INTO needs VALUES (?, ?, ?)",
                    [(cell.key, at, needed) for at, needed in enumerate(cell.needs)],
                )

    def claim(self, *, leave: CellKind | None = None) -> Cell | None:
        """The first cell that nobody has and whose needs are there; None where there is none.

        Cells of the kind ``leave`` are left to others.
        """
        now = time.time()
        terms = {"owner": self.owner, "now": now, "until": now + self.lease_s, "leave": leave or ""}
        with self.transaction():
            row = self._db.execute(_CLAIM, terms).fetchone()
        return None if row is None else self.entry(row["key"]).cell

    def renew(self) -> None:
        """Hold every claimed cell for another lease."""
        self._db.execute(
            "UPDATE cells SET lease_until = ? WHERE owner = ? AND status = 'running'",
            (time.time() + self.lease_s, self.owner),
        )

    def finish(self, finished: Finished) -> bool:
        """Enter a result; False where the cell was taken over by another meanwhile.

        Raises:
            ValueError: If the job has no result.
        """
        if finished.shard is None:
            raise ValueError(f"expected a result of cell {finished.key}, got a broken input")
        shard = finished.shard
        return self._mine(
            finished.key,
            "status = 'done', path = ?, sha256 = ?, rows = ?, seconds = ?",
            (shard.path, shard.sha256, shard.rows, finished.seconds),
        )

    def fail(self, key: str, error: str) -> bool:
        """Enter why a claimed cell cannot be computed."""
        return self._mine(key, "status = 'failed', error = ?", (error,))

    def release(self, key: str) -> bool:
        """Give a claimed cell back."""
        return self._mine(key, "status = 'waiting', owner = NULL", ())

    def _mine(self, key: str, change: str, values: tuple[object, ...]) -> bool:
        changed = self._db.execute(
            f"UPDATE cells SET {change} WHERE key = ? AND owner = ? AND status = 'running'",
            (*values, key, self.owner),
        )
        return changed.rowcount == 1

    def held(self) -> tuple[str, ...]:
        """Keys of the cells that this owner has claimed."""
        rows = self._db.execute(
            "SELECT key FROM cells WHERE owner = ? AND status = 'running'", (self.owner,)
        )
        return tuple(row["key"] for row in rows)

    def reopen(self, key: str) -> None:
        """Have a finished cell computed anew."""
        self._db.execute(
            "UPDATE cells SET status = 'waiting' WHERE key = ? AND status = 'done'", (key,)
        )

    def retry_failed(self) -> None:
        """Have every failed cell computed anew."""
        self._db.execute("UPDATE cells SET status = 'waiting' WHERE status = 'failed'")

    def free_dead(self) -> tuple[str, ...]:
        """Free the cells of processes of this machine that are gone; gives their owners."""
        rows = self._db.execute("SELECT DISTINCT owner FROM cells WHERE status = 'running'")
        dead = tuple(row["owner"] for row in rows.fetchall() if not is_alive(row["owner"]))
        for owner in dead:
            self._db.execute(
                "UPDATE cells SET status = 'waiting' WHERE owner = ? AND status = 'running'",
                (owner,),
            )
        return dead

    def entries(self) -> tuple[Entry, ...]:
        """Every cell, in the order of entry."""
        needs: dict[str, list[str]] = {}
        for row in self._db.execute("SELECT key, needed FROM needs ORDER BY key, place"):
            needs.setdefault(row["key"], []).append(row["needed"])
        rows = self._db.execute("SELECT * FROM cells ORDER BY place")
        return tuple(entry_of(row, tuple(needs.get(row["key"], ()))) for row in rows)

    def entry(self, key: str) -> Entry:
        """One cell.

        Raises:
            KeyError: If there is no such cell.
        """
        row = self._db.execute("SELECT * FROM cells WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        needs = self._db.execute("SELECT needed FROM needs WHERE key = ? ORDER BY place", (key,))
        return entry_of(row, tuple(each["needed"] for each in needs))

    def done(self, key: str) -> Done:
        """A finished cell with its result.

        Raises:
            KeyError: If the cell is not finished.
        """
        entry = self.entry(key)
        if entry.shard is None:
            raise KeyError(key)
        return Done(cell=entry.cell, shard=entry.shard)
