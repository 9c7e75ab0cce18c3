"""A circuit as a plotly figure, for print."""

from collections.abc import Iterator

import plotly.graph_objects as go

from lens_personas.interventions import Edge, Node
from lens_personas.views._circuit_layout import CircuitLayout, Curve
from lens_personas.views._circuit_scores import CircuitScores
from lens_personas.views._looks import looks
from lens_personas.views._theme import LIGHT, Theme, escaped, finish, note

_POINTS = 14


def circuit_figure(scores: CircuitScores, layout: CircuitLayout, theme: Theme = LIGHT) -> go.Figure:
    """The diagram at the same places."""
    width, height = layout.size
    figure = go.Figure([*_edges(scores, layout, theme), *_heads(scores, layout, theme)])
    finish(figure, theme, height=height, width=width)
    figure.update_layout(
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        legend={"orientation": "h", "x": 0.01, "y": 0.99, "yanchor": "top"},
    )
    bare = {"showgrid": False, "showticklabels": False, "linecolor": theme.paper}
    figure.update_xaxes(range=[0, width], **bare)
    figure.update_yaxes(range=[height, 0], **bare)
    _boxes(figure, scores, layout, theme)
    left, top, across, tall = layout.stream
    figure.add_shape(
        type="rect",
        xref="x",
        yref="y",
        x0=left,
        x1=left + across,
        y0=top,
        y1=top + tall,
        fillcolor=theme.null,
        opacity=0.3,
        line_width=0,
        layer="below",
    )
    return figure


def _edges(scores: CircuitScores, layout: CircuitLayout, theme: Theme) -> Iterator[go.Scatter]:
    known, named = looks(theme), set[bool]()
    for edge, score in reversed(list(scores.edges.items())):
        x, y = zip(*_points(layout.ways[edge]), strict=True)
        rises = score >= 0
        yield go.Scatter(
            x=x,
            y=y,
            mode="lines",
            line={
                "color": known["up" if rises else "down"]["stroke"],
                "width": scores.widths[edge],
                "dash": "solid" if rises else "dash",
            },
            opacity=0.8,
            name=f"{'raises' if rises else 'lowers'}: {escaped(scores.unit)}",
            legendgroup=str(rises),
            showlegend=rises not in named,
            hovertext=escaped(f"{_name(edge)}: {scores.told(edge)}"),
            hoverinfo="text",
        )
        named.add(rises)


def _heads(scores: CircuitScores, layout: CircuitLayout, theme: Theme) -> Iterator[go.Scatter]:
    known = looks(theme)
    for look in ("head", "idle"):
        nodes = [n for n in layout.places if n.kind == "head" and _look(n, scores) == look]
        yield go.Scatter(
            x=[layout.places[node].x for node in nodes],
            y=[layout.places[node].y for node in nodes],
            mode="markers+text",
            marker={
                "symbol": "circle",
                "size": 27,
                "color": theme.paper,
                "line": {"color": known[f"node-{look}"]["stroke"], "width": 2},
            },
            text=[str(node.head) for node in nodes],
            textfont={"color": known[f"name-{look}"]["fill"], "size": 11},
            showlegend=False,
            hovertext=[scores.describe(node) if scores.has(node) else node.name for node in nodes],
            hoverinfo="text",
        )


def _boxes(figure: go.Figure, scores: CircuitScores, layout: CircuitLayout, theme: Theme) -> None:
    """Draw every part that is no head, and write its name."""
    known = looks(theme)
    for node, place in layout.places.items():
        if node.kind == "head":
            continue
        is_attention, look = node.kind == "attn", _look(node, scores)
        half = 20 if is_attention else 14
        figure.add_shape(
            type="rect",
            xref="x",
            yref="y",
            x0=place.x - place.width / 2,
            x1=place.x + place.width / 2,
            y0=place.y - half,
            y1=place.y + half,
            fillcolor=theme.null if is_attention else theme.paper,
            opacity=0.4 if is_attention else 1.0,
            line={"color": known[f"node-{look}"]["stroke"], "width": 0 if is_attention else 2},
            layer="below" if is_attention else "above",
        )
        x = place.x - place.width / 2 - 8 if is_attention else place.x
        near = {"x": x, "y": place.y, "xref": "x", "yref": "y"}
        note(figure, theme, node.name, **near, xanchor="right" if is_attention else "center")


def _look(node: Node, scores: CircuitScores) -> str:
    if node.kind in ("embed", "logits") or (node.kind != "attn" and scores.has(node)):
        return node.kind
    return "idle"


def _name(edge: Edge) -> str:
    return edge.name.replace("->", "→")


def _points(curves: tuple[Curve, ...]) -> list[tuple[float, float]]:
    return [curve.at(k / _POINTS) for curve in curves for k in range(_POINTS + 1)]
