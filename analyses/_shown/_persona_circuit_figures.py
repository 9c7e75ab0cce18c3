"""Figures of a persona's circuit: sizes, the graph, heads, direct shares, refusal as such."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses._parts._persona_circuit_edges import edge_of
from analyses._shown._persona_circuit_words import circuit_names, refusal_row, side
from analyses.persona_circuit import SHARE, PersonaCircuit
from lens_personas.interventions import ModelGraph
from lens_personas.views import LIGHT, Theme, band, circuit_diagram, escaped, faded, finish

_MOST_BARS, _MOST_EDGES = 16, 60


def size_curves(found: PersonaCircuit, *, theme: Theme = LIGHT) -> go.Figure:
    """Share kept by circuits alone and left where they are cut, by size."""
    figure = make_subplots(
        cols=2,
        horizontal_spacing=0.08,
        subplot_titles=["kept by the circuit alone", "left where it is cut"],
    )
    chosen = {False: found.size, True: found.cut_size}
    for column, (cut, size) in enumerate(chosen.items(), 1):
        rows = found.curve[found.curve["cut"] == cut]
        known = rows.dropna(subset=["random"])
        legend = column == 1
        ends = (known["size"], known["random_low"], known["random_high"])
        traces = [
            band(*ends, theme.null, name="random circuits", legend=legend),
            _line(known["size"], known["random"], "random circuits", theme, legend=False),
            _line(rows["size"], rows["estimate"], "by attribution", theme, legend=legend),
        ]
        sure = rows.dropna(subset=["low", "high"])
        colour = faded(theme.side("refusal"), 0.18)
        traces.insert(2, band(sure["size"], sure["low"], sure["high"], colour))
        for trace in traces:
            figure.add_trace(trace, row=1, col=column)
        upright = {"x": [size, size], "y": [0, 1.05]}
        figure.add_trace(
            go.Scatter(
                **upright,
                mode="lines",
                line={"color": theme.muted, "width": 1, "dash": "dash"},
                hoverinfo="skip",
                showlegend=False,
            ),
            row=1,
            col=column,
        )
        wanted = 1.0 - SHARE if cut else SHARE
        figure.add_hline(
            y=wanted, row=1, col=column, line={"color": theme.muted, "width": 1, "dash": "dot"}
        )
    finish(figure, theme, height=380)
    figure.update_layout(legend={"orientation": "h", "y": -0.22}, margin_b=90)
    figure.update_xaxes(type="log", title_text="edges", dtick="D2")
    figure.update_yaxes(range=[-0.08, 1.12], tickformat=".0%")
    return figure


def diagram(found: PersonaCircuit, *, theme: Theme = LIGHT) -> go.Figure:
    """The strongest edges of the sufficient circuit; what the necessary one reads is marked."""
    every = {edge_of(row["source"], row["target"]): row for row in _rows(found.edges)}
    sources = [edge.source for edge in every]
    graph = ModelGraph(
        n_layers=1 + max(source.layer for source in sources),
        n_heads=1 + max(source.head for source in sources),
    )
    view = circuit_diagram(
        {edge: float(row["score"]) for edge, row in every.items() if row["sufficient"]},
        graph=graph,
        unit="nats of the difference, by attribution",
        highlight={edge.source for edge, row in every.items() if row["necessary"]},
        most=_MOST_EDGES,
    )
    assert view.figure is not None
    return view.figure(theme)


def head_maps(found: PersonaCircuit, *, theme: Theme = LIGHT) -> go.Figure:
    """Attention to what is said of the user, and what is carried from there, by head."""
    kinds = (("mass_difference", "mass_p"), ("written", "written_p"))
    figure = make_subplots(
        cols=2,
        horizontal_spacing=0.18,
        subplot_titles=["attention, less the control's", "carried along refusal"],
    )
    for column, (name, p) in enumerate(kinds, 1):
        values = found.heads.pivot_table(name, index="layer", columns="head")
        dots = found.heads.pivot_table(p, index="layer", columns="head") < 0.05
        farthest = float(values.abs().to_numpy().max()) or 1.0
        figure.add_trace(
            go.Heatmap(
                z=values.to_numpy(),
                x=[str(head) for head in values.columns],
                y=[str(layer) for layer in values.index],
                zmin=-farthest,
                zmax=farthest,
                colorscale=[list(stop) for stop in theme.diverging],
                text=[["•" if dot else "" for dot in row] for row in dots.to_numpy()],
                texttemplate="%{text}",
                textfont={"color": theme.ink, "size": 16},
                colorbar={"x": 0.42 if column == 1 else 1.01, "thickness": 12, "outlinewidth": 0},
                hovertemplate="head %{y}.%{x}: %{z:.3f}<extra></extra>",
            ),
            row=1,
            col=column,
        )
    finish(figure, theme, height=max(300, 90 + 30 * found.heads["layer"].nunique()))
    figure.update_xaxes(title_text="head", type="category")
    figure.update_yaxes(title_text="layer", type="category")
    return figure


def direct_bars(found: PersonaCircuit, *, theme: Theme = LIGHT) -> go.Figure:
    """Direct shares of the parts that write most of the difference."""
    rows = found.components.head(_MOST_BARS)
    sure = rows["p"] < 0.05
    colours = [theme.side("anti" if value > 0 else "pro") for value in rows["estimate"]]
    figure = go.Figure(
        go.Bar(
            x=rows["estimate"],
            y=[escaped(str(name)) for name in rows["component"]],
            orientation="h",
            marker={
                "color": [c if s else theme.paper for c, s in zip(colours, sure, strict=True)],
                "line": {"color": colours, "width": 1.5},
            },
            error_x={
                "type": "data",
                "array": (rows["high"] - rows["estimate"]).fillna(0.0),
                "arrayminus": (rows["estimate"] - rows["low"]).fillna(0.0),
                "color": theme.muted,
                "thickness": 1.3,
                "width": 0,
            },
            hovertemplate="%{y}: %{x:+.2f} nats<extra></extra>",
            showlegend=False,
        )
    )
    finish(figure, theme, height=110 + 24 * len(rows))
    figure.add_vline(x=0, line={"color": theme.muted, "width": 1})
    figure.update_xaxes(title_text="nats of refusal log-odds")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def refusal_dots(found: PersonaCircuit, *, theme: Theme = LIGHT) -> go.Figure:
    """Refusal score by who asks, whole and with the circuit cut."""
    names = circuit_names(found)
    looks = {each: (f"{side(each)}, harmful", each) for each in found.sides}
    looks["harmless"] = ("harmless requests", "control")
    symbols = dict(zip(looks, ("square", "circle", "diamond"), strict=True))
    figure = go.Figure()
    for measure, (label, group) in looks.items():
        known = {
            name: each
            for circuit, name in names.items()
            if (each := refusal_row(found, circuit, measure)) is not None
        }
        figure.add_trace(
            go.Scatter(
                x=list(known),
                y=[each.estimate for each in known.values()],
                mode="markers",
                marker={"color": theme.side(group), "symbol": symbols[measure], "size": 10},
                error_y={
                    "type": "data",
                    "array": [each.high - each.estimate for each in known.values()],
                    "arrayminus": [each.estimate - each.low for each in known.values()],
                    "color": theme.side(group),
                    "width": 0,
                },
                name=escaped(label),
                hovertemplate=f"{escaped(label)}<br>%{{x}}: %{{y:.2f}} nats<extra></extra>",
            )
        )
    finish(figure, theme, height=360)
    figure.update_layout(legend={"orientation": "h", "y": -0.16}, margin_b=80)
    figure.update_yaxes(title_text="refusal score (nats)")
    figure.add_hline(y=0, line={"color": theme.muted, "width": 1, "dash": "dot"})
    return figure


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in table.to_dict(orient="records")]


def _line(x: pd.Series, y: pd.Series, name: str, theme: Theme, *, legend: bool) -> go.Scatter:
    random = name.startswith("random")
    colour = theme.side("control" if random else "refusal")
    return go.Scatter(
        x=x,
        y=y,
        mode="lines" if random else "lines+markers",
        line={"color": colour, "width": 1.4 if random else 2.2, "dash": "dot" if random else None},
        name=name,
        legendgroup=name,
        showlegend=legend,
        hovertemplate=f"{name}, %{{x}} edges: %{{y:.0%}}<extra></extra>",
    )
