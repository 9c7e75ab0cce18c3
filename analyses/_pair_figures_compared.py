"""Figures that hold the tuned against the base model, behaviour by behaviour, and doses."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses._pair_figures_style import SIDE_LOOKS, Panels, behaviours_of, curve, sides_of
from lens_personas.views import LIGHT, Theme, band, escaped, faded, finish, short

_COLUMNS: Final = 4
_MARKS: Final = {True: ("square", "anti"), False: ("circle", "pro")}
"""Mark and hue by whether a behaviour is undesirable."""


def base_tuned_scatter(
    values: pd.DataFrame,
    *,
    names: Mapping[str, str],
    undesirable: Collection[str] = (),
    found: Collection[tuple[str, str]] = (),
    theme: Theme = LIGHT,
) -> go.Figure:
    """The base model's value across, the tuned model's up, a panel a measure, a mark a behaviour.

    Args:
        values: ``behaviour, measure, base, tuned``.
        names: Measures to draw, with their headings.
        undesirable: Behaviours that are not good to show.
        found: Behaviour and measure of what differs after correction; such marks are filled.
        theme: Colours.
    """
    measures = [each for each in names if (values["measure"] == each).any()]
    columns = min(max(len(measures), 1), _COLUMNS)
    n_rows = max(-(-len(measures) // columns), 1)
    figure = make_subplots(
        rows=n_rows,
        cols=columns,
        horizontal_spacing=0.06,
        vertical_spacing=0.26 / n_rows,
        subplot_titles=[escaped(names[each]) for each in measures],
    )
    for at, measure in enumerate(measures):
        where = {"row": at // columns + 1, "col": at % columns + 1}
        rows = values[values["measure"] == measure].dropna(subset=["base", "tuned"])
        figure.add_trace(_diagonal(rows, theme), **where)
        for bad in (False, True):
            here = rows[rows["behaviour"].isin(list(undesirable)) == bad]
            if len(here):
                figure.add_trace(
                    _behaviour_marks(here, bad, measure, found, theme, legend=at == 0), **where
                )
    finish(figure, theme, height=90 + 270 * n_rows)
    figure.update_xaxes(title_text="base")
    figure.update_yaxes(title_text="tuned", title_standoff=2)
    figure.update_layout(legend={"orientation": "h", "x": 0, "y": -0.22 / n_rows, "yanchor": "top"})
    return figure


def dose_curves(table: pd.DataFrame, *, theme: Theme = LIGHT) -> go.Figure:
    """Misaligned propensity by dose of the behaviour's own vector, with random directions' range.

    Args:
        table: ``side, behaviour, vector, dose, propensity, propensity_low, propensity_high`` at
            one layer a side and behaviour; ``vector`` is ``own`` or ``random`` with a number.
        theme: Colours.
    """
    names = behaviours_of(table)
    columns = min(max(len(names), 1), _COLUMNS)
    n_rows = max(-(-len(names) // columns), 1)
    figure = make_subplots(
        rows=n_rows,
        cols=columns,
        shared_xaxes=True,
        horizontal_spacing=0.045,
        vertical_spacing=0.2 / n_rows,
        subplot_titles=[short(name) for name in names],
    )
    panels = Panels(figure, columns)
    for at, name in enumerate(names):
        panels.add(at, _doses(table[table["behaviour"] == name], theme, legend=at == 0))
        panels.line(at, theme, y=0.0)
    figure = panels.draw()
    finish(figure, theme, height=110 + 200 * n_rows)
    figure.update_yaxes(title_text="Log-odds, misaligned (nats)", row=1, col=1)
    figure.update_xaxes(title_text="Dose (residual norms)", row=n_rows)
    figure.update_annotations(font_size=12)
    return figure


def _diagonal(rows: pd.DataFrame, theme: Theme) -> go.Scatter:
    ends = rows[["base", "tuned"]].to_numpy(np.float64)
    low, high = (float(ends.min()), float(ends.max())) if ends.size else (0.0, 1.0)
    return go.Scatter(
        x=[low, high],
        y=[low, high],
        mode="lines",
        line={"color": theme.muted, "width": 1, "dash": "dot"},
        hoverinfo="skip",
        name="no change",
        showlegend=False,
    )


def _behaviour_marks(
    rows: pd.DataFrame,
    bad: bool,
    measure: str,
    found: Collection[tuple[str, str]],
    theme: Theme,
    *,
    legend: bool,
) -> go.Scatter:
    symbol, hue = _MARKS[bad]
    colour = theme.side(hue)
    name = "undesirable behaviour" if bad else "desirable behaviour"
    fills = [colour if (each, measure) in found else theme.paper for each in rows["behaviour"]]
    return go.Scatter(
        x=rows["base"],
        y=rows["tuned"],
        mode="markers",
        marker={
            "symbol": symbol,
            "size": 9,
            "color": fills,
            "line": {"color": colour, "width": 1.8},
        },
        name=name,
        legendgroup=name,
        showlegend=legend,
        hovertext=[escaped(str(each)) for each in rows["behaviour"]],
        hovertemplate="<b>%{hovertext}</b><br>base %{x:.2f}, tuned %{y:.2f}<extra></extra>",
    )


def _doses(table: pd.DataFrame, theme: Theme, *, legend: bool) -> list[go.Scatter]:
    traces: list[go.Scatter] = []
    for side in sides_of(table):
        rows = table[table["side"] == side]
        random = rows[rows["vector"] != "own"]
        if len(random):
            ends = random.groupby("dose")["propensity"].agg(["min", "max"]).reset_index()
            grey = faded(theme.side(SIDE_LOOKS[side].hue), 0.14)
            name = f"random directions, {side}"
            traces.append(
                band(ends["dose"], ends["min"], ends["max"], grey, name=name, legend=legend)
            )
    for side in sides_of(table):
        own = table[(table["side"] == side) & (table["vector"] == "own")]
        traces += curve(
            with_estimate(own, "propensity"), SIDE_LOOKS[side], theme, x="dose", legend=legend
        )
    return traces


def with_estimate(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The table with a column and its interval under the names that curves are drawn from."""
    names = {column: "estimate", f"{column}_low": "low", f"{column}_high": "high"}
    return table.rename(columns=names)


def chosen_layers(
    table: pd.DataFrame, layers: Mapping[tuple[str, str], Sequence[int]]
) -> pd.DataFrame:
    """Rows of the layer that a side and behaviour is read at, the first where there are two."""
    if not len(table):
        return table
    kept = [
        layer == layers.get((side, behaviour), (layer,))[0]
        for side, behaviour, layer in zip(
            table["side"], table["behaviour"], table["layer"], strict=True
        )
    ]
    return table[kept]
