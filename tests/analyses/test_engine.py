"""The driver's loop with an executor of its own, without any model."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from analyses import _engine
from analyses._cells import Cell, Finished, Job, make_cell
from analyses._engine import run_cells
from analyses._executor import CellError, Executor
from analyses._ledger import Ledger
from analyses._shards import BrokenShardError, read_shard, write_shard
from lens_personas.models import ModelCard


class Counting:
    """Writes for each cell the sum of its inputs and one; several at once."""

    def __init__(self, folder: Path, *, slots: int = 1, pause_s: float = 0.0) -> None:
        self.folder = folder
        self.slots = slots
        self.pause_s = pause_s
        self.computed: list[str] = []
        self.jobs: list[Job] = []
        self.most = 0
        self.spoil: Callable[[Job], None] = lambda job: None

    def card(self) -> ModelCard:
        raise AssertionError("nobody asks")

    def start(self, job: Job) -> None:
        self.jobs.append(job)
        self.most = max(self.most, len(self.jobs))

    def wait(self, timeout_s: float) -> tuple[Finished, ...]:
        time.sleep(self.pause_s)
        # Last in, first out: results need not come in order.
        job = self.jobs.pop()
        self.spoil(job)
        try:
            inputs = [read_shard(self.folder, each) for each in job.inputs]
        except BrokenShardError as error:
            return (Finished(key=job.cell.key, shard=None, seconds=0.0, broken=error.key),)
        total = 1 + sum(int(table["n"].iloc[0]) for table in inputs)
        shard = write_shard(self.folder, job.cell, pd.DataFrame({"n": [total]}))
        self.computed.append(job.cell.key)
        return (Finished(key=job.cell.key, shard=shard, seconds=0.0),)

    def close(self) -> None:
        pass


@pytest.fixture
def layers() -> tuple[Cell, ...]:
    """Three cells, three that need all of them, and one that needs those."""
    first = tuple(make_cell("sweep", {"layer": at}, context="c") for at in range(3))
    second = tuple(make_cell("written", {"layer": at}, first, context="c") for at in range(3))
    return (*first, *second, make_cell("baseline", {}, second, context="c"))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_engine, "POLL_S", 0.01)
    return tmp_path / "ledger.sqlite"


def begin(path: Path, cells: tuple[Cell, ...]) -> Ledger:
    ledger = Ledger(path, new=True)
    ledger.add(cells)
    return ledger


def run(ledger: Ledger, executor: Executor) -> None:
    run_cells(ledger, executor, here=None, tell=lambda what, done, of: None)


def value(ledger: Ledger, cell: Cell) -> int:
    return int(read_shard(ledger.path.parent, ledger.done(cell.key))["n"].iloc[0])


def test_the_executor_of_the_test_is_one(tmp_path: Path) -> None:
    assert isinstance(Counting(tmp_path), Executor)


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_every_cell_is_computed_once_from_its_inputs(
    path: Path, layers: tuple[Cell, ...], slots: int
) -> None:
    ledger, executor = begin(path, layers), Counting(path.parent, slots=slots)
    run(ledger, executor)
    assert sorted(executor.computed) == sorted(cell.key for cell in layers)
    assert value(ledger, layers[-1]) == 1 + 3 * 4
    assert executor.most == min(slots, 3)
    run(ledger, executor)
    assert len(executor.computed) == len(layers), "a finished cell was computed again"


def test_two_drivers_share_the_cells(path: Path) -> None:
    cells = tuple(make_cell("sweep", {"layer": at}, context="c") for at in range(12))
    begin(path, cells).close()
    executors = [Counting(path.parent, pause_s=0.02) for _ in range(2)]

    def drive(executor: Counting) -> None:
        ledger = Ledger(path)
        run(ledger, executor)
        ledger.close()

    threads = [threading.Thread(target=drive, args=[each]) for each in executors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one, other = (executor.computed for executor in executors)
    assert one, "one driver did everything"
    assert other, "one driver did everything"
    assert sorted(one + other) == sorted(cell.key for cell in cells)


def test_a_broken_input_is_said_and_computed_anew(
    path: Path, layers: tuple[Cell, ...], caplog: pytest.LogCaptureFixture
) -> None:
    ledger, executor = begin(path, layers), Counting(path.parent)
    broken = layers[1]

    def spoil(job: Job) -> None:
        if job.cell == layers[4]:
            (path.parent / broken.path).write_bytes(b"garbage")
            executor.spoil = lambda job: None

    executor.spoil = spoil
    with caplog.at_level(logging.WARNING):
        run(ledger, executor)
    assert f"{broken.path} is broken or missing and is computed anew" in caplog.text
    assert executor.computed.count(broken.key) == 2
    assert len(executor.computed) == len(layers) + 1
    assert value(ledger, layers[-1]) == 1 + 3 * 4


def test_a_failure_is_entered_and_the_rest_is_given_back(
    path: Path, layers: tuple[Cell, ...]
) -> None:
    ledger, executor = begin(path, layers), Counting(path.parent, slots=3)

    def spoil(job: Job) -> None:
        raise CellError(job.cell.key, "the prompt is too long")

    executor.spoil = spoil
    with pytest.raises(CellError, match="the prompt is too long"):
        run(ledger, executor)
    by_status = [entry.status for entry in ledger.entries()]
    assert by_status == ["waiting", "waiting", "failed", *["waiting"] * 4]
    with pytest.raises(CellError, match="cell 'sweep 2' failed: the prompt is too long"):
        run(ledger, Counting(path.parent))
    ledger.retry_failed()
    run(ledger, Counting(path.parent))
    assert value(ledger, layers[-1]) == 1 + 3 * 4


def test_an_interrupt_is_no_failure(path: Path, layers: tuple[Cell, ...]) -> None:
    ledger, executor = begin(path, layers), Counting(path.parent)

    def spoil(job: Job) -> None:
        raise KeyboardInterrupt("ctrl-c")

    executor.spoil = spoil
    with pytest.raises(KeyboardInterrupt, match="ctrl-c"):
        run(ledger, executor)
    assert {entry.status for entry in ledger.entries()} == {"waiting"}


def test_the_files_are_written_here_once_all_else_is_done(
    path: Path, layers: tuple[Cell, ...]
) -> None:
    files = make_cell("files", {}, layers, context="c")
    ledger, executor = begin(path, (*layers, files)), Counting(path.parent)
    run(ledger, executor)
    assert ledger.entry(files.key).status == "waiting", "nobody here writes files"
    written: list[Job] = []

    def here(job: Job) -> Finished:
        written.append(job)
        shard = write_shard(path.parent, layers[0], pd.DataFrame({"n": [0]}))
        return Finished(key=job.cell.key, shard=shard, seconds=0.0)

    run_cells(ledger, executor, here=here, tell=lambda what, done, of: None)
    assert [job.cell for job in written] == [files]
    assert [each.cell for each in written[0].inputs] == list(layers)
