"""Figure of the two halves of every behaviour, in the base and in the tuned model."""

from typing import Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.subplots import make_subplots
from scipy.stats import gaussian_kde

from analyses._pair_figures_style import (
    HALF_LOOKS,
    behaviours_of,
    legend_below,
    mark,
    name_rows,
    sides_of,
)
from lens_personas.views import LIGHT, Theme, escaped, faded, finish

_POINTS: Final = 96
_HEIGHT: Final = 0.82
"""Height of the higher of a row's two curves, in rows."""
_LEAST: Final = 5
"""Statements below which a half is shown as marks alone."""


def ridges(scores: pd.DataFrame, *, theme: Theme = LIGHT) -> go.Figure:
    """Distribution of the log-odds of "Yes" over each half's statements; a row a behaviour.

    Args:
        scores: ``side, behaviour, statement_id, aligned, log_odds``, one row a statement and
            order; orders are averaged.
        theme: Colours.
    """
    keys = ["side", "behaviour", "aligned", "statement_id"]
    means = scores.groupby(keys, sort=False)[["log_odds"]].mean().reset_index()
    sides, names = sides_of(means), behaviours_of(means)
    figure = make_subplots(
        cols=max(len(sides), 1),
        shared_yaxes=True,
        horizontal_spacing=0.03,
        subplot_titles=sides,
    )
    for at, side in enumerate(sides):
        here = means[means["side"] == side]
        for trace in _halves(here, names, theme, legend=at == 0):
            figure.add_trace(trace, row=1, col=at + 1)
    finish(figure, theme, height=150 + 44 * len(names))
    figure.update_xaxes(title_text="Log-odds of “Yes” (nats)")
    for column in range(2, len(sides) + 1):
        figure.update_xaxes(matches="x", col=column)
    figure.add_vline(x=0, line={"color": theme.muted, "width": 1, "dash": "dot"})
    name_rows(figure, names, room=0.15)
    figure.update_yaxes(range=[len(names) - 0.85, -1.0])
    figure.update_layout(margin_b=96)
    return legend_below(figure, y=-60 / (44 * len(names) + 58))


def _halves(
    table: pd.DataFrame, names: list[str], theme: Theme, *, legend: bool
) -> list[go.Scatter]:
    """A trace of curves and one of medians for each half; None lifts the pen between rows."""
    curves = {aligned: _Pen() for aligned in HALF_LOOKS}
    medians = {aligned: _Pen() for aligned in HALF_LOOKS}
    for row, name in enumerate(names):
        rows = table[table["behaviour"] == name]
        halves = {each: rows.loc[rows["aligned"] == each, "log_odds"] for each in HALF_LOOKS}
        values = {each: half.dropna().to_numpy(np.float64) for each, half in halves.items()}
        drawn = {each: _density(half) for each, half in values.items()}
        top = max((density.max() for _, density in drawn.values() if density.size), default=1.0)
        for each, (x, density) in drawn.items():
            curves[each].line(x, row - _HEIGHT * density / top)
            if values[each].size:
                medians[each].line(np.median(values[each], keepdims=True), np.array([row - 0.06]))
    shapes = [_curves(curves[each], each, theme, legend=legend) for each in HALF_LOOKS]
    marks = [_medians(medians[each], each, theme) for each in HALF_LOOKS]
    return [*shapes, *marks]


class _Pen:
    """Points of many lines in one trace."""

    def __init__(self) -> None:
        self.x: list[float | None] = []
        self.y: list[float | None] = []

    def line(self, x: Float[np.ndarray, " point"], y: Float[np.ndarray, " point"]) -> None:
        """Add a line, and lift the pen."""
        # Four digits are finer than a screen, and keep the page small.
        self.x += [*(float(f"{each:.4g}") for each in x), None]
        self.y += [*(float(f"{each:.4g}") for each in y), None]


def _density(
    values: Float[np.ndarray, " statement"],
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """Kernel density, with its ends on the ground; empty where there is too little to smooth."""
    if values.size < _LEAST or np.ptp(values) < 1e-9:
        return np.empty(0), np.empty(0)
    smooth = gaussian_kde(values)
    reach = 3 * float(np.sqrt(smooth.covariance[0, 0]))
    x = np.linspace(values.min() - reach, values.max() + reach, _POINTS)
    density = smooth(x)
    density[[0, -1]] = 0.0
    return x, density


def _curves(pen: _Pen, aligned: bool, theme: Theme, *, legend: bool) -> go.Scatter:
    look = HALF_LOOKS[aligned]
    colour = theme.side(look.hue)
    return go.Scatter(
        x=pen.x,
        y=pen.y,
        mode="lines",
        fill="toself",
        fillcolor=faded(colour, 0.22),
        line={"color": colour, "width": 1.4, "dash": look.dash},
        hoverinfo="skip",
        name=look.name,
        legendgroup=look.name,
        showlegend=legend,
    )


def _medians(pen: _Pen, aligned: bool, theme: Theme) -> go.Scatter:
    look = HALF_LOOKS[aligned]
    return go.Scatter(
        x=pen.x,
        y=pen.y,
        mode="markers",
        marker=mark(look, theme, size=6),
        name=f"median, {look.name}",
        legendgroup=look.name,
        showlegend=False,
        hovertemplate=f"{escaped(look.name)}: median %{{x:.2f}}<extra></extra>",
    )
