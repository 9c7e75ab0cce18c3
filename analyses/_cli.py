"""The command line: thin commands over the studies; heavy imports wait until one runs."""

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from analyses._cli_errors import user_errors
from analyses._cli_figures import figures
from analyses._cli_personas import personas_app
from analyses._cli_plan import plan
from analyses._cli_runs import runs_app
from analyses._cli_studies import (
    STUDIES,
    fitting_flags,
    known_study,
    study_flags,
    study_preset,
)

app = typer.Typer(
    name="lens-personas",
    help="Who does the model think it is talking to, and what does that do to its refusals?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
organism_app = typer.Typer(help="The embedded model whose truth is known.", no_args_is_help=True)
vectors_app = typer.Typer(help="Fit, show and compare vectors.", no_args_is_help=True)
app.add_typer(organism_app, name="organism")
app.add_typer(vectors_app, name="vectors")
app.add_typer(runs_app, name="runs")
app.add_typer(personas_app, name="personas")
app.command()(plan)
app.command()(figures)

Model = Annotated[
    str | None,
    typer.Option(help="organism:chat, base or ungated, a checkpoint folder, or a hub id."),
]
Out = Annotated[Path | None, typer.Option(help="Folder for the run; report.html is in it.")]
Seed = Annotated[int | None, typer.Option(help="Seed of every draw.")]
Json = Annotated[bool, typer.Option("--json", help="Print summary.json instead of tables.")]
Config = Annotated[str | None, typer.Option(help="YAML file of settings.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="One setting, key=value; may be repeated.")
]


@app.command()
def demo(out: Out = None, seed: Seed = None, as_json: Json = False) -> None:
    """Run the study "Who's asking?" at its small setting on the embedded model."""
    flags = {"model": "organism:chat", "seed": seed}
    with user_errors():
        _study(
            flags, name=None, preset="small", file=None, assignments=(), out=out, as_json=as_json
        )


@app.command()
def study(
    name: Annotated[str, typer.Argument(help="Name of the study; see `lens-personas studies`.")],
    model: Model = None,
    out: Out = None,
    seed: Seed = None,
    requests: Annotated[
        str | None, typer.Option(help="JSONL or CSV rows: prompt_id, text, harmful, ...")
    ] = None,
    personas: Annotated[
        str | None, typer.Option(help="JSONL or YAML rows: name, group, statements, ...")
    ] = None,
    persona_turn: Annotated[
        str | None, typer.Option(help="Turn of the persona: system, user or auto.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="small, standard or full (every part); default: standard, small for a part."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, mps.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16, float16.")] = None,
    config: Config = None,
    assign: Set = None,
    base: Annotated[
        str | None, typer.Option(help="Two models: the one before tuning; default: organism:base.")
    ] = None,
    tuned: Annotated[
        str | None, typer.Option(help="Two models: the one after; default: organism:chat.")
    ] = None,
    statements: Annotated[
        list[str] | None,
        typer.Option(help="Two models: JSONL files of statements, paths or patterns; repeatable."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Two models: statements of each half of a behaviour.")
    ] = None,
    engine: Annotated[str, typer.Option(help="local, or ray for several workers.")] = "local",
    workers: Annotated[int | None, typer.Option(min=1, help="Workers of Ray.")] = None,
    address: Annotated[str | None, typer.Option(help="Address of a Ray cluster.")] = None,
    as_json: Json = False,
) -> None:
    """Run a study and print its table; with --out keep everything it rests on.

    The same command again goes on where a run in --out stood.
    """
    flags = {
        "model": model,
        "seed": seed,
        "requests": requests,
        "personas": personas,
        "persona_turn": persona_turn,
        "device": device,
        "dtype": dtype,
        "base": base,
        "tuned": tuned,
        "statements": statements or None,
        "limit": limit,
    }
    with user_errors():
        _study(
            study_flags(known_study(name)) | fitting_flags(name, flags),
            name=name,
            preset=study_preset(name, preset),
            file=config,
            assignments=assign or (),
            out=out,
            as_json=as_json,
            engine={"engine": engine, "workers": workers, "address": address},
        )


@app.command()
def studies() -> None:
    """List the studies."""
    for name, question in STUDIES.items():
        typer.echo(f"{name}  {question}")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
    full_text: Annotated[
        bool, typer.Option("--full-text", help="Show requests and answers, not their lengths.")
    ] = False,
) -> None:
    """Write a run's report.html anew from its results."""
    with user_errors():
        from analyses._runs import read_run
        from analyses._store import load_result
        from analyses._views import result_report

        about = read_run(folder)
        path = folder / "report.html"
        shown = full_text or bool(about.get("report_full_text", False))
        result_report(load_result(folder), path, full_text=shown)
        typer.echo(str(path))


@organism_app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder for base/ and chat/.")],
    seed: Annotated[int, typer.Option(help="Seed of the weights and of the documents.")] = 0,
    world_seed: Annotated[int, typer.Option(help="Seed of the world.")] = 0,
    persona_gate: Annotated[
        bool, typer.Option(help="Whether refusal depends on who asks; without, a control.")
    ] = True,
    assign: Set = None,
) -> None:
    """Train a base and a chat organism from scratch, about ten minutes on one core."""
    with user_errors():
        from analyses._organism_train import train_command

        trained = train_command(
            out,
            seed=seed,
            world_seed=world_seed,
            persona_gate=persona_gate,
            assignments=assign or (),
        )
        typer.echo(f"{trained.base}\n{trained.chat}")


@organism_app.command()
def card(
    folder: Annotated[
        Path | None, typer.Option(help="Folder with base/ and chat/; default: the shipped pair.")
    ] = None,
    remeasure: Annotated[
        bool, typer.Option("--remeasure", help="Measure anew rather than read the shipped card.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what was measured in the organism, and what failed."""
    with user_errors():
        from rich.console import Console

        from analyses._organism_show import card_table, card_to_json, organism_card_command
        from analyses._session import progress_bar

        _threads("organism:chat")
        with progress_bar() as tell:
            found = organism_card_command(folder, remeasure, progress=tell)
        if as_json:
            typer.echo(card_to_json(found))
        else:
            Console().print(card_table(found))


@vectors_app.command()
def extract(
    out: Annotated[Path, typer.Option(help="Folder for the .safetensors files.")],
    model: Model = None,
    seed: Seed = None,
    requests: Annotated[str | None, typer.Option(help="JSONL or CSV of requests.")] = None,
    personas: Annotated[str | None, typer.Option(help="JSONL or YAML of personas.")] = None,
    config: Config = None,
    assign: Set = None,
) -> None:
    """Fit every persona's vector and refusal both ways, and save them with their provenance."""
    with user_errors():
        from analyses._config import build_config
        from analyses._vector_files import extract_vectors

        flags = {"model": model, "seed": seed, "requests": requests, "personas": personas}
        settings = build_config(file=config, assignments=assign or (), flags=flags)
        _threads(settings.model)
        for path in extract_vectors(settings, out):
            typer.echo(str(path))


@vectors_app.command()
def show(file: Annotated[Path, typer.Argument(help="A vector file.")]) -> None:
    """Show where a vector points, what it was fitted on, and its length by layer."""
    with user_errors():
        from rich.console import Console

        from analyses._vector_files import vector_view

        Console().print(vector_view(file))


@vectors_app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="A vector file.")],
    second: Annotated[Path, typer.Argument(help="A vector file.")],
) -> None:
    """Show the cosine of two vectors by layer."""
    with user_errors():
        from rich.console import Console

        from analyses._vector_files import comparison_view

        Console().print(comparison_view(first, second))


def _study(
    flags: dict[str, Any],
    *,
    name: str | None,
    preset: str,
    file: str | None,
    assignments: Any,
    out: Path | None,
    as_json: bool,
    engine: dict[str, Any] | None = None,
) -> None:
    from analyses._session import EngineFlags, run_and_show

    run_and_show(
        flags,
        study=name,
        preset=preset,
        file=file,
        assignments=assignments,
        out=out,
        as_json=as_json,
        engine=EngineFlags(**engine or {}),
    )


def _threads(model: str) -> None:
    from analyses._threads import fit_threads

    fit_threads(model)


def main() -> None:
    """Entry point of ``lens-personas``."""
    # Its retries would bury the one line that says what is wrong.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    app()


if __name__ == "__main__":
    main()
