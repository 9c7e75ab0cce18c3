"""The driver's side of a worker process: JSON lines over its pipes, arrays by file."""

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


class WorkerError(RuntimeError):
    """A worker process died; the text is the last line that it wrote."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one run of a way gave."""

    seconds: float
    """Wall-clock time."""
    memory: int | None
    """Bytes by which the run raised memory at its peak; None where that cannot be seen."""
    max_rss: int
    """Most memory that the process has held so far, in bytes."""
    peak: float
    """Measured GEMM peak of the same process, right after: operations a second."""
    arrays: Mapping[str, np.ndarray]
    """What is held against the other ways."""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Why there is no answer."""

    reason: str
    """In words."""
    broken: bool
    """Whether the way failed, rather than being out of place here."""


class Worker:
    """A process that stays, so that models are loaded once; one that dies is started anew."""

    def __init__(self, command: Sequence[str], *, threads: int) -> None:
        self._command, self._threads = tuple(command), threads
        self._folder = tempfile.TemporaryDirectory()
        self._errors = Path(self._folder.name) / "stderr.txt"
        self._start()

    def run(
        self, way: str, options: Mapping[str, Any], *, folder: Path, device: str, dtype: str
    ) -> Answer | Missing:
        """Run a way once; what it has prepared is kept for the next time."""
        arrays = Path(self._folder.name) / "arrays.npz"
        request = {
            "do": "run",
            "way": way,
            "options": dict(options),
            "folder": str(folder),
            "device": device,
            "dtype": dtype,
            "arrays": str(arrays),
        }
        try:
            answer = self._ask(request)
        except WorkerError as error:
            self._stop()
            self._start()
            return Missing(reason=str(error), broken=True)
        if "absent" in answer:
            return Missing(reason=answer["absent"], broken=False)
        with np.load(arrays) as saved:
            return Answer(**answer, arrays=dict(saved))

    def forget(self) -> None:
        """Drop what the ways have prepared."""
        self._ask({"do": "forget"})

    def close(self) -> None:
        """End the process and remove its files."""
        self._stop()
        self._folder.cleanup()

    def _start(self) -> None:
        with self._errors.open("w", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env=_environment(self._threads),
            )
        answer = self._ask({"do": "hello", "threads": self._threads})
        self.versions: dict[str, str] = answer["versions"]

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = ""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            written = self._errors.read_text(encoding="utf-8").strip().splitlines()
            raise WorkerError(written[-1] if written else "the process died without a word")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _stop(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _environment(threads: int) -> dict[str, str]:
    counts = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS")}
    quiet = {"TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore"}
    return {**os.environ, **counts, **quiet, "HF_HUB_OFFLINE": "1"}
