"""A worker: settings, data and models, with which it computes one cell after another."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from analyses._cells import Cell, Done, Finished, Job
from analyses._config import WhosAskingConfig
from analyses._contents import Contents
from analyses._data import study_data
from analyses._evaluate import evaluate
from analyses._pair_config import PairConfig
from analyses._pair_data import pair_data
from analyses._pair_worker import TwoModels
from analyses._settings import StudyConfig
from analyses._shards import BrokenShardError, Content, read_shard, write_shard
from analyses._workbench import Workbench, workbench
from lens_personas.models import LensModel, ModelCard, load_model


@runtime_checkable
class Computes(Protocol):
    """A study with its models at hand."""

    def card(self, name: str) -> ModelCard:
        """Card of the model of that part in the study.

        Raises:
            ModelLoadError: If it cannot be loaded.
        """
        ...

    def evaluate(self, cell: Cell, inputs: Contents) -> Content:
        """What the cell computes.

        Raises:
            ValueError: If it cannot be computed.
        """
        ...


class OneModel:
    """A study of one model."""

    def __init__(self, work: Workbench) -> None:
        self._work = work

    def card(self, name: str) -> ModelCard:
        """The model's card, whatever its name."""
        return self._work.card

    def evaluate(self, cell: Cell, inputs: Contents) -> Content:
        """What the cell computes.

        Raises:
            ValueError: If it cannot be computed.
        """
        return evaluate(self._work, cell, inputs)


class Worker:
    """Reads shards, computes, writes a shard; knows nothing of the ledger."""

    def __init__(self, folder: Path, study: Computes) -> None:
        self._folder = folder
        self._study = study
        # Vectors are read by every cell that steers; answers by few.
        self._read: dict[str, Content] = {}

    def card(self, name: str) -> ModelCard:
        """Card of the model of that part in the study.

        Raises:
            ModelLoadError: If it cannot be loaded.
        """
        return self._study.card(name)

    def finish(self, job: Job) -> Finished:
        """Compute a cell and leave its shard in the run's folder.

        Raises:
            ValueError: If the cell cannot be computed.
            OSError: If the disk refuses.
        """
        start = time.perf_counter()
        key = job.cell.key
        try:
            inputs = Contents(read=tuple((each.cell, self._input(each)) for each in job.inputs))
        except BrokenShardError as error:
            seconds = time.perf_counter() - start
            return Finished(key=key, shard=None, seconds=seconds, broken=error.key)
        content = self._study.evaluate(job.cell, inputs)
        shard = write_shard(self._folder, job.cell, content)
        return Finished(key=key, shard=shard, seconds=time.perf_counter() - start)

    def _input(self, done: Done) -> Content:
        if done.shard.sha256 not in self._read:
            self._read[done.shard.sha256] = read_shard(self._folder, done)
        return self._read[done.shard.sha256]


def open_worker(
    folder: Path, config: StudyConfig, *, models: Mapping[str, LensModel] | None = None
) -> Worker:
    """A worker for the run in that folder.

    Args:
        folder: The run's folder.
        config: What is asked.
        models: Models at hand, by their part in the study; None loads those the settings name.

    Raises:
        ConfigError: If the settings do not fit the model or the data.
        ModelLoadError: If the model cannot be loaded.
        DataFileError: If a file is malformed.
        TypeError: If no study has such settings.
    """
    if isinstance(config, PairConfig):
        return Worker(folder, TwoModels(config, pair_data(config), models))
    if not isinstance(config, WhosAskingConfig):
        raise TypeError(f"expected settings of a study, got {type(config).__name__}")
    data = study_data(config)
    model = load(config) if models is None else models["model"]
    return Worker(folder, OneModel(workbench(config, data, model)))


def load(config: WhosAskingConfig) -> LensModel:
    """The model the settings name.

    Raises:
        ModelLoadError: If it cannot be loaded.
    """
    return load_model(
        config.model,
        dtype=config.dtype,
        device=config.device,
        revision=config.revision,
        backend=config.backend,
        device_map=config.device_map,
    )
