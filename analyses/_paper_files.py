"""A run's figures and its table of numbers, as files for a paper."""

from collections.abc import Sequence
from pathlib import Path

from analyses._folder import write_text
from analyses._runs import read_run
from analyses._store import load_result
from analyses._views import result_panels, result_table
from lens_personas.views import STATIC_FORMATS, write_static

TABLE = "numbers.csv"
"""Name of the table."""


def write_paper_files(
    folder: Path, out: Path, formats: Sequence[str], *, dark: bool = False
) -> tuple[Path, ...]:
    """Paths of every figure in each format, and of the table.

    Args:
        folder: Folder of a finished run.
        out: Where to; made where it is missing.
        formats: Of ``svg`` and ``png``.
        dark: Whether figures are on a dark ground.

    Raises:
        RunFolderError: If the folder is no run.
        ValueError: If a format is not known, or the result cannot be read.
        OSError: If the disk refuses.
    """
    known = tuple(each for each in STATIC_FORMATS if each in formats)
    if len(known) != len(set(formats)) or not known:
        raise ValueError(f"expected formats of {', '.join(STATIC_FORMATS)}, got {list(formats)}")
    read_run(folder)
    result = load_result(folder)
    out.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for panel in result_panels(result):
        drawn = panel.dark if dark else panel.light
        paths += write_static(drawn, out / panel.key, formats=known)
    table = out / TABLE
    write_text(table, result_table(result).to_csv(index=False))
    return (*paths, table)
