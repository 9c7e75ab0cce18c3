"""Runs as tables to be printed, and whether they are whole."""

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from analyses._alive import is_alive
from analyses._entries import Entry, LedgerError
from analyses._folder import RunFolderError
from analyses._ledger import LEDGER, Ledger
from analyses._verify import broken_files, broken_shards


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What a look at every file of a run showed."""

    broken: tuple[str, ...]
    """One line for each file that is missing or is not what was written."""
    line: str
    """The whole in a line."""


def runs_table(folder: Path) -> Table:
    """Runs below a folder, one row each.

    Raises:
        RunFolderError: If there is no such folder, or no run in it.
    """
    found = sorted(path.parent for path in folder.rglob(LEDGER))
    if not found:
        raise RunFolderError(
            f"expected a folder with runs in it, found none in {str(folder)!r}; give the folder "
            "that --out named, or one above it"
        )
    table = Table("run", "study", "model", "status", "cells", box=None, pad_edge=False)
    for run in found:
        table.add_row(str(run), *_row(run))
    return table


def _row(run: Path) -> tuple[str, str, str, str]:
    try:
        with closing(Ledger(run / LEDGER)) as ledger:
            entries = ledger.entries()
            settings = ledger.about("settings") or {}
    except LedgerError:
        return "?", "?", "damaged", "?"
    done = sum(entry.status == "done" for entry in entries)
    return *_asked(settings), status(entries), f"{done}/{len(entries)}"


def _asked(settings: Mapping[str, Any]) -> tuple[str, str]:
    """Study and models of a run, whichever version wrote its settings."""
    if "tuned" in settings:
        return str(settings.get("study", "?")), f"{settings.get('base')} → {settings['tuned']}"
    return "whos-asking", str(settings.get("model", "?"))


def status(entries: tuple[Entry, ...]) -> str:
    """Where a run stands, in a word."""
    counts = Counter(entry.status for entry in entries)
    # The run's files are the last cell: before it, more cells are to come.
    if counts["done"] == len(entries) and any(e.cell.kind == "files" for e in entries):
        return "complete"
    if any(_is_worked_on(entry) for entry in entries):
        return "running"
    return "failed" if counts["failed"] else "stopped"


def _is_worked_on(entry: Entry) -> bool:
    return (
        entry.status == "running"
        and entry.owner is not None
        and is_alive(entry.owner)
        and (entry.lease_until or 0.0) >= time.time()
    )


def cells_table(run: Path) -> Table:
    """A run's cells, one row each.

    Raises:
        RunFolderError: If the folder is no run.
        LedgerError: If its ledger is damaged.
    """
    with closing(open_ledger(run)) as ledger:
        entries = ledger.entries()
    table = Table(title=f"{run}: {status(entries)}", title_justify="left", box=None, pad_edge=False)
    for name in ("cell", "status", "begun", "seconds", "rows", "file, owner or error"):
        table.add_column(name, justify="right" if name in ("begun", "seconds", "rows") else "left")
    for entry in entries:
        seconds = "" if entry.seconds is None else f"{entry.seconds:.2f}"
        rows = "" if entry.shard is None else str(entry.shard.rows)
        label = entry.cell.label
        table.add_row(label, entry.status, str(entry.attempts), seconds, rows, _remark(entry))
    return table


def _remark(entry: Entry) -> str:
    if entry.shard is not None:
        return entry.shard.path
    if entry.status == "running":
        return f"{entry.owner}" if _is_worked_on(entry) else f"{entry.owner} (gone)"
    return entry.error or ""


def verified(run: Path) -> Verified:
    """Every shard's hash, and every file of the run.

    Raises:
        RunFolderError: If the folder is no run.
        LedgerError: If its ledger is damaged.
    """
    with closing(open_ledger(run)) as ledger:
        entries = ledger.entries()
        broken = [str(error) for error in broken_shards(ledger, run)]
    done = sum(entry.status == "done" for entry in entries)
    if status(entries) == "complete":
        broken += [line for line in broken_files(run) if line not in broken]
    elif not (run / "config.yaml").is_file():
        broken.append("config.yaml is missing")
    what = f"{len(broken)} broken" if broken else "all whole"
    line = f"{run}: {status(entries)}, {done}/{len(entries)} cells done, {what}"
    return Verified(broken=tuple(broken), line=line)


def settings_file(run: Path) -> str:
    """Path of a run's settings.

    Raises:
        RunFolderError: If the folder is no run.
    """
    open_ledger(run).close()
    return str(run / "config.yaml")


def open_ledger(run: Path) -> Ledger:
    """The ledger of a run.

    Raises:
        RunFolderError: If the folder is no run.
        LedgerError: If its ledger is damaged.
    """
    if not (run / LEDGER).is_file():
        raise RunFolderError(
            f"expected the folder of a run (with {LEDGER}), got {str(run)!r}; give the folder "
            "that --out named"
        )
    return Ledger(run / LEDGER)
