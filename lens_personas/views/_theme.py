"""How every figure looks: two themes, sides told apart by colour and by mark, text escaped."""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

SYMBOLS = {
    "pro": "circle",
    "anti": "square",
    "other": "triangle-up",
    "control": "diamond",
    "refusal": "hexagon",
}
"""Mark of each side, so that it is not told by colour alone."""

FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', 'Liberation Sans', sans-serif"


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Colours of a figure, those of the sides after Okabe and Ito (safe for the colour-blind)."""

    name: str
    """``light`` or ``dark``."""
    paper: str
    """Behind the figure; marks that are hollow are filled with it."""
    ink: str
    """Text."""
    muted: str
    """Axes and secondary text."""
    rule: str
    """Grid lines."""
    null: str
    """Band of the nulls."""
    sides: Mapping[str, str]
    """Colour of each side."""
    diverging: tuple[tuple[float, str], ...]
    """Scale from −1 to 1."""
    sequential: tuple[tuple[float, str], ...]
    """Scale from 0 up."""

    def side(self, group: str) -> str:
        """Colour of a side; that of ``other`` for an unknown one."""
        return self.sides.get(group, self.sides["other"])


LIGHT = Theme(
    name="light",
    paper="#fdfcf9",
    ink="#22252a",
    muted="#666b73",
    rule="#e6e2d9",
    null="#ddd8cd",
    sides={
        "pro": "#0072b2",
        "anti": "#c8500a",
        "other": "#8f4a86",
        "control": "#5b6068",
        "refusal": "#1d7a5f",
    },
    diverging=(
        (0.0, "#0a5a8c"),
        (0.25, "#7fb2d2"),
        (0.5, "#f6f3ec"),
        (0.75, "#eba277"),
        (1.0, "#b3430a"),
    ),
    sequential=((0.0, "#f6f3ec"), (0.5, "#7fb2d2"), (1.0, "#0a4c78")),
)
"""Figures on paper."""

DARK = Theme(
    name="dark",
    paper="#17191d",
    ink="#e8e5de",
    muted="#a2a6ad",
    rule="#2c3037",
    null="#383d46",
    sides={
        "pro": "#5ab4e8",
        "anti": "#f0853a",
        "other": "#d78fc9",
        "control": "#b4b8bf",
        "refusal": "#4cc39c",
    },
    diverging=(
        (0.0, "#6dbdf0"),
        (0.25, "#2f6f99"),
        (0.5, "#22262c"),
        (0.75, "#a3541f"),
        (1.0, "#ff9a55"),
    ),
    sequential=((0.0, "#22262c"), (0.5, "#2f6f99"), (1.0, "#9bd6fb")),
)
"""Figures on a dark screen."""


def escaped(text: str) -> str:
    """The text as plotly has to be given it: labels and hovers are read as a kind of HTML."""
    return html.escape(text, quote=False)


def short(text: str, length: int = 28) -> str:
    """The text, escaped, cut to a length that fits beside an axis."""
    return escaped(text if len(text) <= length else f"{text[: length - 1]}…")


def faded(colour: str, opacity: float) -> str:
    """The colour, more or less transparent."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def finish(figure: go.Figure, theme: Theme, *, height: int, **layout: Any) -> go.Figure:
    """The figure with the theme's paper, type, axes and legend."""
    figure.update_layout(
        template="none",
        height=height,
        paper_bgcolor=theme.paper,
        plot_bgcolor=theme.paper,
        font={"family": FONT, "size": 13, "color": theme.ink},
        margin={"l": 64, "r": 24, "t": 36, "b": 56},
        hoverlabel={"bgcolor": theme.paper, "bordercolor": theme.muted, "font_color": theme.ink},
        legend={"font_size": 12, "itemwidth": 40, "bgcolor": faded(theme.paper, 0.0)},
    )
    axis = {
        "gridcolor": theme.rule,
        "linecolor": theme.rule,
        "zeroline": False,
        "ticks": "",
        "tickfont": {"color": theme.muted, "size": 12},
        "title": {"font": {"color": theme.muted, "size": 12}, "standoff": 8},
        "automargin": True,
    }
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    # Subplot titles are the only annotations so far.
    figure.update_annotations(font={"size": 13, "color": theme.ink})
    figure.update_layout(**layout)
    return figure


def name_rows(figure: go.Figure, names: Sequence[str]) -> go.Figure:
    """Rows are placed by name and shown by a label: two names may be alike when cut short."""
    figure.update_yaxes(
        # Names that look like numbers are names all the same.
        type="category",
        categoryorder="array",
        categoryarray=list(map(escaped, names)),
        range=[len(names) - 0.4, -0.6],
        tickmode="array",
        tickvals=list(map(escaped, names)),
        ticktext=[short(name) for name in names],
        showgrid=False,
    )
    return figure


def band(
    x: Iterable[float | int],
    low: Iterable[float | int],
    high: Iterable[float | int],
    colour: str,
    *,
    name: str | None = None,
    legend: bool = False,
) -> go.Scatter:
    """The space between two lines, filled."""
    across, below, above = list(x), list(low), list(high)
    return go.Scatter(
        x=[*across, *across[::-1]],
        y=[*below, *above[::-1]],
        fill="toself",
        fillcolor=colour,
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        name=name,
        legendgroup=name,
        showlegend=legend,
    )


def layer_band(
    table: pd.DataFrame, colour: str, opacity: float, *, low: str = "low", high: str = "high"
) -> go.Scatter:
    """The band over the column ``layer`` between two others, where both are known."""
    known = table.dropna(subset=[low, high])
    return band(known["layer"], known[low], known[high], faded(colour, opacity))


def note(figure: go.Figure, theme: Theme, text: str, **place: Any) -> None:
    """Put a line of small text into the figure."""
    figure.add_annotation(
        text=text, showarrow=False, font={"size": 12, "color": theme.muted}, **place
    )
