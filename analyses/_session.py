"""One study from the command line: settings, progress, tables, files."""

import importlib.util
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from analyses import _workbench
from analyses._drive import Engine
from analyses._executor import Executor
from analyses._folder import check_folder
from analyses._json import json_safe
from analyses._runs import finished_run, write_run
from analyses._settings import StudyConfig
from analyses._store import Result
from analyses._studies import AnyRun, Write, any_config, run_any
from analyses._threads import fit_threads
from analyses._views import result_summary, result_text


@dataclass(frozen=True, kw_only=True)
class EngineFlags:
    """What computes the cells, as asked for on the command line."""

    engine: str = "local"
    """``local`` for this process, ``ray`` for workers of Ray."""
    workers: int | None = None
    """Workers of Ray; None for 1."""
    address: str | None = None
    """Address of a Ray cluster; None for one that is started here."""


def run_and_show(
    flags: Mapping[str, Any],
    *,
    study: str | None = None,
    preset: str,
    file: str | None,
    assignments: Sequence[str],
    out: Path | None,
    as_json: bool,
    engine: EngineFlags | None = None,
) -> None:
    """Run the study or go on with it, keep it where asked, and print tables or summary.

    Raises:
        ConfigError: If a setting is wrong.
        RunFolderError: If the run cannot be written there, or another study's is there.
        LedgerError: If the run's ledger is damaged.
        DiskFullError: If there is no room left.
        ValueError: If model or data do not fit, or the engine is not there.
    """
    config = any_config(study, file=file, assignments=assignments, flags=flags, preset=preset)
    made_by = engine_of(engine or EngineFlags(), config)
    if out is not None:
        check_folder(out)
        if (known := finished_run(config, out)) is not None:
            _show(known, f"complete: nothing was computed; report: {_report(out)}", as_json)
            return
    fit_threads(*config.models.values())
    start = time.perf_counter()
    with progress_bar() as tell:
        write = None if out is None else _writer(out)
        run = run_any(config, folder=out, engine=made_by, write=write, progress=tell)
    where = f"; report: {_report(out)}" if out is not None else ""
    _show(run.result, f"{time.perf_counter() - start:.0f} s{where}", as_json)


def engine_of(flags: EngineFlags, config: StudyConfig) -> Engine | None:
    """What makes the executor; None for this process.

    Raises:
        ValueError: If there is no such engine, it is not installed, or the flags do not fit it.
    """
    if flags.engine == "local":
        if flags.workers is not None or flags.address is not None:
            raise ValueError("expected --engine ray beside --workers or --address, got local")
        return None
    if flags.engine != "ray":
        raise ValueError(f"unknown engine {flags.engine!r}; there is local, ray")
    if importlib.util.find_spec("ray") is None:
        raise ValueError(
            "expected Ray for --engine ray, it is not installed; pip install 'lens-personas[ray]'"
        )

    def ray_executor(folder: Path) -> Executor:
        from analyses._executor_ray import RayExecutor

        return RayExecutor(folder, config, workers=flags.workers or 1, address=flags.address)

    return ray_executor


def _writer(folder: Path) -> Write:
    def write(run: AnyRun, seconds: float) -> Path:
        return write_run(run, folder, seconds=seconds, full_text=run.fictional)

    return write


def _report(folder: Path) -> Path:
    return folder / "report.html"


def _show(result: Result, line: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(json_safe(result_summary(result)), indent=2, allow_nan=False))
        return
    console = Console()
    console.print(result_text(result))
    # A path is not markup, and is whole on one line.
    console.print(line, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def progress_bar() -> Iterator[_workbench.Progress]:
    """A bar on the error stream that follows a study's steps."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def tell(what: str, done: int, of: int) -> None:
            bar.update(task, description=what, completed=done, total=of if of > 1 else None)

        yield tell
