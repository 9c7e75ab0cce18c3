"""One figure of a report, with the words around it."""

from collections.abc import Callable
from dataclasses import dataclass

import plotly.graph_objects as go

from lens_personas.views import DARK, LIGHT, Theme


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One figure with the words around it."""

    key: str
    """Identifier in the page, and name of its file where figures are written."""
    section: str
    """Section it belongs to: ``effects``, ``refusal``, ``geometry``, ``hidden``, ``vectors``, or
    ``part-`` and the name of a part."""
    question: str
    """What it answers."""
    read: str
    """How to read it."""
    null: str
    """What it is held against."""
    light: go.Figure
    """The figure on paper."""
    dark: go.Figure
    """The figure on a dark screen."""


def panel(
    key: str, section: str, question: str, read: str, null: str, draw: Callable[[Theme], go.Figure]
) -> Panel:
    """The panel of a figure that is drawn in both themes."""
    return Panel(
        key=key,
        section=section,
        question=question,
        read=read,
        null=null,
        light=draw(LIGHT),
        dark=draw(DARK),
    )
