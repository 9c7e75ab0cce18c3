"""The worker's side: one request a line on standard input, one answer a line on standard output.

It runs in our environment and in the peers', so it needs torch and numpy alone. A way that breaks
ends the process; the driver says why and starts another.
"""

import json
import os
import resource
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch

from benchmarks._measure import gemm_peak, measured
from benchmarks._shapes import DType

Arrays = dict[str, np.ndarray]
Call = Callable[[], Arrays]
"""The timed part of a way; it gives the arrays that are held against the other ways'."""
Prepare = Callable[["Setting", Mapping[str, Any]], Call]
"""Everything before: the model loaded, the inputs in the way's own form."""


class AbsentError(Exception):
    """A way cannot be run here; the text says why."""


class Setting:
    """The checkpoint and the device, with the models that were loaded from it."""

    def __init__(self, folder: str, device: str, dtype: DType) -> None:
        self.folder, self.device, self.dtype = folder, device, dtype
        self._kept: dict[str, Any] = {}

    def keep(self, name: str, load: Callable[[], Any]) -> Any:
        """What ``load`` gave the first time."""
        if name not in self._kept:
            self._kept[name] = load()
        return self._kept[name]


def serve(ways: Mapping[str, Prepare], packages: tuple[str, ...]) -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Whatever a library prints must not look like an answer.
    os.dup2(2, 1)
    _Server(ways, packages, answers).run(sys.stdin)


class _Server:
    def __init__(
        self, ways: Mapping[str, Prepare], packages: tuple[str, ...], answers: TextIO
    ) -> None:
        self._ways, self._packages, self._answers = ways, packages, answers
        self._setting: Setting | None = None
        self._prepared: dict[str, Call] = {}

    def run(self, requests: TextIO) -> None:
        for line in requests:
            try:
                answer = self._answer(json.loads(line))
            except AbsentError as reason:
                answer = {"absent": str(reason)}
            self._answers.write(json.dumps(answer) + "\n")
            self._answers.flush()

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request["do"]:
            case "hello":
                torch.set_num_threads(request["threads"])
                return {"versions": {name: _version(name) for name in self._packages}}
            case "forget":
                self._prepared = {}
                return {}
            case "run":
                return self._run(request)
        raise ValueError(f"expected hello, forget or run, got {request['do']!r}")

    def _run(self, request: dict[str, Any]) -> dict[str, Any]:
        setting = self._at(request["folder"], request["device"], request["dtype"])
        key = json.dumps([request["folder"], request["way"], request["options"]])
        if key not in self._prepared:
            prepare = self._ways[request["way"]]
            self._prepared[key] = prepare(setting, request["options"])
        arrays, cost = measured(self._prepared[key], setting.device)
        np.savez(Path(request["arrays"]), **arrays)  # type: ignore[arg-type]
        return {
            "seconds": cost.seconds,
            "memory": cost.memory,
            "max_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "peak": gemm_peak(setting.device, getattr(torch, setting.dtype)),
        }

    def _at(self, folder: str, device: str, dtype: DType) -> Setting:
        if self._setting is None or self._setting.folder != folder:
            self._prepared, self._setting = {}, Setting(folder, device, dtype)
        return self._setting


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
