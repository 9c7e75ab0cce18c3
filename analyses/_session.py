"""One study from the command line: settings, progress, tables, files."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from analyses import _workbench
from analyses._config import build_config
from analyses._json import json_safe
from analyses._runs import check_folder, write_run
from analyses._study import run_study
from analyses._summary import summary
from analyses._text_table import text_table

SMALL_WIDTH = 256
"""Width of the residual stream up to which one thread is faster than several."""


def run_and_show(
    flags: Mapping[str, Any],
    *,
    preset: str,
    file: str | None,
    assignments: Sequence[str],
    out: Path | None,
    as_json: bool,
) -> None:
    """Run the study, keep it where asked, and print its tables or its summary.

    Raises:
        ConfigError: If a setting is wrong.
        RunFolderError: If the run cannot be written there.
        ValueError: If model or data do not fit.
    """
    config = build_config(file=file, assignments=assignments, flags=flags, preset=preset)
    if out is not None:
        check_folder(out)
    fit_threads(config.model)
    start = time.perf_counter()
    with progress_bar() as tell:
        run = run_study(config, progress=tell)
    seconds = time.perf_counter() - start
    report = None
    if out is not None:
        report = write_run(run, out, seconds=seconds, full_text=run.fictional)
    if as_json:
        typer.echo(json.dumps(json_safe(summary(run.result)), indent=2, allow_nan=False))
        return
    console = Console()
    console.print(text_table(run.result))
    where = f"; report: {report}" if report else ""
    # A path is not markup, and is whole on one line.
    console.print(f"{seconds:.0f} s{where}", highlight=False, markup=False, soft_wrap=True)


def fit_threads(model: str) -> None:
    """Use one thread for a tiny model, where handing work out costs more than doing it."""
    config = Path(model).expanduser() / "config.json"
    width = SMALL_WIDTH + 1
    if model.startswith("organism:"):
        width = 0
    elif config.is_file():
        width = json.loads(config.read_text(encoding="utf-8")).get("hidden_size", width)
    if width <= SMALL_WIDTH:
        torch.set_num_threads(1)


@contextmanager
def progress_bar() -> Iterator[_workbench.Progress]:
    """A bar on the error stream that follows a study's steps."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def tell(what: str, done: int, of: int) -> None:
            bar.update(task, description=what, completed=done, total=of if of > 1 else None)

        yield tell
