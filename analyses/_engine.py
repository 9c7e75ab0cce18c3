"""The driver's loop: claim cells, hand them out, enter what comes back, until all are done."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from analyses._cells import Cell, CellKind, Finished, Job
from analyses._disk import is_full
from analyses._entries import Entry
from analyses._executor import CellError, Executor
from analyses._ledger import Ledger
from analyses._pair_plan import DOING
from analyses._parts import part
from analyses._workbench import Progress

POLL_S = 0.25
"""Seconds between two looks at what other processes have done."""

_log = logging.getLogger(__name__)

Here = Callable[[Job], Finished]
"""Computes the one cell that is no executor's: the run's files."""


def run_cells(ledger: Ledger, executor: Executor, *, here: Here | None, tell: Progress) -> None:
    """Work until every cell of the ledger is done, by this process or by others.

    Args:
        ledger: The cells.
        executor: Computes them.
        here: Computes the cell of the run's files; None leaves that one as it is.
        tell: Called as the work goes on.

    Raises:
        CellError: If a cell failed, here or in another process.
        ValueError: If a cell cannot be computed.
        OSError: If the disk refuses.
    """
    under_way: set[str] = set()
    said: set[str] = set()
    with kept_alive(ledger), _given_back(ledger):
        while True:
            _hand_out(ledger, executor, under_way, here)
            entries = [e for e in ledger.entries() if here is not None or e.cell.kind != "files"]
            _tell(entries, under_way, tell)
            if all(entry.status == "done" for entry in entries):
                return
            if under_way:
                for finished in executor.wait(POLL_S):
                    under_way.discard(finished.key)
                    _enter(ledger, finished)
            else:
                _wait_for_others(ledger, entries, said)


def _hand_out(ledger: Ledger, executor: Executor, under_way: set[str], here: Here | None) -> None:
    leave: CellKind | None = "files" if here is None else None
    while len(under_way) < executor.slots and (cell := ledger.claim(leave=leave)) is not None:
        try:
            job = Job(cell=cell, inputs=tuple(ledger.done(key) for key in cell.needs))
        except KeyError:
            # Another process found an input broken just now.
            ledger.release(cell.key)
            continue
        if here is not None and cell.kind == "files":
            _enter(ledger, here(job))
            continue
        executor.start(job)
        under_way.add(cell.key)


def _enter(ledger: Ledger, finished: Finished) -> None:
    if finished.broken is not None:
        _log.warning("%s is broken or missing and is computed anew", _name(ledger, finished.broken))
        ledger.reopen(finished.broken)
        ledger.release(finished.key)
        return
    if not ledger.finish(finished):
        _log.warning("%s was taken over by another process", _name(ledger, finished.key))


def _name(ledger: Ledger, key: str) -> str:
    return ledger.entry(key).cell.path


def _tell(entries: Sequence[Entry], under_way: set[str], tell: Progress) -> None:
    done = sum(entry.status == "done" for entry in entries)
    mine = [entry.cell for entry in entries if entry.cell.key in under_way]
    tell(_doing(mine[0]) if mine else "waiting", done, len(entries))


def _doing(cell: Cell) -> str:
    if cell.kind == "pair":
        return f"{DOING[cell.spec['step']]} ({cell.spec['side']})"
    return part(cell.spec["part"]).doing if "part" in cell.kind else STEPS[cell.kind]


STEPS = {
    "answers": "answering the requests",
    "tokens": "answering the requests",
    "norms": "fitting vectors",
    "vector": "fitting vectors",
    "lens": "reading the lens",
    "baseline": "scoring the arms",
    "sweep": "scoring the arms",
    "written": "writing answers",
    "files": "writing the report",
}
"""What is being done, by kind of cell."""


def _wait_for_others(ledger: Ledger, entries: Sequence[Entry], said: set[str]) -> None:
    """Free what dead processes hold, else wait a little for the living.

    Raises:
        CellError: If nobody works and a cell has failed.
    """
    if ledger.free_dead():
        return
    running = {entry.owner for entry in entries if entry.status == "running"}
    failed = [entry for entry in entries if entry.status == "failed"]
    if failed and not running:
        cell = failed[0].cell
        raise CellError(cell.key, f"cell {cell.label!r} failed: {failed[0].error}")
    for owner in sorted(str(each) for each in running - said):
        _log.warning("waiting for cells that another process has (%s)", owner)
        said.add(owner)
    time.sleep(POLL_S)


@contextmanager
def kept_alive(ledger: Ledger) -> Iterator[None]:
    """Renew the ledger's claims while the block runs, however long it computes."""
    stop = threading.Event()

    def beat() -> None:
        # A connection belongs to the thread that made it.
        mine = Ledger(ledger.path, owner=ledger.owner, lease_s=ledger.lease_s)
        while not stop.wait(ledger.lease_s / 4):
            try:
                mine.renew()
            except sqlite3.OperationalError:
                # A full disk or a long lock: the next beat may do.
                continue
        mine.close()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def _given_back(ledger: Ledger) -> Iterator[None]:
    """Give back what is claimed when the block ends by an error, which goes on."""
    try:
        yield
    except BaseException as error:
        # Where the disk is full, the next process sees that this one is gone.
        with suppress(sqlite3.OperationalError):
            for key in ledger.held():
                if _is_its_fault(error, key):
                    ledger.fail(key, " ".join(str(error).split()))
                else:
                    ledger.release(key)
        raise


def _is_its_fault(error: BaseException, key: str) -> bool:
    if isinstance(error, CellError):
        return error.key == key
    return isinstance(error, Exception) and not is_full(error)
