"""How the result of any study is summed up, told, drawn and tabulated."""

from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Group

from analyses._pair_panels import pair_panels
from analyses._pair_report import write_pair_report
from analyses._pair_summary import pair_summary
from analyses._pair_table import pair_table
from analyses._pair_text import pair_text
from analyses._panel import Panel
from analyses._paper_table import paper_table
from analyses._report import write_report
from analyses._report_panels import panels
from analyses._store import Result
from analyses._summary import summary
from analyses._text_parts import text_parts
from analyses._text_table import text_table
from analyses.shift import Shift


def result_summary(result: Result) -> dict[str, Any]:
    """Headline numbers, as they are written to ``summary.json``."""
    return pair_summary(result) if isinstance(result, Shift) else summary(result)


def result_report(result: Result, path: Path, *, full_text: bool) -> Path:
    """Path of the report, written whole or not at all.

    Args:
        result: What the study found.
        path: File of the report.
        full_text: Show requests and answers where there are any; else only their lengths.

    Raises:
        OSError: If the disk refuses.
    """
    if isinstance(result, Shift):
        return write_pair_report(result, path)
    return write_report(result, path, full_text=full_text)


def result_text(result: Result) -> Group:
    """The finding and its tables, for a terminal."""
    if isinstance(result, Shift):
        return pair_text(result)
    return Group(text_table(result), text_parts(result))


def result_panels(result: Result) -> tuple[Panel, ...]:
    """Every figure of the report, in reading order."""
    return pair_panels(result) if isinstance(result, Shift) else panels(result)


def result_table(result: Result) -> pd.DataFrame:
    """One table of all numbers, for a paper."""
    return pair_table(result) if isinstance(result, Shift) else paper_table(result)
