"""What a run found, as it is stored and as it is read again."""

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class WayResult:
    """One way of doing a workload."""

    label: str
    """What it is called in tables; the first of a workload is ours."""
    seconds: tuple[float, ...]
    """One a repeat; empty where it could not be run."""
    memory: int | None
    """Most bytes by which a repeat raised memory; None where that cannot be seen."""
    max_rss: int | None
    """Most memory that the process had held by then, in bytes."""
    gemm_peak: float | None
    """Operations a second in a large matrix product, the best seen in the same process."""
    error: float | None
    """Largest difference from ours as a share of our largest value; None without a result."""
    failed: str = ""
    """What is wrong with the result, or why a way that should run did not."""
    absent: str = ""
    """Why the way cannot be run here."""

    @property
    def median(self) -> float | None:
        """Median seconds."""
        return statistics.median(self.seconds) if self.seconds else None


@dataclass(frozen=True, kw_only=True)
class WorkloadResult:
    """One question, answered in several ways."""

    name: str
    """Short name; the part before the slash is what ``--only`` takes."""
    title: str
    """What is done."""
    shape: str
    """The model."""
    flops: int
    """The least floating-point operations that it needs."""
    tokens: int
    """Tokens for a rate: written by a generation, read by anything else."""
    tolerance: float
    """Error up to which a way's result counts as ours."""
    ways: tuple[WayResult, ...]
    """Ours first."""

    @property
    def ours(self) -> WayResult:
        """The way that the others are held against."""
        return self.ways[0]

    def ratio(self, way: WayResult) -> float | None:
        """How many times as long as ours it takes; above 1 ours is faster."""
        ours = self.ours.median
        return None if way.median is None or not ours else way.median / ours

    def efficiency(self, way: WayResult) -> float | None:
        """Least operations over time, as a share of the measured GEMM peak."""
        if way.median is None or not way.gemm_peak:
            return None
        return self.flops / way.median / way.gemm_peak


@dataclass(frozen=True, kw_only=True)
class Results:
    """A whole run."""

    preset: str
    """Which models and sizes."""
    date: str
    """Day, ISO."""
    seconds: float
    """How long the run took."""
    machine: dict[str, Any]
    """Processor, cores, memory, threads, device."""
    versions: dict[str, dict[str, str]]
    """Versions of the packages in each environment."""
    workloads: tuple[WorkloadResult, ...]
    """In the order they ran."""

    @property
    def failures(self) -> tuple[str, ...]:
        """One line for each way that broke or gave other numbers than ours."""
        return tuple(
            f"{workload.name}: {way.label}: {way.failed}"
            for workload in self.workloads
            for way in workload.ways
            if way.failed
        )


def write_results(results: Results, path: Path) -> None:
    """Write the run as JSON."""
    path.write_text(json.dumps(asdict(results), indent=1) + "\n", encoding="utf-8")


def read_results(path: Path) -> Results:
    """Read a run again.

    Raises:
        ValueError: If the file is not of this form.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        workloads = tuple(_workload(each) for each in found.pop("workloads"))
        return Results(**found, workloads=workloads)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"expected a results file of `python -m benchmarks run`, got {path.name} ({error})"
        ) from error


def _workload(found: dict[str, Any]) -> WorkloadResult:
    ways = tuple(
        WayResult(**{**way, "seconds": tuple(way["seconds"])}) for way in found.pop("ways")
    )
    return WorkloadResult(**found, ways=ways)
