"""A study carried out cell by cell, whatever it asks: stages, broken shards, other processes."""

import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic, Protocol, TypeVar, runtime_checkable

from analyses._cell_plan import files_cell
from analyses._cells import Cell, Finished, Job, Shard
from analyses._contents import Contents
from analyses._disk import full_disk_said
from analyses._engine import run_cells
from analyses._executor import Executor, LocalExecutor
from analyses._folder import check_models, file_hash, open_run
from analyses._ledger import Ledger
from analyses._settings import StudyConfig
from analyses._shards import BrokenShardError, read_shard
from analyses._verify import reopen_broken
from analyses._workbench import Progress
from analyses._worker import open_worker
from lens_personas.models import LensModel, ModelCard

T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_log = logging.getLogger(__name__)

Engine = Callable[[Path], Executor]
"""Makes what computes the cells of the run in a folder."""

Read = Callable[[Sequence[Cell]], Contents]
"""Gives what finished cells computed.

Raises:
    BrokenShardError: If a result cannot be read.
"""


@runtime_checkable
class Plan(Protocol[R_co]):
    """What a study computes, and what comes of it."""

    @property
    def first(self) -> tuple[Cell, ...]:
        """The cells that are known from the start, each after those it needs."""
        ...

    @property
    def context(self) -> str:
        """Hash of what all cells of the run hang on."""
        ...

    def cells(self, read: Read) -> tuple[Cell, ...]:
        """All cells, the first ones among them, once these are done."""
        ...

    def result(self, read: Read) -> R_co:
        """What was found, once every cell is done."""
        ...


@dataclass(frozen=True, kw_only=True)
class Study(Generic[R]):
    """A study that is ready to be carried out."""

    config: StudyConfig
    """What is asked."""
    data: object
    """All that is said to the models; it is hashed."""
    plan: Callable[[Mapping[str, ModelCard], str], Plan[R]]
    """What is computed, given the models' cards and the hash of what all cells hang on."""
    models: Mapping[str, LensModel] | None = None
    """Models at hand, by their part in the study; None loads those the settings name."""


def carry_out(
    study: Study[R],
    *,
    folder: Path | None = None,
    engine: Engine | None = None,
    write: Callable[[R, float], Path] | None = None,
    progress: Progress | None = None,
) -> R:
    """Carry out a study, or go on with it where its folder has some of it.

    Several processes may be given the same folder: they share the cells.

    Args:
        study: What is to be done.
        folder: Where results are kept as they come; None for a folder that is gone after.
        engine: What computes the cells; None for this process.
        write: Writes the run's files once all cells are done, given the result and the wall time
            in seconds; None for none.
        progress: Called as the work goes on.

    Raises:
        ConfigError: If the settings do not fit the model or the data.
        ModelLoadError: If a model cannot be loaded.
        RunFolderError: If the folder cannot hold the run, or holds another study's.
        LedgerError: If the folder's ledger is damaged.
        DiskFullError: If there is no room left.
        ValueError: If a cell cannot be computed.
    """
    tell = progress or (lambda what, done, of: None)
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="lens-personas-") as made:
            return carry_out(study, folder=Path(made), engine=engine, write=write, progress=tell)
    start, config = time.perf_counter(), study.config
    with full_disk_said(folder), closing(open_run(folder, config, study.data)) as ledger:
        tell("loading the model", 0, 1)
        made_by = engine or (lambda at: LocalExecutor(open_worker(at, config, models=study.models)))
        with closing(made_by(folder)) as executor:
            # The last first: the model that is loaded last is the one that is worked with first.
            names = list(config.models)
            found = {name: executor.card(name) for name in reversed(names)}
            cards = {name: found[name] for name in names}
            drive = _Drive(
                plan=study.plan(cards, check_models(folder, ledger, cards)),
                folder=folder,
                ledger=ledger,
                write=write,
                start=start,
            )
            return drive.run(executor, tell)


@dataclass(frozen=True, kw_only=True)
class _Drive(Generic[R]):
    """One process's work on a run."""

    plan: Plan[R]
    folder: Path
    ledger: Ledger
    write: Callable[[R, float], Path] | None
    start: float

    def run(self, executor: Executor, tell: Progress) -> R:
        """Compute what is missing, stage by stage; what other processes compute is waited for."""
        self.ledger.retry_failed()
        reopen_broken(self.ledger, self.folder)
        self.ledger.add(self.plan.first)

        here = None if self.write is None else self.write_files

        def settle(read: Callable[[], T]) -> T:
            while True:
                run_cells(self.ledger, executor, here=here, tell=tell)
                try:
                    return read()
                except BrokenShardError as error:
                    _log.warning("%s; it is computed anew", error)
                    self.ledger.reopen(error.key)

        self.ledger.add(settle(lambda: self.plan.cells(self._read)))
        if self.write is None:
            return settle(lambda: self.result)
        files = files_cell(settle(lambda: self.plan.cells(self._read)), self.plan.context)
        self.ledger.add([files])
        found = settle(lambda: self.result)
        if self.ledger.entry(files.key).owner != self.ledger.owner:
            _log.warning("the run's files were written by another process")
        return found

    @cached_property
    def result(self) -> R:
        """The result, once every cell is done.

        Raises:
            BrokenShardError: If a result cannot be read.
        """
        return self.plan.result(self._read)

    def write_files(self, job: Job) -> Finished:
        """The cell of the run's files, which the executor has no part in."""
        start = time.perf_counter()
        try:
            run = self.result
        except BrokenShardError as error:
            return Finished(key=job.cell.key, shard=None, seconds=0.0, broken=error.key)
        assert self.write is not None
        path = self.write(run, start - self.start)
        shard = Shard(path=path.relative_to(self.folder).as_posix(), sha256=file_hash(path), rows=1)
        return Finished(key=job.cell.key, shard=shard, seconds=time.perf_counter() - start)

    def _read(self, cells: Sequence[Cell]) -> Contents:
        try:
            done = [self.ledger.done(cell.key) for cell in cells]
        except KeyError as error:
            # Another process found it broken just now.
            raise BrokenShardError(str(error.args[0]), "a cell was opened again") from error
        return Contents(read=tuple((each.cell, read_shard(self.folder, each)) for each in done))
