"""How a part of a study is told: one sentence, tables, figures, and what would have refuted it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from analyses._panel import Panel
from analyses._part_names import PartName

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class ShownTable:
    """A table of a part, its cells worded."""

    title: str
    """What it holds."""
    columns: tuple[str, ...]
    """Headings; the first column names the row."""
    rows: tuple[tuple[str, ...], ...]
    """Cells, as many in a row as there are columns."""
    note: str = ""
    """What it is held against, and how to read it."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """A part in words."""

    answer: str
    """The finding in one or two sentences, with its numbers, interval and control."""
    tables: tuple[ShownTable, ...]
    """Its tables; the first one is printed in a terminal too."""
    limits: tuple[str, ...] = ()
    """What the numbers do not allow to say, in sentences."""


@dataclass(frozen=True, kw_only=True)
class ShownPart:
    """A part as it stands in a report or a terminal."""

    name: PartName
    """Its name."""
    question: str
    """What it asks."""
    told: Told
    """What was found, in words."""


@dataclass(frozen=True, kw_only=True)
class Shown(Generic[R]):
    """How the result of one part is told and drawn."""

    tell: Callable[[R], Told]
    """The result in words."""
    panels: Callable[[R], tuple[Panel, ...]]
    """Its figures; ``section`` of each is ``part-`` and the part's name."""
