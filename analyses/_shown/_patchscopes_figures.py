"""Figures of Patchscopes: readings by layer, personas beside the control, prompts compared."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses._scope_types import CharityEffect, Place
from analyses._words import SIDES, TREATMENTS
from analyses.patchscopes import PatchscopeReadings
from lens_personas.views import LIGHT, SYMBOLS, Theme, escaped, faded, finish, short

PLACES: dict[Place, str] = {
    "direct": "asked outright",
    "last": "last token's state",
    "before": "state before the request",
}
"""Where a reading comes from, in words."""
_ORDER = ("pro", "anti", "other", "control", "null")
_NULLS = {"prompt": "neutral texts", "plus": "random directions", "minus": "random directions"}


def readings_by_layer(found: PatchscopeReadings, *, theme: Theme = LIGHT) -> go.Figure:
    """Score minus that of the request alone, by source layer, with bands over requests."""
    table = found.by_layer[found.by_layer["place"] != "direct"]
    places = [place for place in PLACES if place in set(table["place"])]
    treatments = [name for name in TREATMENTS if name in set(table["treatment"])]
    figure = make_subplots(
        rows=max(len(places), 1),
        cols=max(len(treatments), 1),
        horizontal_spacing=0.05,
        vertical_spacing=0.14,
        subplot_titles=[f"{PLACES[p]}, {TREATMENTS[t]}" for p in places for t in treatments],
    )
    named: set[str] = set()
    for row, place in enumerate(places, 1):
        for column, treatment in enumerate(treatments, 1):
            here = table[(table["place"] == place) & (table["treatment"] == treatment)]
            for side in _ORDER:
                rows = here[here["group"] == side].sort_values("source_layer")
                if rows.empty:
                    continue
                for trace in _curve(rows, side, treatment, theme, legend=side not in named):
                    figure.add_trace(trace, row=row, col=column)
                named.add(side)
    finish(figure, theme, height=130 + 270 * max(len(places), 1))
    figure.update_layout(legend={"orientation": "h", "y": -0.12}, margin_b=90)
    figure.update_xaxes(title_text="Source layer")
    figure.update_yaxes(title_text="Change of score", col=1)
    return figure


def _curve(
    rows: pd.DataFrame, side: str, treatment: str, theme: Theme, *, legend: bool
) -> tuple[go.Scatter, go.Scatter]:
    colour = theme.muted if side == "null" else theme.side(side)
    name = "nulls" if side == "null" else SIDES.get(side, short(side))
    layers = rows["source_layer"]
    band = go.Scatter(
        x=[*layers, *layers[::-1]],
        y=[*rows["change_low"], *rows["change_high"][::-1]],
        fill="toself",
        fillcolor=faded(colour, 0.18),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
    )
    told = _NULLS.get(treatment, "nulls") if side == "null" else name
    line = go.Scatter(
        x=layers,
        y=rows["change"],
        mode="lines+markers",
        line={"color": colour, "width": 2.2, "dash": "dash" if side == "null" else "solid"},
        marker={"size": 6, "symbol": SYMBOLS.get(side, "x")},
        name=name,
        legendgroup=side,
        showlegend=legend,
        hovertemplate=f"{told}, layer %{{x}}: %{{y:+.3f}}<extra></extra>",
    )
    return band, line


def persona_dots(found: PatchscopeReadings, *, theme: Theme = LIGHT) -> go.Figure:
    """Change of the log-odds by persona, as text, with interval, the control's beside."""
    places = [p for p in PLACES if any(e.place == p for e in _texts(found))]
    figure = make_subplots(
        cols=max(len(places), 1),
        shared_yaxes=True,
        horizontal_spacing=0.04,
        subplot_titles=[PLACES[place] for place in places],
    )
    order = _names(found)
    for column, place in enumerate(places, 1):
        for effect in _texts(found):
            if effect.place == place:
                figure.add_trace(_dot(effect, theme), row=1, col=column)
        control = next((e for e in _texts(found) if (e.place, e.kind) == (place, "control")), None)
        if control is not None and pd.notna(control.change.estimate):
            colour = theme.side("control")
            figure.add_vline(
                x=control.change.estimate, line={"color": colour, "dash": "dot"}, row=1, col=column
            )
    finish(figure, theme, height=160 + 20 * len(order))
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title_text="Change of log-odds (nats)")
    figure.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=[escaped(short(name)) for name in order[::-1]],
    )
    return figure


def _texts(found: PatchscopeReadings) -> list[CharityEffect]:
    return [e for e in found.effects if e.treatment == "prompt"]


def _names(found: PatchscopeReadings) -> list[str]:
    """Personas from the most charitable reading down, then nulls."""
    first = {e.persona: e for e in reversed(_texts(found))}
    ordered = sorted(
        first.values(),
        key=lambda e: (
            e.kind == "null",
            -e.change.estimate if e.change.estimate == e.change.estimate else 0.0,
        ),
    )
    return [effect.persona for effect in ordered]


def _dot(effect: CharityEffect, theme: Theme) -> go.Scatter:
    side = "null" if effect.kind == "null" else effect.group
    change = effect.change
    known = change.low == change.low and change.high == change.high
    return go.Scatter(
        x=[change.estimate],
        y=[escaped(short(effect.persona))],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [change.high - change.estimate if known else 0.0],
            "arrayminus": [change.estimate - change.low if known else 0.0],
            "thickness": 1.6,
            "width": 0,
        },
        mode="markers",
        marker={
            "size": 9,
            "color": theme.muted if side == "null" else theme.side(side),
            "symbol": SYMBOLS.get(side, "x"),
        },
        name=escaped(short(effect.persona)),
        hovertemplate=f"<b>{escaped(effect.persona)}</b>: %{{x:+.2f}} nats<extra></extra>",
    )


def layer_heatmap(found: PatchscopeReadings, *, theme: Theme = LIGHT) -> go.Figure:
    """Gap between personas and the control by source and target layer, on the layer split."""
    settings = list(found.settings)
    figure = make_subplots(
        cols=max(len(settings), 1),
        horizontal_spacing=0.1,
        subplot_titles=[
            f"{PLACES[s.place]}, into {short(s.target)}, ×{s.scale:g}" for s in settings
        ],
    )
    for column, setting in enumerate(settings, 1):
        sweep = found.sweep
        rows = sweep[
            (sweep["place"] == setting.place)
            & (sweep["target"] == setting.target)
            & (sweep["scale"] == setting.scale)
        ]
        wide = rows.pivot(index="target_layer", columns="source_layer", values="gap")
        figure.add_trace(
            go.Heatmap(
                z=wide.to_numpy(float),
                x=[str(layer) for layer in wide.columns],
                y=[str(layer) for layer in wide.index],
                coloraxis="coloraxis",
                xgap=1,
                ygap=1,
                hovertemplate="source %{x}, target %{y}: %{z:.3f}<extra></extra>",
            ),
            row=1,
            col=column,
        )
    finish(figure, theme, height=320)
    figure.update_layout(
        coloraxis={
            "colorscale": [list(stop) for stop in theme.sequential],
            "cmin": 0,
            "colorbar": {"title": {"text": "gap"}, "thickness": 12, "outlinewidth": 0},
        }
    )
    figure.update_xaxes(title_text="Source layer", type="category", showgrid=False)
    figure.update_yaxes(type="category", showgrid=False)
    figure.update_yaxes(title_text="Target layer", col=1)
    return figure


def random_states(found: PatchscopeReadings, *, theme: Theme = LIGHT) -> go.Figure:
    """Scores under persona texts by source layer, on top of those of random states."""
    figure = go.Figure()
    for kind, rows in found.random_states.groupby("kind", sort=False):
        ordered = rows.sort_values("source_layer")
        layers = ordered["source_layer"]
        named = "random state" if kind == "state" else "mean plus random deviation"
        figure.add_trace(
            go.Scatter(
                x=[*layers, *layers[::-1]],
                y=[*ordered["low"], *ordered["high"][::-1]],
                fill="toself",
                fillcolor=faded(theme.muted if kind == "state" else theme.side("other"), 0.16),
                line={"width": 0},
                mode="lines",
                name=f"95 % of {named}s",
                hoverinfo="skip",
            )
        )
    table = found.by_layer
    here = table[(table["place"] == "last") & (table["treatment"] == "prompt")]
    for side in ("pro", "anti", "other", "control", "baseline"):
        rows = here[here["group"] == side].sort_values("source_layer")
        if rows.empty:
            continue
        name = "request alone" if side == "baseline" else SIDES[side]
        figure.add_trace(
            go.Scatter(
                x=rows["source_layer"],
                y=rows["score"],
                mode="lines+markers",
                line={"color": theme.ink if side == "baseline" else theme.side(side), "width": 2.2},
                marker={"size": 6, "symbol": SYMBOLS.get(side, "x")},
                name=name,
                hovertemplate=f"{name}, layer %{{x}}: %{{y:.3f}}<extra></extra>",
            )
        )
    finish(figure, theme, height=400)
    figure.update_layout(legend={"orientation": "h", "y": -0.2}, margin_b=100)
    figure.update_xaxes(title_text="Source layer")
    figure.update_yaxes(title_text="Score (−1 bad, 1 good)")
    return figure
