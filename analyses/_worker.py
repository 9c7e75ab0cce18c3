"""A worker: settings, data and a model, with which it computes one cell after another."""

import time
from pathlib import Path

from analyses._cells import Done, Finished, Job
from analyses._config import WhosAskingConfig
from analyses._contents import Contents
from analyses._data import study_data
from analyses._evaluate import evaluate
from analyses._shards import BrokenShardError, Content, read_shard, write_shard
from analyses._workbench import Workbench, workbench
from lens_personas.models import LensModel, ModelCard, load_model


class Worker:
    """Reads shards, computes, writes a shard; knows nothing of the ledger."""

    def __init__(self, folder: Path, work: Workbench) -> None:
        self._folder = folder
        self._work = work
        # Vectors are read by every cell that steers; answers by few.
        self._read: dict[str, Content] = {}

    @property
    def card(self) -> ModelCard:
        """The model's card."""
        return self._work.card

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
        content = evaluate(self._work, job.cell, inputs)
        shard = write_shard(self._folder, job.cell, content)
        return Finished(key=key, shard=shard, seconds=time.perf_counter() - start)

    def _input(self, done: Done) -> Content:
        if done.shard.sha256 not in self._read:
            self._read[done.shard.sha256] = read_shard(self._folder, done)
        return self._read[done.shard.sha256]


def open_worker(
    folder: Path, config: WhosAskingConfig, *, model: LensModel | None = None
) -> Worker:
    """A worker for the run in that folder.

    Args:
        folder: The run's folder.
        config: What is asked.
        model: A model at hand; None loads the one the settings name.

    Raises:
        ConfigError: If the settings do not fit the model or the data.
        ModelLoadError: If the model cannot be loaded.
        DataFileError: If a file is malformed.
    """
    data = study_data(config)
    return Worker(folder, workbench(config, data, model or load(config)))


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
