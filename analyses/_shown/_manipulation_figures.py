"""Figures of the manipulation check: what each persona changes, and at which layers."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses.manipulation_check import ManipulationCheck, PersonaCheck
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

_GROUPS = ("pro", "anti", "other", "control")
_WAYS = (("plus", "+ vector"), ("minus", "− vector"), ("text", "as text"))
_SCOPES = {"all": "All positions", "user": "The user's words"}


def check_bars(result: ManipulationCheck, *, theme: Theme = LIGHT) -> go.Figure:
    """Corrected change by persona under +v, −v and the text, with the band of random directions."""
    ordered = sorted(result.personas, key=lambda each: _GROUPS.index(each.group))
    labels = _labels(ordered)
    figure = make_subplots(
        cols=2,
        shared_yaxes=True,
        horizontal_spacing=0.04,
        column_widths=[0.6, 0.4],
        subplot_titles=["By its vector", "As text"],
    )
    for column, way, name in ((1, "plus", "+ vector"), (1, "minus", "− vector"), (2, "text", "")):
        for group in _GROUPS:
            rows = [at for at, each in enumerate(ordered) if each.group == group]
            if rows:
                bars = _bars(ordered, labels, rows, way, theme)
                figure.add_trace(bars, row=1, col=column)
        if name:
            figure.add_trace(_key(way, name, theme), row=1, col=column)
    for column, ends in ((1, result.random_range), (2, result.text_range)):
        if ends is not None:
            low, high = (-max(map(abs, ends)), max(map(abs, ends))) if column == 1 else ends
            figure.add_vrect(
                x0=low, x1=high, fillcolor=theme.null, opacity=0.55, line_width=0,
                layer="below", row=1, col=column,
            )  # fmt: skip
    finish(figure, theme, height=max(300, 150 + 22 * len(ordered)), barmode="overlay")
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"}, margin_t=70)
    figure.update_xaxes(
        title_text="Corrected change (nats)", zeroline=True, zerolinecolor=theme.muted
    )
    figure.update_yaxes(
        type="category", categoryorder="array", categoryarray=labels[::-1], showgrid=False
    )
    return figure


def _labels(ordered: list[PersonaCheck]) -> list[str]:
    """One label a persona, none twice: cut names may be alike."""
    return [
        f"{at + 1} {short(each.persona)} {'✓' if each.vector_gate else '✗'}"
        for at, each in enumerate(ordered)
    ]


def _bars(
    ordered: list[PersonaCheck], labels: list[str], rows: list[int], way: str, theme: Theme
) -> go.Bar:
    found: list[Interval] = [getattr(ordered[at], way) for at in rows]
    group = ordered[rows[0]].group
    colour = theme.side(group)
    named = dict(_WAYS)[way]
    gates = ["text_gate" if way == "text" else "vector_gate" for _ in rows]
    passed = [getattr(ordered[at], gate) for at, gate in zip(rows, gates, strict=True)]
    return go.Bar(
        x=[each.estimate for each in found],
        y=[labels[at] for at in rows],
        orientation="h",
        marker={
            "color": colour if way != "minus" else theme.paper,
            "line": {"color": colour, "width": 1.2},
            "opacity": 0.85,
        },
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [each.high - each.estimate for each in found],
            "arrayminus": [each.estimate - each.low for each in found],
            "color": theme.ink,
            "thickness": 1.1,
            "width": 2,
        },
        showlegend=False,
        customdata=[
            [escaped(ordered[at].persona), each.low, each.high, "passed" if ok else "failed"]
            for at, each, ok in zip(rows, found, passed, strict=True)
        ],
        hovertemplate=f"<b>%{{customdata[0]}}</b>, {named}: %{{x:.2f}} nats "
        "[%{customdata[1]:.2f}, %{customdata[2]:.2f}], gate %{customdata[3]}<extra></extra>",
    )


def _key(way: str, name: str, theme: Theme) -> go.Bar:
    """A legend entry: filled for added, hollow for subtracted."""
    fill = theme.muted if way == "plus" else theme.paper
    return go.Bar(
        x=[None],
        y=[None],
        orientation="h",
        name=name,
        marker={"color": fill, "line": {"color": theme.muted, "width": 1.2}},
        hoverinfo="skip",
    )


def check_by_layer(result: ManipulationCheck, *, theme: Theme = LIGHT) -> go.Figure:
    """Mean corrected change by layer under +v and −v, with all positions or the user's steered."""
    table = result.by_layer
    figure = make_subplots(
        cols=2, shared_yaxes=True, horizontal_spacing=0.05, subplot_titles=list(_SCOPES.values())
    )
    looks = {
        "personas": ("personas with a side", theme.side("pro"), "circle"),
        "control": (short(result.control), theme.side("control"), SYMBOLS["control"]),
        "random": ("random directions", theme.muted, "x"),
    }
    for column, scope in enumerate(_SCOPES, start=1):
        for who, (name, colour, symbol) in looks.items():
            for treatment, dash in (("plus", "solid"), ("minus", "dot")):
                rows = table[
                    (table["scope"] == scope)
                    & (table["who"] == who)
                    & (table["treatment"] == treatment)
                ]
                label = f"{name}, {dict(_WAYS)[treatment]}"
                if who == "personas":
                    figure.add_trace(layer_band(rows, colour, 0.18), row=1, col=column)
                line = _line(rows, label, colour, dash, symbol)
                figure.add_trace(line.update(showlegend=column == 1), row=1, col=column)
    finish(figure, theme, height=400)
    figure.update_layout(legend={"orientation": "h", "y": -0.2}, margin_b=110)
    figure.update_xaxes(title_text="Layer", dtick=1 if table["layer"].max() <= 16 else 4)
    figure.update_yaxes(title_text="Corrected change (nats)", col=1)
    figure.add_hline(y=0, line={"color": theme.muted, "width": 1})
    figure.add_vline(x=result.layer, line={"color": theme.rule, "width": 1.5, "dash": "dash"})
    note(figure, theme, "gate", x=result.layer, y=1.0, yref="paper", xref="x", yanchor="bottom")
    return figure


def _line(rows: pd.DataFrame, name: str, colour: str, dash: str, symbol: str) -> go.Scatter:
    return go.Scatter(
        x=rows["layer"],
        y=rows["estimate"],
        mode="lines+markers",
        line={"color": colour, "width": 2, "dash": dash},
        marker={"size": 6, "symbol": symbol},
        name=name,
        legendgroup=name,
        hovertemplate=f"{name}, layer %{{x}}: %{{y:.2f}} nats<extra></extra>",
    )
