"""Where the parts and edges of a circuit are drawn: the embedding below, the logits on top."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple

from lens_personas.interventions import Edge, ModelGraph, Node

_ROW: Final = 70.0
_TOP: Final = 84.0
_LEFT: Final = 74.0
_HEAD: Final = 42.0
"""Room of a head."""
_LANE: Final = 84.0
"""Least width of the residual stream, through which long edges run."""
_BETWEEN: Final = 1.5
"""Room between two edges side by side."""
_HALF: Final = 14.0
"""Half the height of a part."""
_MOST_LAYERS, _MOST_HEADS = 12, 12
"""Up to so many, those are drawn too that no edge has."""


class Place(NamedTuple):
    """Where a part is, in pixels."""

    x: float
    """Middle."""
    y: float
    """Middle."""
    width: float
    """From side to side."""


class Curve(NamedTuple):
    """A cubic Bézier curve; a straight line is one too."""

    start: tuple[float, float]
    """First point."""
    first: tuple[float, float]
    """First handle."""
    second: tuple[float, float]
    """Second handle."""
    stop: tuple[float, float]
    """Last point."""

    def at(self, share: float) -> tuple[float, float]:
        """Point on the curve, from 0 to 1."""
        rest = 1.0 - share
        weights = (rest**3, 3 * rest**2 * share, 3 * rest * share**2, share**3)
        x, y = (sum(w * p[side] for w, p in zip(weights, self, strict=True)) for side in (0, 1))
        return x, y


@dataclass(frozen=True, kw_only=True)
class CircuitLayout:
    """Places of a circuit's parts and ways of its edges."""

    places: Mapping[Node, Place]
    """Parts that are drawn, ``attn`` (the box around a layer's heads) among them."""
    ways: Mapping[Edge, tuple[Curve, ...]]
    """Each edge, from its source up to its target."""
    stream: tuple[float, float, float, float]
    """Left, top, width and height of the residual stream."""
    size: tuple[int, int]
    """Width and height of the picture."""


def circuit_layout(widths: Mapping[Edge, float], graph: ModelGraph) -> CircuitLayout:
    """A place for every part, a way for every edge.

    Args:
        widths: Pixels across each edge.
        graph: Parts of the model.
    """
    rows, heads = _rows(widths, graph), _heads(widths, graph)
    most = max([1, *(len(heads[layer]) for kind, layer in rows if kind == "attn")])
    lane = _LEFT + most * _HEAD + 26
    across = max(_LANE, 24 + sum(width + _BETWEEN for width in widths.values()))
    middle, right = lane + across / 2, lane + across + 56
    bottom = _TOP + (len(rows) + 1) * _ROW
    places = {Node("embed"): Place(middle, bottom, 66), Node("logits"): Place(middle, _TOP, 62)}
    for number, (kind, layer) in enumerate(rows):
        y = bottom - (number + 1) * _ROW
        if kind == "mlp":
            places[Node("mlp", layer)] = Place(right, y, 64)
            continue
        # At the right end, near the stream.
        width = max(len(heads[layer]), 1) * _HEAD
        first = _LEFT + most * _HEAD - width + _HEAD / 2
        for at, head in enumerate(heads[layer]):
            places[Node("head", layer, head)] = Place(first + at * _HEAD, y, 2 * _HALF)
        places[Node("attn", layer)] = Place(_LEFT + most * _HEAD - width / 2, y, width)
    return CircuitLayout(
        places=places,
        ways=_ways(widths, places, middle),
        stream=(lane, _TOP, across, bottom - _TOP),
        size=(round(right + 56), round(bottom + 34)),
    )


def _rows(edges: Iterable[Edge], graph: ModelGraph) -> list[tuple[str, int]]:
    """Attention and MLPs that are drawn, from the bottom."""
    used = {("mlp" if n.kind == "mlp" else "attn", n.layer) for edge in edges for n in edge}
    whole = graph.n_layers <= _MOST_LAYERS
    every = [(kind, layer) for layer in range(graph.n_layers) for kind in ("attn", "mlp")]
    return [row for row in every if whole or row in used]


def _heads(edges: Iterable[Edge], graph: ModelGraph) -> dict[int, list[int]]:
    used = {edge.source for edge in edges if edge.source.kind == "head"}
    whole = graph.n_heads <= _MOST_HEADS
    return {
        layer: [h for h in range(graph.n_heads) if whole or Node("head", layer, h) in used]
        for layer in range(graph.n_layers)
    }


def _ways(
    widths: Mapping[Edge, float], places: Mapping[Node, Place], middle: float
) -> dict[Edge, tuple[Curve, ...]]:
    # Left in the stream what ends at the left; so few edges cross.
    ordered = sorted(widths, key=lambda edge: (places[edge.target].x, -places[edge.target].y))
    long = [edge for edge in ordered if _rise(edge, places) > 1.5 * _ROW]
    tracks = _side_by_side(long, widths, middle, room=float("inf"))
    starts: dict[Edge, float] = {}
    stops: dict[Edge, float] = {}
    for node, place in places.items():
        out = sorted(
            (edge for edge in ordered if edge.source == node), key=lambda e: tracks.get(e, place.x)
        )
        starts |= _side_by_side(out, widths, place.x, room=0.5 * place.width)
        into = sorted(
            (edge for edge in ordered if edge.target == node),
            key=lambda e: tracks.get(e, places[e.source].x),
        )
        stops |= _side_by_side(into, widths, place.x, room=0.7 * place.width)
    return {
        edge: _way(edge, places, tracks.get(edge), (starts[edge], stops[edge])) for edge in widths
    }


def _rise(edge: Edge, places: Mapping[Node, Place]) -> float:
    return places[edge.source].y - places[edge.target].y


def _side_by_side(
    edges: Sequence[Edge], widths: Mapping[Edge, float], middle: float, *, room: float
) -> dict[Edge, float]:
    """Where the middle of each edge lies, of edges that lie beside one another."""
    ends = list(accumulate((widths[edge] + _BETWEEN for edge in edges), initial=0.0))
    squeeze = min(1.0, room / ends[-1]) if ends[-1] else 1.0
    return {
        edge: middle + squeeze * ((low + high) / 2 - ends[-1] / 2)
        for edge, low, high in zip(edges, ends, ends[1:], strict=False)
    }


def _way(
    edge: Edge, places: Mapping[Node, Place], track: float | None, ends: tuple[float, float]
) -> tuple[Curve, ...]:
    start = (ends[0], places[edge.source].y - _HALF)
    stop = (ends[1], places[edge.target].y + _HALF + (6.0 if edge.target.kind == "attn" else 0.0))
    if track is None:
        bend = 0.55 * (start[1] - stop[1])
        return (Curve(start, (start[0], start[1] - bend), (stop[0], stop[1] + bend), stop),)
    gap = _ROW - 2 * _HALF
    low, high = (track, start[1] - gap), (track, stop[1] + gap)
    return (
        Curve(start, (start[0], start[1] - 0.7 * gap), (low[0], low[1] + 0.7 * gap), low),
        Curve(low, low, high, high),
        Curve(high, (high[0], high[1] - 0.7 * gap), (stop[0], stop[1] + 0.7 * gap), stop),
    )
