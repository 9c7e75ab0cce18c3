"""The study "Who's asking?" from settings to result, cell by cell."""

import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from analyses._assemble import StudyRun, assemble, swept_scores
from analyses._cell_plan import files_cell, first_cells, written_cells
from analyses._cells import Cell, Finished, Job, Shard
from analyses._config import WhosAskingConfig
from analyses._contents import Contents
from analyses._data import study_data
from analyses._disk import full_disk_said
from analyses._engine import run_cells
from analyses._executor import Executor, LocalExecutor
from analyses._folder import check_model, file_hash, open_run
from analyses._ledger import Ledger
from analyses._part import PartPlan
from analyses._part_plan import part_cells, part_plan
from analyses._shards import BrokenShardError, read_shard
from analyses._verify import reopen_broken
from analyses._workbench import Outline, Progress
from analyses._worker import open_worker
from lens_personas.models import LensModel

T = TypeVar("T")

_log = logging.getLogger(__name__)

Engine = Callable[[Path], Executor]
"""Makes what computes the cells of the run in a folder."""

Write = Callable[[StudyRun, float], Path]
"""Writes a run's files, given its wall time in seconds; gives the last and decisive one."""


def run_study(
    config: WhosAskingConfig,
    *,
    model: LensModel | None = None,
    folder: Path | None = None,
    engine: Engine | None = None,
    write: Write | None = None,
    progress: Progress | None = None,
) -> StudyRun:
    """Carry out the study, or go on with it where its folder has some of it.

    Several processes may be given the same folder: they share the cells.

    Args:
        config: What is asked.
        model: A model at hand; None loads the one the settings name.
        folder: Where results are kept as they come; None for a folder that is gone after.
        engine: What computes the cells; None for this process.
        write: Writes the run's files once all cells are done; None for none.
        progress: Called as the work goes on.

    Raises:
        ConfigError: If the settings do not fit the model or the data.
        ModelLoadError: If the model cannot be loaded.
        DataFileError: If a file is malformed.
        RunFolderError: If the folder cannot hold the run, or holds another study's.
        LedgerError: If the folder's ledger is damaged.
        DiskFullError: If there is no room left.
        ValueError: If a prompt does not fit the model's context, or a persona lacks what its
            vector is made from.
    """
    tell = progress or (lambda what, done, of: None)
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="lens-personas-") as made:
            return run_study(
                config, model=model, folder=Path(made), engine=engine, write=write, progress=tell
            )
    start = time.perf_counter()
    with full_disk_said(folder):
        data = study_data(config)
        with closing(open_run(folder, config, data)) as ledger:
            tell("loading the model", 0, 1)
            made_by = engine or (lambda at: LocalExecutor(open_worker(at, config, model=model)))
            with closing(made_by(folder)) as executor:
                card = executor.card()
                drive = _Drive(
                    outline=Outline(config=config, data=data, card=card),
                    folder=folder,
                    ledger=ledger,
                    context=check_model(folder, ledger, card),
                    write=write,
                    start=start,
                )
                return drive.run(executor, tell)


@dataclass(frozen=True, kw_only=True)
class _Drive:
    """One process's work on a run."""

    outline: Outline
    folder: Path
    ledger: Ledger
    context: str
    write: Write | None
    start: float

    def run(self, executor: Executor, tell: Progress) -> StudyRun:
        """Compute what is missing, stage by stage; what other processes compute is waited for."""
        self.ledger.retry_failed()
        reopen_broken(self.ledger, self.folder)
        self.ledger.add(self.first)

        here = None if self.write is None else self.write_files

        def settle(read: Callable[[], T]) -> T:
            while True:
                run_cells(self.ledger, executor, here=here, tell=tell)
                try:
                    return read()
                except BrokenShardError as error:
                    _log.warning("%s; it is computed anew", error)
                    self.ledger.reopen(error.key)

        self.ledger.add(settle(self.cells))
        if self.write is None:
            return settle(lambda: self.result)
        files = files_cell(settle(self.cells), self.context)
        self.ledger.add([files])
        found = settle(lambda: self.result)
        if self.ledger.entry(files.key).owner != self.ledger.owner:
            _log.warning("the run's files were written by another process")
        return found

    @cached_property
    def first(self) -> tuple[Cell, ...]:
        """The cells up to the sweep."""
        return first_cells(self.outline, self.context)

    def cells(self) -> tuple[Cell, ...]:
        """All cells, once the sweep's scores choose the layers.

        Raises:
            BrokenShardError: If a score cannot be read.
        """
        plan = self.plan
        written: tuple[Cell, ...] = ()
        if self.outline.config.write_answers:
            written = written_cells(self.outline, self.first, plan.chosen, self.context)
        return (*self.first, *written, *part_cells(plan))

    @property
    def plan(self) -> PartPlan:
        """Layers at which arms are tested and at which parts steer.

        Raises:
            BrokenShardError: If a score cannot be read.
        """
        swept = swept_scores(self._read([c for c in self.first if c.kind in ("baseline", "sweep")]))
        return part_plan(self.outline, self.first, swept, self.context)

    @cached_property
    def result(self) -> StudyRun:
        """The result, once every cell is done.

        Raises:
            BrokenShardError: If a result cannot be read.
        """
        return assemble(self.plan, self._read(self.cells()))

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
