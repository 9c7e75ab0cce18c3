"""``python -m benchmarks run | table | peers``."""

import datetime
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import _peers
from benchmarks._checkpoint import write_checkpoint
from benchmarks._machine import describe
from benchmarks._questions import QUESTIONS
from benchmarks._results import Results, WorkloadResult, read_results, write_results
from benchmarks._run import run_workload
from benchmarks._scaling import curves
from benchmarks._shapes import Shape
from benchmarks._table import machine_line, markdown, put_into, terminal_tables
from benchmarks._worker import Worker
from benchmarks._workloads import PRESETS, Preset, Workload

app = typer.Typer(help="Speed and memory against other ways, side by side.", no_args_is_help=True)
_Peers = Annotated[Path, typer.Option("--peers-folder", help="The peers' environment.")]


@app.command()
def run(
    json: Annotated[Path, typer.Option("--json", help="Results file.")],
    quick: Annotated[bool, typer.Option("--quick", help="Small model: minutes (default).")] = False,
    full: Annotated[bool, typer.Option("--full", help="12 layers × 768.")] = False,
    gpu: Annotated[bool, typer.Option("--gpu", help="Llama-7B shape in bfloat16.")] = False,
    only: Annotated[str, typer.Option(help="Questions, such as extraction,lens.")] = "",
    peers: Annotated[bool, typer.Option(help="Run the peers, built if missing.")] = True,
    peers_folder: _Peers = _peers.DEFAULT_FOLDER,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads of every way.")] = 1,
) -> None:
    """Measure; exit code 1 if a way failed or gave other numbers than ours."""
    started, console = time.monotonic(), Console(stderr=True)
    name = _chosen(quick=quick, full=full, gpu=gpu)
    preset, place = PRESETS[name], _device(device)
    workloads = _workloads(preset, only, large=full)
    pythons = {"ours": Path(sys.executable)}
    if peers:
        if not _peers.is_built(peers_folder):
            console.print(f"Building the peers' environment in {peers_folder} …")
            _peers.build(peers_folder)
        pythons["peers"] = _peers.python_of(peers_folder)
    with ExitStack() as stack, console.status("") as status:
        workers = {
            env: stack.enter_context(
                Worker([str(python), "-m", f"benchmarks.{env}"], threads=threads)
            )
            for env, python in pythons.items()
        }
        found = _measure(workloads, workers, place, preset.repeats, status.update)
        versions = {env: worker.versions for env, worker in workers.items()}
    results = Results(
        preset=name,
        date=datetime.date.today().isoformat(),
        seconds=time.monotonic() - started,
        machine=describe(threads=threads, device=place),
        versions=versions,
        workloads=tuple(found),
    )
    write_results(results, json)
    Console().print(*terminal_tables(results), machine_line(results), sep="\n")
    for line in results.failures:
        console.print(line, style="red")
    raise typer.Exit(1 if results.failures else 0)


@app.command()
def table(
    results: Annotated[Path, typer.Argument(help="Results file.")],
    out: Annotated[Path, typer.Option(help="Page with the two markers.")] = Path(
        "docs/performance.md"
    ),
) -> None:
    """Put a run's tables into the page, between its markers."""
    try:
        put_into(out, markdown(read_results(results)))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error


@app.command()
def peers(folder: Annotated[Path, typer.Option(help="Where.")] = _peers.DEFAULT_FOLDER) -> None:
    """Build the peers' environment anew."""
    _peers.build(folder)


def _chosen(**flags: bool) -> str:
    given = [name for name, is_given in flags.items() if is_given]
    if len(given) > 1:
        raise typer.BadParameter(f"expected one of --{', --'.join(flags)}, got {given}")
    return given[0] if given else "quick"


def _device(asked: str) -> str:
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return asked


def _workloads(preset: Preset, only: str, *, large: bool) -> list[Workload]:
    offered = list(preset.questions or QUESTIONS) + (["scaling"] if preset.scaling else [])
    wanted = only.split(",") if only else offered
    unknown = [name for name in wanted if name not in offered]
    if unknown:
        raise typer.BadParameter(f"expected --only among {','.join(offered)}, got {unknown}")
    found = [each for name in wanted if name != "scaling" for each in _of(preset, name)]
    return [*found, *(curves(large=large) if "scaling" in wanted else ())]


def _of(preset: Preset, name: str) -> Sequence[Workload]:
    return QUESTIONS[name](preset.shape, preset.sizes)


def _measure(
    workloads: Sequence[Workload],
    workers: dict[str, Worker],
    device: str,
    repeats: int,
    tell: Callable[[str], None],
) -> list[WorkloadResult]:
    folders: dict[Shape, Path] = {}
    with tempfile.TemporaryDirectory() as place:
        found = []
        for workload in workloads:
            if workload.shape not in folders:
                tell(f"Writing a checkpoint: {workload.shape.name}")
                folder = Path(place) / str(len(folders))
                folders[workload.shape] = write_checkpoint(workload.shape, folder, device=device)
            found.append(
                run_workload(
                    workload,
                    workers,
                    folder=folders[workload.shape],
                    device=device,
                    repeats=repeats,
                    tell=tell,
                )
            )
    return found
