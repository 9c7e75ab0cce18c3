"""The command that writes a run's figures for a paper; heavy imports wait until it runs."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from analyses._cli_errors import user_errors


def figures(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the figures; default: figures/ in the run's.")
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", help="svg, png, or both with a comma.")
    ] = "svg,png",
    dark: Annotated[bool, typer.Option("--dark", help="On a dark ground.")] = False,
) -> None:
    """Write every figure of a run's report as SVG and PNG, and its table of numbers."""
    with user_errors():
        if importlib.util.find_spec("matplotlib") is None:
            raise ValueError(
                "expected matplotlib for figures, it is not installed; "
                "pip install 'lens-personas[paper]'"
            )
        from analyses._paper_files import write_paper_files

        asked = tuple(each.strip() for each in formats.split(",") if each.strip())
        for path in write_paper_files(folder, out or folder / "figures", asked, dark=dark):
            typer.echo(str(path))
