"""Figures of what tells the halves apart: every metric by behaviour, and metric against metric."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses._pair_figures_style import (
    COMPARED_LOOKS,
    Panels,
    behaviours_of,
    dots,
    legend_below,
    name_rows,
    sides_of,
)
from analyses._words import number, p_value, span
from lens_personas.views import LIGHT, Theme, escaped, finish

_COLUMNS: Final = 4
_GAP: Final = 66
"""Pixels between two rows of panels."""
_MOST_WRITTEN: Final = 12
_APART: Final = 0.18
"""Rows that the two models stand above and below their behaviour's line."""


def metric_forest(
    rows: pd.DataFrame,
    *,
    names: Mapping[str, str],
    chance: Mapping[str, float] | None = None,
    alpha: float = 0.05,
    theme: Theme = LIGHT,
) -> go.Figure:
    """Every metric by behaviour with its interval, the base above the tuned model.

    Args:
        rows: ``side, behaviour, metric, estimate, low, high, p, p_bh``, and, where known,
            ``null_low, null_high``: where chance alone would put the estimate, and ``found``, where
            more than p says so.
        names: Metrics to draw, by their name in ``rows``, with their heading.
        chance: What a metric is where there is nothing, NaN for no such value; 0 where not given.
        alpha: Marks are filled where ``found``; without that column, where ``p_bh`` is below it.
        theme: Colours.
    """
    there = set(rows["metric"]) if len(rows) else set()
    metrics = [each for each in names if each in there]
    behaviours = behaviours_of(rows)
    row_height = 26 * len(behaviours) + 14
    n_rows = max(-(-len(metrics) // _COLUMNS), 1)
    height = n_rows * row_height + (n_rows - 1) * _GAP
    # Of one row alone the gap could be higher than the figure.
    panels = Panels(_grid(metrics, names, gap=_GAP / height if n_rows > 1 else 0.0), _COLUMNS)
    ranges = []
    for at, metric in enumerate(metrics):
        here = rows[rows["metric"] == metric]
        nulls = _nulls(here, behaviours, theme, legend=at == 0)
        panels.add(at, (*nulls, *_side_dots(here, behaviours, alpha, theme, legend=at == 0)))
        nothing = (chance or {}).get(metric, 0.0)
        if np.isfinite(nothing):
            panels.line(at, theme, x=nothing)
        ranges.append(_range(here, nothing))
    figure = panels.draw()
    for at, ends in enumerate(ranges):
        figure.update_xaxes(range=ends, **panels.place(at))
    finish(figure, theme, height=height + 36 + 90, margin_b=90)
    name_rows(figure, behaviours)
    return legend_below(figure, y=-40 / height)


def correlation_heatmaps(
    matrices: Mapping[str, pd.DataFrame], *, names: Mapping[str, str], theme: Theme = LIGHT
) -> go.Figure:
    """Rank correlation of every metric with every other over behaviours, a panel a side.

    Args:
        matrices: Square table of correlations by side, metrics along both ways.
        names: Heading of each metric.
        theme: Colours.
    """
    figure = make_subplots(
        cols=max(len(matrices), 1),
        shared_yaxes=True,
        horizontal_spacing=0.03,
        subplot_titles=[escaped(side) for side in matrices],
    )
    for at, matrix in enumerate(matrices.values()):
        figure.add_trace(_heat(matrix, names), row=1, col=at + 1)
    n = max((len(each) for each in matrices.values()), default=1)
    finish(figure, theme, height=190 + 30 * n)
    figure.update_layout(
        coloraxis={
            "cmin": -1,
            "cmax": 1,
            "colorscale": [list(stop) for stop in theme.diverging],
            "colorbar": {"title": {"text": "Spearman"}, "thickness": 12, "outlinewidth": 0},
        }
    )
    figure.update_xaxes(type="category", showgrid=False, tickangle=-45)
    figure.update_yaxes(type="category", showgrid=False, autorange="reversed")
    return figure


def correlation_forest(
    rows: pd.DataFrame, *, names: Mapping[str, str], alpha: float = 0.05, theme: Theme = LIGHT
) -> go.Figure:
    """Correlation of steerability with each metric over behaviours, with its interval.

    Args:
        rows: ``side, metric, estimate, low, high, p, p_bh``.
        names: Heading of each metric.
        alpha: Marks are filled where ``p_bh`` is below it.
        theme: Colours.
    """
    metrics = list(dict.fromkeys(rows["metric"])) if len(rows) else []
    table = rows.assign(behaviour=rows["metric"])
    figure = go.Figure(_side_dots(table, metrics, alpha, theme, legend=True))
    finish(figure, theme, height=140 + 34 * len(metrics))
    figure.update_xaxes(range=[-1.05, 1.05], title_text="Rank correlation over behaviours")
    figure.add_vline(x=0, line={"color": theme.muted, "width": 1, "dash": "dot"})
    return name_rows(figure, [names.get(each, each) for each in metrics])


def _grid(metrics: Sequence[str], names: Mapping[str, str], *, gap: float) -> go.Figure:
    return make_subplots(
        rows=max(-(-len(metrics) // _COLUMNS), 1),
        cols=min(max(len(metrics), 1), _COLUMNS),
        shared_yaxes=True,
        horizontal_spacing=0.025,
        vertical_spacing=gap,
        subplot_titles=[escaped(names[each]) for each in metrics],
    )


def _side_dots(
    rows: pd.DataFrame, behaviours: Sequence[str], alpha: float, theme: Theme, *, legend: bool
) -> list[go.Scatter]:
    traces = []
    place = {name: at for at, name in enumerate(behaviours)}
    for side in sides_of(rows, looks=COMPARED_LOOKS):
        here = rows[rows["side"] == side]
        traces.append(
            dots(
                here,
                [place[str(name)] + _shift(side) for name in here["behaviour"]],
                COMPARED_LOOKS[side],
                theme,
                filled=list(here["found"] if "found" in here else here["p_bh"] < alpha),
                hovers=[_hover(row) for row in here.to_dict(orient="records")],
                legend=legend,
            )
        )
    return traces


def _nulls(
    rows: pd.DataFrame, behaviours: Sequence[str], theme: Theme, *, legend: bool
) -> list[go.Scatter]:
    """A broad bar where chance alone would put each estimate."""
    if "null_low" not in rows:
        return []
    x: list[float | None] = []
    y: list[float | None] = []
    for row in rows.dropna(subset=["null_low", "null_high"]).to_dict(orient="records"):
        height = behaviours.index(str(row["behaviour"])) + _shift(str(row["side"]))
        x += [float(row["null_low"]), float(row["null_high"]), None]
        y += [height, height, None]
    if not x:
        return []
    return [
        go.Scatter(
            x=x,
            y=y,
            mode="lines",
            line={"color": theme.null, "width": 7},
            hovertemplate="end of chance’s range %{x:.2f}<extra></extra>",
            name="chance",
            legendgroup="chance",
            showlegend=legend,
        )
    ]


def _range(rows: pd.DataFrame, nothing: float) -> list[float]:
    """Ends that hold every estimate, interval and null, and the line of no difference."""
    columns = ["estimate", "low", "high", "null_low", "null_high"]
    values = rows[[each for each in columns if each in rows]].to_numpy(np.float64).ravel()
    values = np.append(values, nothing)
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    room = 0.06 * max(high - low, 1e-6)
    return [low - room, high + room]


def _shift(side: str) -> float:
    return {"base": -_APART, "tuned": _APART}.get(side, 0.0)


def _hover(row: Mapping[Any, Any]) -> str:
    estimate, low, high, p, p_bh = (row[key] for key in ("estimate", "low", "high", "p", "p_bh"))
    return (
        f"<b>{escaped(str(row['behaviour']))}</b>, {escaped(str(row['side']))}<br>"
        f"{number(estimate)} {span(low, high)}<br>"
        f"p {escaped(p_value(p))}, over behaviours {escaped(p_value(p_bh))}"
    )


def _heat(matrix: pd.DataFrame, names: Mapping[str, str]) -> go.Heatmap:
    values = matrix.to_numpy(np.float64)
    labels = [escaped(names.get(str(each), str(each))) for each in matrix.columns]
    return go.Heatmap(
        z=[[None if np.isnan(value) else float(value) for value in row] for row in values],
        x=labels,
        y=[escaped(names.get(str(each), str(each))) for each in matrix.index],
        text=[[number(value, 1) for value in row] for row in values],
        # Cells of many measures are too small to be written in; hovers have the numbers.
        texttemplate="%{text}" if len(values) <= _MOST_WRITTEN else None,
        textfont={"size": 10},
        coloraxis="coloraxis",
        xgap=1,
        ygap=1,
        hovertemplate="%{y} and %{x}: %{z:.2f}<extra></extra>",
    )
