"""Ways in turn, repeat after repeat, so that a busy minute hits all of them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks._compare import largest_error
from benchmarks._results import WayResult, WorkloadResult
from benchmarks._worker import Answer, Missing
from benchmarks._workloads import Way, Workload


class Runs(Protocol):
    """What runs a way: a worker process."""

    def run(
        self, way: str, options: Mapping[str, object], *, folder: Path, device: str, dtype: str
    ) -> Answer | Missing:
        """Run a way once."""
        ...

    def forget(self) -> None:
        """Drop what the ways have prepared."""
        ...


def run_workload(
    workload: Workload,
    workers: Mapping[str, Runs],
    *,
    folder: Path,
    device: str,
    repeats: int,
    tell: Callable[[str], None],
) -> WorkloadResult:
    """Every way of one workload, interleaved; a way without a worker is absent."""
    answers: dict[str, list[Answer]] = {way.label: [] for way in workload.ways}
    missing: dict[str, Missing] = {}
    for repeat in range(repeats):
        for way in workload.ways:
            if repeat >= (way.most_repeats or repeats) or way.label in missing:
                continue
            tell(f"{workload.title}: {way.label}")
            if way.env not in workers:
                missing[way.label] = Missing(reason="without its environment", broken=False)
                continue
            answer = workers[way.env].run(
                way.name,
                {**workload.options, **way.options},
                folder=folder,
                device=device,
                dtype=workload.shape.dtype,
            )
            if isinstance(answer, Missing):
                missing[way.label] = answer
            else:
                answers[way.label].append(answer)
    for worker in workers.values():
        worker.forget()
    return WorkloadResult(
        name=workload.name,
        title=workload.title,
        shape=workload.shape.name,
        flops=workload.flops,
        tokens=workload.tokens,
        tolerance=workload.tolerance,
        ways=tuple(
            _result(workload, way, answers, missing.get(way.label)) for way in workload.ways
        ),
    )


def _result(
    workload: Workload,
    way: Way,
    answers: Mapping[str, Sequence[Answer]],
    missing: Missing | None,
) -> WayResult:
    runs = answers[way.label]
    if missing is not None or not runs:
        reason = "did not run" if missing is None else missing.reason
        broken = missing is None or missing.broken
        return WayResult(
            label=way.label,
            seconds=(),
            memory=None,
            max_rss=None,
            gemm_peak=None,
            error=None,
            failed=reason if broken else "",
            absent="" if broken else reason,
        )
    error, failed = _check(workload, _reference(workload, answers), runs)
    seen = [run.memory for run in runs if run.memory is not None]
    return WayResult(
        label=way.label,
        seconds=tuple(run.seconds for run in runs),
        memory=max(seen, default=None),
        max_rss=max(run.max_rss for run in runs),
        gemm_peak=max(run.peak for run in runs),
        error=error,
        failed=failed,
    )


def _reference(
    workload: Workload, answers: Mapping[str, Sequence[Answer]]
) -> dict[str, np.ndarray]:
    """Each array as the first way that gives it has it: as ours has it, where ours gives it."""
    arrays: dict[str, np.ndarray] = {}
    for way in workload.ways:
        for run in answers[way.label][:1]:
            arrays = {**run.arrays, **arrays}
    return arrays


def _check(
    workload: Workload, reference: Mapping[str, np.ndarray], runs: Sequence[Answer]
) -> tuple[float | None, str]:
    """Error of the worst repeat."""
    try:
        error = max(largest_error(reference, run.arrays) for run in runs)
    except ValueError as reason:
        return None, str(reason)
    if error <= workload.tolerance:
        return error, ""
    return error, f"expected an error of at most {workload.tolerance:g}, got {error:.2g}"
