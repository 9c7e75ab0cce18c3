"""The parts of a full study, one file each; read when asked for."""

from importlib import import_module
from typing import Any

from analyses._part import Part
from analyses._part_names import PartName, field_of


def part(name: PartName) -> Part[Any]:
    """The part of that name.

    Raises:
        KeyError: If there is no such part.
    """
    found: Part[Any] = import_module(f"analyses._parts.{field_of(name)}").PART
    return found
