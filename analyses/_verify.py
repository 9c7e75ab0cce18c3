"""Whether what a run left is still what was written."""

import json
import logging
from pathlib import Path

from analyses._cells import Done
from analyses._folder import file_hash
from analyses._ledger import Ledger
from analyses._shards import BrokenShardError, shard_bytes

_log = logging.getLogger(__name__)


def broken_shards(ledger: Ledger, folder: Path) -> tuple[BrokenShardError, ...]:
    """One error for each finished cell whose file is missing or is not what was written."""
    found = []
    for entry in ledger.entries():
        if entry.shard is not None:
            try:
                shard_bytes(folder, Done(cell=entry.cell, shard=entry.shard))
            except BrokenShardError as error:
                found.append(error)
    return tuple(found)


def broken_files(folder: Path) -> tuple[str, ...]:
    """One line for each of the finished run's own files that is missing or was changed.

    ``report.html`` may be made anew by ``lens-personas report``, so only its end is looked at.
    """
    about = folder / "run.json"
    if not about.is_file():
        return ("run.json is missing",)
    hashes = json.loads(about.read_text(encoding="utf-8"))["files"]
    lines = []
    for name, known in hashes.items():
        if not (folder / name).is_file():
            lines.append(f"{name} is missing")
        elif file_hash(folder / name) != known:
            lines.append(f"{name} is not what was written")
    report = folder / "report.html"
    if not report.is_file():
        lines.append("report.html is missing")
    elif not report.read_bytes().rstrip().endswith(b"</html>"):
        lines.append("report.html is cut off")
    return tuple(lines)


def reopen_broken(ledger: Ledger, folder: Path) -> None:
    """Have every finished cell whose file is broken computed anew, and say which."""
    broken = broken_shards(ledger, folder)
    for error in broken:
        _log.warning("%s; it is computed anew", error)
        ledger.reopen(error.key)
    keys = {error.key for error in broken}
    for entry in ledger.entries():
        if entry.cell.kind == "files" and entry.status == "done" and entry.cell.key not in keys:
            for line in broken_files(folder):
                _log.warning("%s; the run's files are written anew", line)
                ledger.reopen(entry.cell.key)
