"""Where cells are computed: in this process, or by workers elsewhere."""

from typing import Protocol, runtime_checkable

from analyses._cells import Finished, Job
from analyses._worker import Worker
from lens_personas.models import ModelCard


class CellError(ValueError):
    """A cell cannot be computed; the text says which and why."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


@runtime_checkable
class Executor(Protocol):
    """Computes cells, one or many at a time; results come back as paths, never as values.

    The driver alone touches the ledger: it hands out a job only when all inputs are there,
    renews the cell's lease while the job runs, and records what comes back. A job may be
    computed more than once (after a worker was lost): it writes the same shard again.
    """

    @property
    def slots(self) -> int:
        """Jobs that may run at once, 1 or more."""
        ...

    def card(self, name: str = "model") -> ModelCard:
        """Card of the model of that part in the study, from a worker that has loaded it.

        Raises:
            ModelLoadError: If the model cannot be loaded.
        """
        ...

    def start(self, job: Job) -> None:
        """Take a job; at most ``slots`` are ever under way."""
        ...

    def wait(self, timeout_s: float) -> tuple[Finished, ...]:
        """Jobs that ended since the last call, in any order.

        Returns as soon as there is one, else after ``timeout_s``; may take longer where jobs
        run in the caller's own process.

        Raises:
            CellError: If a job failed in another process.
            ValueError: If a job failed here: whatever its computation raises.
            OSError: If a shard could not be written.
        """
        ...

    def close(self) -> None:
        """Let workers and models go; jobs under way may be dropped."""
        ...


class LocalExecutor:
    """Computes in this process, one cell at a time."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._job: Job | None = None

    @property
    def slots(self) -> int:
        """One."""
        return 1

    def card(self, name: str = "model") -> ModelCard:
        """Card of the model of that part in the study."""
        return self._worker.card(name)

    def start(self, job: Job) -> None:
        """Keep the job until :meth:`wait`."""
        self._job = job

    def wait(self, timeout_s: float) -> tuple[Finished, ...]:
        """Compute the job that was started, however long it takes."""
        job, self._job = self._job, None
        return () if job is None else (self._worker.finish(job),)

    def close(self) -> None:
        """Nothing to let go."""
