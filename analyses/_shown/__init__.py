"""How each part of a study is shown, one file each; read when asked for."""

from importlib import import_module
from typing import Any

from analyses._panel import Panel
from analyses._part_names import PART_NAMES, PART_QUESTIONS, PartName, field_of
from analyses._shown._types import Shown, ShownPart, ShownTable, Told
from analyses.whos_asking import Parts

__all__ = ["Shown", "ShownPart", "ShownTable", "Told", "part_panels", "shown", "shown_parts"]


def shown(name: PartName) -> Shown[Any]:
    """How the part of that name is shown.

    Raises:
        KeyError: If there is no such part.
    """
    found: Shown[Any] = import_module(f"analyses._shown.{field_of(name)}").SHOWN
    return found


def shown_parts(parts: Parts) -> tuple[ShownPart, ...]:
    """What there is of a study's parts, in words, in reading order."""
    return tuple(
        ShownPart(name=name, question=PART_QUESTIONS[name], told=shown(name).tell(result))
        for name, result in _there(parts)
    )


def part_panels(parts: Parts) -> tuple[Panel, ...]:
    """Every figure of a study's parts, in reading order."""
    return tuple(panel for name, result in _there(parts) for panel in shown(name).panels(result))


def _there(parts: Parts) -> list[tuple[PartName, Any]]:
    found = [(name, getattr(parts, field_of(name))) for name in PART_NAMES]
    return [(name, result) for name, result in found if result is not None]
