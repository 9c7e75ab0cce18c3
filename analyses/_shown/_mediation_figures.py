"""Figures of what carries the effect: forest of paths, single layers, movement of readings."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses._words import GROUPS, SIDES, with_interval
from analyses.mediation import Path, PersonaMediation
from lens_personas.statistics import Interval
from lens_personas.views import (
    LIGHT,
    SYMBOLS,
    Theme,
    escaped,
    finish,
    layer_band,
    note,
    short,
)

PARTS = {
    "total": "whole effect",
    "indirect": "through the mediator",
    "direct": "the rest",
    "random": "random directions",
}
"""Parts of an effect, as fields of a path."""
_LOOK = {
    "total": ("control", "diamond", 0.0),
    "indirect": ("refusal", "circle", 0.2),
    "direct": ("pro", "square", 0.4),
    "random": ("other", "x", 0.6),
}


def path_forest(found: PersonaMediation, *, theme: Theme = LIGHT) -> go.Figure:
    """Whole effect of each persona and its parts, one panel a mediator."""
    mediators = list(dict.fromkeys(path.mediator for path in found.paths))
    figure = make_subplots(
        cols=max(len(mediators), 1),
        shared_yaxes=True,
        horizontal_spacing=0.03,
        subplot_titles=[short(name, 40) for name in mediators] or None,
    )
    personas = _ordered(found.paths)
    for column, mediator in enumerate(mediators, 1):
        own = {path.persona: path for path in found.paths if path.mediator == mediator}
        paths = [own[name] for name in personas if name in own]
        for part in PARTS:
            trace = _estimates(paths, part, personas, theme, legend=column == 1)
            figure.add_trace(trace, row=1, col=column)
    finish(figure, theme, height=170 + 34 * max(len(personas), 1))
    figure.update_layout(legend={"orientation": "h", "y": 1.0, "yref": "container"}, margin_t=90)
    figure.update_xaxes(title_text="nats of refusal log-odds, from the control")
    figure.add_vline(x=0, line={"color": theme.muted, "width": 1, "dash": "dot"})
    figure.update_yaxes(
        tickvals=[at + 0.3 for at in range(len(personas))],
        ticktext=[short(name) for name in personas],
        range=[len(personas), -0.4],
        showgrid=False,
    )
    return figure


def single_layers(found: PersonaMediation, *, theme: Theme = LIGHT) -> go.Figure:
    """What is lost of the difference between the sides with one layer set back, by layer."""
    figure = go.Figure()
    looks = {"refusal": ("refusal", "solid"), "random": ("other", "dot")}
    for direction, rows in found.by_layer.groupby("direction", sort=False):
        side, dash = looks.get(str(direction), ("control", "dash"))
        figure.add_trace(layer_band(rows, theme.side(side), 0.16))
        figure.add_trace(_line(rows, f"{direction} direction", theme.side(side), dash))
    finish(figure, theme, height=380)
    figure.update_layout(legend={"orientation": "h", "y": -0.2}, margin_b=90)
    figure.update_xaxes(title_text="Layer that is set back", dtick=_tick(found.by_layer["layer"]))
    figure.update_yaxes(title_text="Lost of anti less pro (nats)")
    figure.add_hline(y=0, line={"color": theme.muted, "width": 1, "dash": "dot"})
    if found.layers and len(found.by_layer):
        figure.add_vline(
            x=found.layers[-1] + 0.5, line={"color": theme.muted, "width": 1, "dash": "dash"}
        )
    for contrast in found.contrasts[:1]:
        whole = f"whole difference {with_interval(contrast.total)} nats"
        note(figure, theme, whole, x=0.02, y=0.98, xref="paper", yref="paper")
    return figure


def movement_curves(found: PersonaMediation, *, theme: Theme = LIGHT) -> go.Figure:
    """How far each side moves harmfulness and refusal from the control's, by layer."""
    table = found.movement[found.movement["layer"] >= 0]
    measures = list(dict.fromkeys(table["measure"]))
    figure = make_subplots(
        cols=max(len(measures), 1),
        shared_yaxes=True,
        horizontal_spacing=0.04,
        subplot_titles=[escaped(name) for name in measures] or None,
    )
    for column, measure in enumerate(measures, 1):
        here = table[table["measure"] == measure]
        null = here.drop_duplicates("layer").drop(columns=["low", "high"])
        null = null.rename(columns={"null_low": "low", "null_high": "high"})
        figure.add_trace(layer_band(null, theme.null, 0.7), row=1, col=column)
        for group, rows in here.groupby("group", sort=False):
            colour, name = theme.side(str(group)), SIDES.get(str(group), str(group))
            figure.add_trace(layer_band(rows, colour, 0.16), row=1, col=column)
            line = _line(rows, name, colour, "solid", legend=column == 1)
            figure.add_trace(line, row=1, col=column)
    finish(figure, theme, height=400)
    figure.update_layout(legend={"orientation": "h", "y": -0.2}, margin_b=90)
    figure.update_xaxes(title_text="Layer", dtick=_tick(table["layer"]))
    figure.update_yaxes(title_text="Share of harmful less harmless", col=1)
    figure.add_hline(y=0, line={"color": theme.muted, "width": 1, "dash": "dot"})
    return figure


def _ordered(paths: Sequence[Path]) -> list[str]:
    """Personas by side, then by their whole effect."""
    first = {path.persona: path for path in paths}
    order = {group: at for at, group in enumerate(GROUPS)}
    return sorted(
        first,
        key=lambda name: (order.get(first[name].group, 9), first[name].total.estimate),
    )


def _estimates(
    paths: Sequence[Path], part: str, personas: Sequence[str], theme: Theme, *, legend: bool
) -> go.Scatter:
    side, symbol, shift = _LOOK[part]
    colour = theme.side(side)
    found: list[Interval] = [getattr(path, part) for path in paths]
    return go.Scatter(
        x=[each.estimate for each in found],
        y=[personas.index(path.persona) + shift for path in paths],
        mode="markers",
        marker={"color": colour, "symbol": symbol, "size": 7},
        error_x={
            "type": "data",
            "array": [_reach(each.high - each.estimate) for each in found],
            "arrayminus": [_reach(each.estimate - each.low) for each in found],
            "color": colour,
            "thickness": 1.3,
            "width": 0,
        },
        name=PARTS[part],
        legendgroup=part,
        showlegend=legend,
        customdata=[
            [escaped(path.persona), SIDES.get(path.group, escaped(path.group)), with_interval(each)]
            for path, each in zip(paths, found, strict=True)
        ],
        hovertemplate=f"<b>%{{customdata[0]}}</b> (%{{customdata[1]}})<br>{PARTS[part]}: "
        "%{customdata[2]} nats<extra></extra>",
    )


def _reach(length: float) -> float:
    # An undefined interval is drawn as a point.
    return length if length == length else 0.0


def _line(
    rows: pd.DataFrame, name: str, colour: str, dash: str, *, legend: bool = True
) -> go.Scatter:
    return go.Scatter(
        x=rows["layer"],
        y=rows["estimate"],
        mode="lines+markers",
        line={"color": colour, "width": 2.2, "dash": dash},
        marker={"size": 6, "symbol": SYMBOLS["pro"]},
        name=escaped(name),
        legendgroup=escaped(name),
        showlegend=legend,
        hovertemplate=f"{escaped(name)}, layer %{{x}}: %{{y:.2f}}<extra></extra>",
    )


def _tick(layers: pd.Series) -> int:
    return 1 if not len(layers) or layers.max() <= 16 else 4
