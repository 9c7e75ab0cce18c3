"""A drawing as a view: a picture that is read with pointer or keys, and a table of its numbers."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import plotly.graph_objects as go
from markupsafe import Markup

from lens_personas.views._page import asset
from lens_personas.views._svg import element, svg_file
from lens_personas.views._theme import Theme
from lens_personas.views._view import Script, View

_AROUND: Final = 130
"""Pixels that a page needs around a picture: its title, what is read, the table's handle."""

_TALLEST: Final = 900
"""Pixels that a notebook gives a picture at most; it scrolls."""


def plot_view(
    *,
    title: str,
    summary: str,
    svg: Markup,
    keys: str,
    hint: str,
    data: Mapping[str, Any],
    figure: Callable[[Theme], go.Figure],
    height: int,
) -> View:
    """The view of a drawing.

    Args:
        title: What it shows.
        summary: What is to be seen, in a sentence.
        svg: The drawing; looks are classes of `looks`.
        keys: What the keyboard does.
        hint: The same for who looks; shown until something is chosen.
        data: What the script of plots reads out.
        figure: The same for print.
        height: Pixels of the drawing.
    """
    picture = element(
        "div",
        svg,
        class_="picture",
        tabindex=0,
        role="group",
        aria_label=f"{title}; {keys}",
    )
    body = element(
        "div",
        picture,
        element("p", "\u00a0", class_="readout", role="status"),
        element(
            "details", element("summary", "Table of numbers"), class_="tabulated", hidden="hidden"
        ),
        class_="drawing",
        data_draw="plot",
    )
    return View(
        title=title,
        body=body,
        summary=summary,
        scripts=(Script(name="plots", source=asset("plots.js")),),
        data={"hint": hint, **data},
        height=min(height, _TALLEST) + _AROUND,
        figure=figure,
        drawing=lambda theme: svg_file(svg, theme, title=title, summary=summary),
    )
