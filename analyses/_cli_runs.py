"""Commands on runs that are there: list, show, resume, verify."""

from pathlib import Path
from typing import Annotated

import typer

from analyses._cli_errors import user_errors

runs_app = typer.Typer(help="List, show, go on with and verify runs.", no_args_is_help=True)

Run = Annotated[Path, typer.Argument(help="Folder of a run.")]


@runs_app.command("list")
def list_runs(
    folder: Annotated[Path, typer.Argument(help="Folder that holds runs, at any depth.")] = Path(),
) -> None:
    """List the runs in a folder: study, model, status, cells done of all."""
    with user_errors():
        from rich.console import Console

        from analyses._runs_show import runs_table

        Console().print(runs_table(folder))


@runs_app.command()
def show(run: Run) -> None:
    """Show a run's cells: what is done, who has what, what failed and why."""
    with user_errors():
        from rich.console import Console

        from analyses._runs_show import cells_table

        Console().print(cells_table(run))


@runs_app.command()
def resume(
    run: Run,
    engine: Annotated[str, typer.Option(help="local or ray.")] = "local",
    workers: Annotated[int | None, typer.Option(min=1, help="Workers of Ray.")] = None,
    address: Annotated[str | None, typer.Option(help="Address of a Ray cluster.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print summary.json instead of tables.")
    ] = False,
) -> None:
    """Go on with a run where it stood, by the settings in its config.yaml alone."""
    with user_errors():
        from analyses._runs_show import settings_file
        from analyses._session import EngineFlags, run_and_show

        run_and_show(
            {},
            preset="standard",
            file=settings_file(run),
            assignments=(),
            out=run,
            as_json=as_json,
            engine=EngineFlags(engine=engine, workers=workers, address=address),
        )


@runs_app.command()
def verify(run: Run) -> None:
    """Check every file of a run against its hash; exit code 1 and a line for each broken one."""
    with user_errors():
        from analyses._runs_show import verified

        found = verified(run)
        for line in found.broken:
            typer.echo(f"broken: {line}")
        typer.echo(found.line)
    if found.broken:
        raise typer.Exit(1)
