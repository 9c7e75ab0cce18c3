"""Figures of early decoding: layers and unions beside their nulls, and under personas."""

from typing import Final

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses._shown._early_decoding_tables import SOURCES, arm_order, has_known
from analyses._words import SIDES, TREATMENTS
from analyses.early_steering import EarlySteering
from analyses.early_tokens import EarlyTokens
from lens_personas.views import LIGHT, SYMBOLS, Theme, escaped, faded, finish, name_rows

_OUTCOMES: Final = {"answered": "Answered, by the judge", "exact": "Begins as the known answer"}
_MARKS: Final = {
    "shuffled": ("anti", "x"),
    "opener": ("other", "triangle-up"),
    "random": ("control", "diamond"),
    "sampled": ("refusal", "circle"),
    "exit": ("pro", "square"),
}
_ROWS: Final = ("prompt", "plus", "minus")
_OUTPUT: Final = "output"


def layer_bars(tokens: EarlyTokens, *, theme: Theme = LIGHT) -> go.Figure:
    """Share by the own token of each layer as bars, its controls as marks."""
    outcomes = _outcomes(tokens)
    figure = make_subplots(
        cols=len(outcomes),
        shared_yaxes=True,
        horizontal_spacing=0.05,
        subplot_titles=[_OUTCOMES[each] for each in outcomes],
    )
    for column, outcome in enumerate(outcomes, start=1):
        for source in ("early", *_MARKS):
            rows = tokens.by_layer[tokens.by_layer["source"] == source].sort_values("layer")
            trace = _layer_trace(rows, source, outcome, theme)
            trace.showlegend = column == 1
            figure.add_trace(trace, row=1, col=column)
    finish(figure, theme, height=430, barmode="overlay")
    figure.update_layout(legend={"orientation": "h", "y": -0.2}, margin_b=110)
    figure.update_xaxes(title_text="Layer", type="category")
    figure.update_yaxes(range=[-0.03, 1.06], tickformat=".0%")
    figure.update_yaxes(title_text="Share of requests", col=1)
    return figure


def union_bars(tokens: EarlyTokens, *, theme: Theme = LIGHT) -> go.Figure:
    """Share of requests reached by any try, by what was tried."""
    outcomes = _outcomes(tokens)
    figure = make_subplots(
        cols=len(outcomes),
        shared_yaxes=True,
        horizontal_spacing=0.05,
        subplot_titles=[_OUTCOMES[each] for each in outcomes],
    )
    table = tokens.unions
    names = [SOURCES[source] for source in table["source"]]
    own = [source == "early" for source in table["source"]]
    for column, outcome in enumerate(outcomes, start=1):
        bars = go.Bar(
            x=table[outcome],
            y=names,
            orientation="h",
            marker_color=[theme.side("pro") if each else theme.null for each in own],
            error_x=_errors(table, outcome, theme.muted),
            customdata=table["tries"],
            hovertemplate="%{y}: %{x:.0%}, %{customdata} tries<extra></extra>",
        )
        figure.add_trace(bars, row=1, col=column)
    finish(figure, theme, height=120 + 38 * len(table), showlegend=False)
    figure.update_xaxes(range=[0, 1.05], tickformat=".0%", title_text="Share of requests")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def persona_unions(steering: EarlySteering, *, theme: Theme = LIGHT) -> go.Figure:
    """Answered greedily, with early decoding, and with as many sampled openings, by persona."""
    names = [name for name in arm_order(steering.table) if name != "none"]
    figure, treatments = _columns(steering.table)
    for column, treatment in enumerate(treatments, start=1):
        rows = steering.table[steering.table["treatment"] == treatment]
        plain, union = rows[~rows["early"]], rows[rows["early"] & (rows["tries"] > 0)]
        traces = [
            _dots(union, "sampled", "sampled openings", "diamond", theme, grey=True),
            _dots(plain, "answered", "greedy", "circle-open", theme),
            _dots(union, "answered", "any early layer", "circle", theme),
        ]
        for trace in traces:
            trace.showlegend = column == 1
            figure.add_trace(trace, row=1, col=column)
    finish(figure, theme, height=140 + 26 * len(names))
    figure.update_layout(legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0.5})
    figure.update_layout(margin_t=72)
    figure.update_xaxes(range=[-0.03, 1.03], tickformat=".0%", title_text="Answered")
    return name_rows(figure, names)


def response_lines(steering: EarlySteering, *, theme: Theme = LIGHT) -> go.Figure:
    """Share answered by the layer that gives the first token, one line a persona."""
    table = steering.by_layer
    arms = table[table["kind"].isin(["persona", "control"])]
    figure, treatments = _columns(arms)
    layers = sorted(int(layer) for layer in table["layer"].unique() if layer >= 0)
    shown: set[str] = set()
    for column, treatment in enumerate(treatments, start=1):
        part = arms[arms["treatment"] == treatment].sort_values("kind", ascending=False)
        alone = table[table["kind"] == "baseline"]
        # With a vector only layers above it are decoded.
        alone = alone[alone["layer"].isin(part["layer"])]
        for (group, _), rows in [
            *part.groupby(["group", "persona"], sort=False),
            (("alone", ""), alone),
        ]:
            trace = _response(rows, str(group), theme)
            trace.showlegend = str(group) not in shown
            shown.add(str(group))
            figure.add_trace(trace, row=1, col=column)
    finish(figure, theme, height=430)
    figure.update_layout(legend={"orientation": "h", "y": -0.2}, margin_b=100)
    figure.update_xaxes(
        title_text="Layer of the first token",
        type="category",
        categoryorder="array",
        categoryarray=[*map(str, layers), _OUTPUT],
    )
    figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%")
    figure.update_yaxes(title_text="Answered", col=1)
    return figure


def _outcomes(tokens: EarlyTokens) -> list[str]:
    return ["answered", "exact"] if has_known(tokens) else ["answered"]


def _columns(table: pd.DataFrame) -> tuple[go.Figure, list[str]]:
    treatments = [each for each in _ROWS if (table["treatment"] == each).any()]
    figure = make_subplots(
        cols=max(len(treatments), 1),
        shared_yaxes=True,
        horizontal_spacing=0.03,
        subplot_titles=[TREATMENTS[each] for each in treatments],
    )
    return figure, treatments


def _layer_trace(
    rows: pd.DataFrame, source: str, outcome: str, theme: Theme
) -> go.Bar | go.Scatter:
    place = {"x": [str(layer) for layer in rows["layer"]], "y": rows[outcome]}
    hover = f"{SOURCES[source]}, layer %{{x}}: %{{y:.0%}}<extra></extra>"
    shared = {"name": SOURCES[source], "legendgroup": source, "hovertemplate": hover}
    if source == "early":
        colour = theme.side("pro")
        errors = _errors(rows, outcome, theme.ink)
        return go.Bar(**place, **shared, marker_color=faded(colour, 0.45), error_y=errors)
    side, symbol = _MARKS[source]
    marker = {"symbol": symbol, "size": 9, "color": theme.side(side)}
    return go.Scatter(**place, **shared, mode="markers", marker=marker)


def _errors(rows: pd.DataFrame, name: str, colour: str) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": rows[f"{name}_high"] - rows[name],
        "arrayminus": rows[name] - rows[f"{name}_low"],
        "color": colour,
        "thickness": 1.2,
        "width": 3,
    }


def _dots(
    rows: pd.DataFrame,
    value: str,
    name: str,
    symbol: str,
    theme: Theme,
    *,
    grey: bool = False,
) -> go.Scatter:
    kinds = zip(rows["kind"], rows["group"], strict=True)
    sides = ["refusal" if kind == "refusal" else str(group) for kind, group in kinds]
    low, high = ("low", "high") if value == "answered" else (f"{value}_low", f"{value}_high")
    spans = zip(rows["persona"], rows[low], rows[high], strict=True)
    return go.Scatter(
        x=rows[value],
        y=[escaped(str(persona)) for persona in rows["persona"]],
        mode="markers",
        marker={
            "symbol": symbol,
            "size": 7 if grey else 10,
            "color": theme.muted if grey else [theme.side(side) for side in sides],
        },
        name=name,
        legendgroup=name,
        hovertext=[f"{escaped(str(p))}: [{lo:.0%}, {hi:.0%}]" for p, lo, hi in spans],
        hovertemplate=f"%{{hovertext}}<br>{name} %{{x:.0%}}<extra></extra>",
    )


def _response(rows: pd.DataFrame, group: str, theme: Theme) -> go.Scatter:
    # The greedy answer stands where the last block would.
    ordered = rows.assign(at=rows["layer"].where(rows["layer"] >= 0, 10**6)).sort_values("at")
    alone = group == "alone"
    colour = theme.ink if alone else theme.side(group)
    thick = alone or group == "control"
    name = "the request alone" if alone else SIDES.get(group, group)
    who = name if alone or rows.empty else str(rows["persona"].iloc[0])
    return go.Scatter(
        x=[str(layer) if layer >= 0 else _OUTPUT for layer in ordered["layer"]],
        y=ordered["answered"],
        mode="lines+markers",
        line={
            "color": colour if thick else faded(colour, 0.55),
            "width": 2.6 if thick else 1.3,
            "dash": "dot" if alone else "solid",
        },
        marker={"symbol": SYMBOLS.get(group, "circle"), "size": 7 if thick else 5},
        name=escaped(name),
        legendgroup=escaped(name),
        hovertemplate=f"<b>{escaped(who)}</b>, %{{x}}: %{{y:.0%}}<extra></extra>",
    )
