"""Figures of the test over layers: every persona at every layer, and windows beside one layer."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses._layer_gaps import SIGNS
from analyses._shown._records import records
from analyses._words import TREATMENTS, number, p_value, span
from analyses.layer_test import LayerTest, WindowTest
from lens_personas.views import LIGHT, SYMBOLS, Theme, escaped, faded, finish, name_rows, short

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def layer_differences(result: LayerTest, *, theme: Theme = LIGHT) -> go.Figure:
    """Difference from the control by layer and persona, a column a sign; filled where it lasts."""
    figure = make_subplots(
        cols=len(SIGNS),
        shared_yaxes=True,
        horizontal_spacing=0.04,
        subplot_titles=[TREATMENTS[sign] for sign in SIGNS],
    )
    for column, sign in enumerate(SIGNS, start=1):
        here = result.by_layer[result.by_layer["treatment"] == sign]
        for _, side in here.groupby("group", sort=False):
            for at, (name, rows) in enumerate(side.groupby("persona", sort=False)):
                trace = _curve(str(name), rows, result.alpha, _DASHES[at % len(_DASHES)], theme)
                trace.showlegend = column == 1
                figure.add_trace(trace, row=1, col=column)
    n = result.by_layer["persona"].nunique()
    finish(figure, theme, height=max(460, 150 + 29 * n), hovermode="closest")
    figure.update_xaxes(title_text="Layer steered", dtick=_tick(result.by_layer["layer"]))
    figure.update_yaxes(title_text="Change less the control's (nats)", col=1)
    figure.add_hline(y=0, line={"color": theme.muted, "width": 1, "dash": "dot"})
    return figure


def window_gains(window: WindowTest, *, theme: Theme = LIGHT) -> go.Figure:
    """Difference from the control by a window and by one layer, a row a persona."""
    table = window.by_arm
    names = list(dict.fromkeys(table["persona"]))
    figure = make_subplots(
        cols=len(SIGNS),
        shared_yaxes=True,
        horizontal_spacing=0.04,
        subplot_titles=[TREATMENTS[sign] for sign in SIGNS],
    )
    for column, sign in enumerate(SIGNS, start=1):
        rows = table[table["treatment"] == sign]
        for trace in _window_traces(rows, theme):
            trace.showlegend = column == 1
            figure.add_trace(trace, row=1, col=column)
    finish(figure, theme, height=150 + 30 * len(names))
    figure.update_layout(legend={"orientation": "h", "y": -0.2}, margin_b=90)
    figure.update_xaxes(title_text="Change less the control's (nats)")
    figure.add_vline(x=0, line={"color": theme.muted, "width": 1, "dash": "dot"})
    return name_rows(figure, names)


def _curve(name: str, rows: pd.DataFrame, alpha: float, dash: str, theme: Theme) -> go.Scatter:
    rows = rows.sort_values("layer")
    group = str(rows["group"].iloc[0])
    colour = theme.side(group)
    return go.Scatter(
        x=rows["layer"],
        y=rows["difference"],
        mode="lines+markers",
        line={"color": faded(colour, 0.6), "width": 1.6, "dash": dash},
        marker={
            "symbol": SYMBOLS.get(group, SYMBOLS["other"]),
            "size": 9,
            "color": [colour if p < alpha else theme.paper for p in rows["p_layers"]],
            "line": {"color": colour, "width": 1.6},
        },
        name=short(name),
        legendgroup=escaped(name),
        hovertext=[
            f"<b>{escaped(name)}</b>, layer {row.layer}<br>change {number(row.change)}, control "
            f"{number(row.control)}<br>less the control {number(row.difference)} "
            f"{span(row.low, row.high)}<br>p over layers {escaped(p_value(row.p_layers))}, "
            f"over all personas {escaped(p_value(row.p_joint))}"
            for row in records(rows)
        ],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _window_traces(rows: pd.DataFrame, theme: Theme) -> list[go.Scatter]:
    """Random directions, the single layer, and the window."""
    y = [escaped(name) for name in rows["persona"]]
    bars: list[float | None] = []
    places: list[str | None] = []
    for name, row in zip(y, records(rows), strict=True):
        bars += [row.null_low - row.control, row.null_high - row.control, None]
        places += [name, name, None]
    return [
        go.Scatter(
            x=bars,
            y=places,
            mode="lines",
            line={"color": theme.null, "width": 13},
            name="random directions",
            hovertemplate="end of the nulls' range %{x:.2f}<extra></extra>",
        ),
        go.Scatter(
            x=rows["single_difference"],
            y=y,
            mode="markers",
            marker={
                "symbol": "diamond-open",
                "size": 9,
                "color": theme.side("control"),
                "line": {"width": 2},
            },
            name="one layer",
            customdata=rows["single_layer"],
            hovertemplate="layer %{customdata}: %{x:.2f}<extra></extra>",
        ),
        go.Scatter(
            x=rows["difference"],
            y=y,
            mode="markers",
            error_x={
                "type": "data",
                "symmetric": False,
                "array": rows["difference_high"] - rows["difference"],
                "arrayminus": rows["difference"] - rows["difference_low"],
                "color": theme.side("pro"),
                "width": 0,
            },
            marker={"symbol": "circle", "size": 9, "color": theme.side("pro")},
            name="window",
            customdata=rows["layers"],
            hovertemplate="layers %{customdata}: %{x:.2f}<extra></extra>",
        ),
    ]


def _tick(layers: pd.Series) -> int:
    return 1 if not len(layers) or layers.max() <= 16 else 4
