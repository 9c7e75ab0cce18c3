"""A study of a base and a tuned model from settings to result, cell by cell."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from analyses._cells import Cell
from analyses._drive import Engine, Read, Study, carry_out
from analyses._pair_assemble import PairRun, assemble_pair
from analyses._pair_config import PairConfig
from analyses._pair_data import pair_data
from analyses._pair_plan import PairOutline
from analyses._workbench import Progress
from lens_personas.models import LensModel


def run_pair(
    config: PairConfig,
    *,
    models: Mapping[str, LensModel] | None = None,
    folder: Path | None = None,
    engine: Engine | None = None,
    write: Callable[[PairRun, float], Path] | None = None,
    progress: Progress | None = None,
) -> PairRun:
    """Carry out the study, or go on with it where its folder has some of it.

    Several processes may be given the same folder: they share the cells.

    Args:
        config: What is asked.
        models: Models at hand, ``base`` and ``tuned``; None loads those the settings name, one
            at a time.
        folder: Where results are kept as they come; None for a folder that is gone after.
        engine: What computes the cells; None for this process.
        write: Writes the run's files once all cells are done; None for none.
        progress: Called as the work goes on.

    Raises:
        ConfigError: If the settings do not fit the models or the data.
        ModelLoadError: If a model cannot be loaded.
        DataFileError: If a file is malformed.
        RunFolderError: If the folder cannot hold the run, or holds another study's.
        LedgerError: If the folder's ledger is damaged.
        DiskFullError: If there is no room left.
        ValueError: If a prompt does not fit a model's context, or a behaviour has too few
            statements.
    """
    texts = pair_data(config)
    study = Study(
        config=config,
        data=texts,
        plan=lambda cards, context: _PairPlan(
            outline=PairOutline(config=config, texts=texts, cards=cards, context=context)
        ),
        models=models,
    )
    return carry_out(study, folder=folder, engine=engine, write=write, progress=progress)


@dataclass(frozen=True, kw_only=True)
class _PairPlan:
    """The study's cells, all known from the start, and its result."""

    outline: PairOutline

    @property
    def context(self) -> str:
        """Hash of what all cells of the run hang on."""
        return self.outline.context

    @property
    def first(self) -> tuple[Cell, ...]:
        """All cells."""
        return self.outline.cells

    def cells(self, read: Read) -> tuple[Cell, ...]:
        """The same."""
        return self.outline.cells

    def result(self, read: Read) -> PairRun:
        """The result, once every cell is done.

        Raises:
            BrokenShardError: If a result cannot be read.
        """
        return assemble_pair(self.outline, read(self.outline.cells))
