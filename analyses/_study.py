"""The study "Who's asking?" from settings to result, cell by cell."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from analyses._assemble import StudyRun, assemble, swept_scores
from analyses._cell_plan import first_cells, written_cells
from analyses._cells import Cell
from analyses._config import WhosAskingConfig
from analyses._data import study_data
from analyses._drive import Engine, Read, Study, carry_out
from analyses._part import PartPlan
from analyses._part_plan import part_cells, part_plan
from analyses._workbench import Outline, Progress
from lens_personas.models import LensModel

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
    data = study_data(config)
    study = Study(
        config=config,
        data=data,
        plan=lambda cards, context: _WhosAskingPlan(
            outline=Outline(config=config, data=data, card=cards["model"]), context=context
        ),
        models=None if model is None else {"model": model},
    )
    return carry_out(study, folder=folder, engine=engine, write=write, progress=progress)


@dataclass(frozen=True, kw_only=True)
class _WhosAskingPlan:
    """The study's cells, stage by stage, and its result."""

    outline: Outline
    context: str

    @cached_property
    def first(self) -> tuple[Cell, ...]:
        """The cells up to the sweep."""
        return first_cells(self.outline, self.context)

    def cells(self, read: Read) -> tuple[Cell, ...]:
        """All cells, once the sweep's scores choose the layers.

        Raises:
            BrokenShardError: If a score cannot be read.
        """
        plan = self._plan(read)
        written: tuple[Cell, ...] = ()
        if self.outline.config.write_answers:
            written = written_cells(self.outline, self.first, plan.chosen, self.context)
        return (*self.first, *written, *part_cells(plan))

    def result(self, read: Read) -> StudyRun:
        """The result, once every cell is done.

        Raises:
            BrokenShardError: If a result cannot be read.
        """
        return assemble(self._plan(read), read(self.cells(read)))

    def _plan(self, read: Read) -> PartPlan:
        """Layers at which arms are tested and at which parts steer."""
        swept = swept_scores(read([c for c in self.first if c.kind in ("baseline", "sweep")]))
        return part_plan(self.outline, self.first, swept, self.context)
