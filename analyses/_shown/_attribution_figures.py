"""Figures of attribution: foretold against real, and what the first edges carry."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses._attribution_types import ForetoldBy, PersonaAttribution
from analyses._patching_types import PatchKind
from analyses._shown._records import records
from analyses._words import number, span
from lens_personas.views import LIGHT, Theme, band, escaped, faded, finish, short

METHOD_NAMES: dict[ForetoldBy, str] = {
    "plain": "gradient at the second user's run",
    "integrated": "gradients on the way to the first user's run",
}
"""Where gradients are taken, in words."""

SHORT_KINDS: dict[PatchKind, str] = {
    "resid_pre": "residual",
    "attn_out": "attention",
    "mlp_out": "MLP",
    "head": "heads",
    "head_at": "heads at one position",
}
"""What is patched, in a word."""

_LOOK: dict[ForetoldBy, tuple[str, str]] = {"plain": ("anti", "x"), "integrated": ("pro", "circle")}


def foretold_cells(found: PersonaAttribution, *, theme: Theme = LIGHT) -> go.Figure:
    """Real change of every cell against the one foretold, a panel a kind, both methods."""
    kinds = list(dict.fromkeys(each.kind for each in found.agreements))
    figure = make_subplots(
        rows=(len(kinds) + 1) // 2,
        cols=min(2, len(kinds)),
        vertical_spacing=0.14,
        horizontal_spacing=0.08,
        subplot_titles=[_title(found, kind) for kind in kinds],
    )
    for at, kind in enumerate(kinds):
        place = {"row": at // 2 + 1, "col": at % 2 + 1}
        here = found.by_cell[found.by_cell["kind"] == kind]
        if here.empty:
            continue
        ends = [float(each(here[["predicted", "patched"]].to_numpy())) for each in (np.min, np.max)]
        line = {"color": theme.muted, "width": 1, "dash": "dot"}
        figure.add_trace(
            go.Scatter(x=ends, y=ends, mode="lines", line=line, showlegend=False, hoverinfo="skip"),
            **place,
        )
        for method in _LOOK:
            rows = here[here["method"] == method]
            figure.add_trace(_cells(rows, method, theme, legend=at == 0), **place)
    finish(figure, theme, height=90 + 330 * ((len(kinds) + 1) // 2))
    figure.update_layout(legend={"orientation": "h", "y": -0.12}, margin_b=90)
    figure.update_xaxes(title_text="foretold (nats)")
    figure.update_yaxes(title_text="patched (nats)", col=1)
    return figure


def faithfulness(found: PersonaAttribution, *, theme: Theme = LIGHT) -> go.Figure:
    """Share of the difference that the first edges carry, and that is left without them."""
    figure = make_subplots(
        cols=2,
        horizontal_spacing=0.09,
        subplot_titles=["these edges alone", "all edges but these"],
    )
    table = found.curve.table() if found.curve is not None else pd.DataFrame()
    for column, what in enumerate(("faithfulness", "left"), 1):
        if table.empty:
            continue
        for trace in _curve(table, what, theme, legend=column == 1):
            figure.add_trace(trace, row=1, col=column)
    finish(figure, theme, height=390)
    figure.update_layout(legend={"orientation": "h", "y": -0.2}, margin_b=90)
    figure.update_xaxes(title_text=f"Edges, of {found.n_edges}", type="log", dtick=np.log10(2))
    if len(table):
        # Powers of two alone: labels of the sizes between them would run into each other.
        shown = [size for size in table["size"].tolist() if size & (size - 1) == 0]
        figure.update_xaxes(tickvals=shown, ticktext=[str(size) for size in shown], tickangle=0)
    figure.update_yaxes(title_text="Share of the difference", tickformat=".0%", col=1)
    figure.update_yaxes(tickformat=".0%", col=2)
    for level in (0.0, 1.0):
        figure.add_hline(y=level, line={"color": theme.muted, "width": 1, "dash": "dot"})
    return figure


def top_edges(found: PersonaAttribution, *, theme: Theme = LIGHT) -> go.Figure:
    """The edges foretold to carry most, with intervals over requests."""
    table = found.edges
    names = [f"{each.source} → {each.target}" for each in records(table)]
    at = list(range(len(names)))
    figure = go.Figure(
        go.Scatter(
            x=table["estimate"],
            y=at,
            mode="markers",
            error_x={
                "type": "data",
                "symmetric": False,
                "array": table["high"] - table["estimate"],
                "arrayminus": table["estimate"] - table["low"],
                "color": theme.side("anti"),
                "thickness": 1.5,
            },
            marker={
                "size": 9,
                "color": [
                    theme.side("anti") if each >= 0 else theme.side("pro")
                    for each in table["estimate"]
                ],
                "symbol": ["square" if each >= 0 else "circle" for each in table["estimate"]],
            },
            hovertext=[
                f"{escaped(name)}<br>{number(each.estimate, signed=True)} "
                f"{span(each.low, each.high)} nats, {100 * each.share:.0f} % of the difference"
                for name, each in zip(names, records(table), strict=True)
            ],
            hoverinfo="text",
            showlegend=False,
        )
    )
    finish(figure, theme, height=120 + 24 * max(len(names), 1))
    figure.update_yaxes(
        tickvals=at,
        ticktext=[short(name, 34) for name in names],
        range=[len(names) - 0.4, -0.6],
        showgrid=False,
    )
    figure.update_xaxes(title_text="foretold to carry (nats towards the first user)")
    figure.add_vline(x=0, line={"color": theme.muted, "width": 1, "dash": "dot"})
    return figure


def _title(found: PersonaAttribution, kind: PatchKind) -> str:
    ranks = ", ".join(
        f"{each.method} {number(each.spearman.estimate)}"
        for each in found.agreements
        if each.kind == kind
    )
    return f"{SHORT_KINDS[kind]}: ρ {ranks}"


def _cells(rows: pd.DataFrame, method: ForetoldBy, theme: Theme, *, legend: bool) -> go.Scatter:
    side, symbol = _LOOK[method]
    return go.Scatter(
        x=rows["predicted"],
        y=rows["patched"],
        mode="markers",
        marker={"size": 7, "symbol": symbol, "color": faded(theme.side(side), 0.75)},
        name=METHOD_NAMES[method],
        legendgroup=method,
        showlegend=legend,
        hovertext=[
            f"layer {each.layer}{f', head {each.head}' if each.head >= 0 else ''}"
            f"{f', {each.place}' if each.place else ''} {escaped(each.token)}"
            f"<br>foretold {number(each.predicted, signed=True)}, patched "
            f"{number(each.patched, signed=True)} nats"
            for each in records(rows)
        ],
        hoverinfo="text",
    )


def _curve(table: pd.DataFrame, what: str, theme: Theme, *, legend: bool) -> tuple[go.Scatter, ...]:
    colour, sizes = theme.side("pro"), table["size"]
    known = table.dropna(subset=[f"{what}_low", f"{what}_high"])
    random = table.dropna(subset=[f"{what}_random"])
    lines = [
        go.Scatter(
            x=x,
            y=y,
            mode="lines+markers",
            line={"color": shade, "width": 2.2, "dash": dash},
            marker={"size": 7, "symbol": symbol},
            name=name,
            legendgroup=name,
            showlegend=legend,
            hovertemplate=f"{name}, %{{x}} edges: %{{y:.0%}}<extra></extra>",
        )
        for x, y, shade, dash, symbol, name in (
            (sizes, table[what], colour, "solid", "circle", "the edges foretold first"),
            (random["size"], random[f"{what}_random"], theme.muted, "dash", "x", "random paths"),
        )
    ]
    return (
        band(
            random["size"],
            random[f"{what}_random_low"],
            random[f"{what}_random_high"],
            theme.null,
        ),
        band(known["size"], known[f"{what}_low"], known[f"{what}_high"], faded(colour, 0.18)),
        *lines,
    )
