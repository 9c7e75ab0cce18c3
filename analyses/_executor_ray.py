"""Cells computed by Ray: one replica of the model a worker, here or on a cluster."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyses._cells import Finished, Job
from analyses._executor import CellError
from analyses._settings import StudyConfig
from analyses._threads import fit_threads
from analyses._worker import Worker, open_worker
from lens_personas.models import ModelCard, ModelLoadError

# Set before Ray is imported: nothing is reported to anyone.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
import ray

LOSSES = 3
"""Workers that may be lost over one cell before it is given up: it may be what kills them."""

# Results come back as paths, so next to nothing passes through the object store.
_OBJECT_STORE_BYTES = 100 * 2**20


@dataclass(frozen=True, kw_only=True)
class Replica:
    """What one worker takes of a machine."""

    cpus: int
    """Cores, which are also its threads."""
    gpus: float
    """GPUs; more than one where the model is spread over them."""


class RayExecutor:
    """Computes cells in ``workers`` actors; see :class:`analyses._executor.Executor`.

    A worker that is lost is started again, loads the model again and computes the cell
    again: the same numbers, the same shard.

    Args:
        folder: The run's folder, which every worker sees under the same path.
        config: Settings of the study.
        workers: Replicas of the model.
        address: Of a Ray cluster that is running (``auto`` for the one of this machine);
            None starts one here, for this process alone.
        gpus_per_worker: GPUs of a worker; None for one where the cluster has any and the
            settings do not ask for the CPU.

    Raises:
        ValueError: If there is no cluster at the address, or it is too small.
    """

    def __init__(
        self,
        folder: Path,
        config: StudyConfig,
        *,
        workers: int,
        address: str | None = None,
        gpus_per_worker: float | None = None,
    ) -> None:
        if workers < 1:
            raise ValueError(f"expected at least 1 worker, got {workers}")
        self._slots = workers
        self._owns_cluster = not ray.is_initialized()
        if self._owns_cluster:
            _connect(address, workers)
        try:
            replica = _replica(config, workers, address, gpus_per_worker)
            actor = ray.remote(_Replica).options(
                num_cpus=replica.cpus,
                num_gpus=replica.gpus,
                max_restarts=-1,
                max_task_retries=LOSSES,
            )
            home = str(Path.cwd())
            self._idle: list[Any] = [
                actor.remote(folder.resolve(), config, home) for _ in range(workers)
            ]
        except BaseException:
            self._let_cluster_go()
            raise
        self._busy: dict[Any, tuple[Job, Any]] = {}

    @property
    def slots(self) -> int:
        """Workers."""
        return self._slots

    def card(self, name: str = "model") -> ModelCard:
        """Card of the model of that part in the study, from a worker that has loaded it.

        Raises:
            ModelLoadError: If the model cannot be loaded.
            ValueError: If the data do not fit.
        """
        try:
            card: ModelCard = ray.get(self._idle[0].card.remote(name))
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, ValueError | OSError):
                raise cause from error
            raise
        except ray.exceptions.RayActorError as error:
            raise ModelLoadError(
                f"expected a worker to load the model, it was lost {LOSSES + 1} times; "
                "it may need more memory than a worker has"
            ) from error
        return card

    def start(self, job: Job) -> None:
        """Hand the job to a worker without one."""
        actor = self._idle.pop()
        self._busy[actor.finish.remote(job)] = (job, actor)

    def wait(self, timeout_s: float) -> tuple[Finished, ...]:
        """Jobs that ended, at the latest after ``timeout_s``.

        Raises:
            CellError: If a job failed, or lost its workers time and again.
        """
        if not self._busy:
            return ()
        waiting = list(self._busy)
        ready, _ = ray.wait(waiting, num_returns=1, timeout=timeout_s)
        ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0) if ready else ([], [])
        return tuple(self._take(reference) for reference in ready)

    def _take(self, reference: Any) -> Finished:
        job, actor = self._busy.pop(reference)
        self._idle.append(actor)
        try:
            finished: Finished = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            said = f"{type(cause).__name__}: {' '.join(str(cause).split())}"
            raise CellError(job.cell.key, f"{job.cell.label}: {said}") from error
        except ray.exceptions.RayActorError as error:
            raise CellError(
                job.cell.key,
                f"{job.cell.label}: expected a worker to compute it, {LOSSES + 1} were lost over "
                "it; it may need more memory than a worker has: lower token_budget",
            ) from error
        return finished

    def close(self) -> None:
        """End the workers, and the cluster where it was started here."""
        for actor in [*self._idle, *(actor for _, actor in self._busy.values())]:
            ray.kill(actor)
        self._idle, self._busy = [], {}
        self._let_cluster_go()

    def _let_cluster_go(self) -> None:
        if self._owns_cluster:
            ray.shutdown()


class _Replica:
    """A worker's process. The model waits for the first call, so that its errors come back."""

    def __init__(self, folder: Path, config: StudyConfig, home: str) -> None:
        self._asked = (folder, config)
        self._worker: Worker | None = None
        # Relative paths in the settings hang on it.
        if Path(home).is_dir():
            os.chdir(home)

    def card(self, name: str) -> ModelCard:
        return self._opened().card(name)

    def finish(self, job: Job) -> Finished:
        return self._opened().finish(job)

    def _opened(self) -> Worker:
        if self._worker is None:
            folder, config = self._asked
            fit_threads(*config.models.values())
            self._worker = open_worker(folder, config)
        return self._worker


def _connect(address: str | None, workers: int) -> None:
    if address is None:
        ray.init(
            # Also where an address stands in the environment: this cluster is ours alone.
            address="local",
            num_cpus=max(workers, os.cpu_count() or 1),
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            log_to_driver=False,
            configure_logging=False,
        )
        return
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"expected a Ray cluster at {address!r}, found none: {' '.join(str(error).split())}; "
            "start one with `ray start --head`, or leave the address out; where it asks for a "
            "token, set RAY_AUTH_MODE=token"
        ) from error


def _knock(address: str) -> None:
    """Nothing, where someone listens: Ray itself tries for minutes and then ends the process."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


def _replica(
    config: StudyConfig, workers: int, address: str | None, gpus_per_worker: float | None
) -> Replica:
    """What each worker takes; refused where the cluster has too little, instead of waiting."""
    there = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus, gpus = int(there.get("CPU", 0)), there.get("GPU", 0.0)
    asked = gpus_per_worker
    if asked is None:
        asked = 1.0 if gpus and config.device != "cpu" else 0.0
    # A cluster's nodes are not told apart here: ask for no more than every node has.
    replica = Replica(cpus=max(1, cpus // workers) if address is None else 1, gpus=asked)
    if workers * replica.gpus > gpus or workers * replica.cpus > cpus:
        raise ValueError(
            f"expected room for {workers} workers of {replica.cpus} CPUs and {replica.gpus:g} "
            f"GPUs, the cluster has {cpus} CPUs and {gpus:g} GPUs; ask for fewer workers"
        )
    return replica
