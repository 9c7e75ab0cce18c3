"""A circuit as a layered graph: what writes, what reads, and how much goes between them."""

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Final

from markupsafe import Markup

from lens_personas.interventions import Edge, ModelGraph, Node
from lens_personas.views._circuit_figure import circuit_figure
from lens_personas.views._circuit_layout import CircuitLayout, Curve, Place, circuit_layout
from lens_personas.views._circuit_scores import CircuitScores, edge_width
from lens_personas.views._grid import told
from lens_personas.views._plot import plot_view
from lens_personas.views._svg import element, plain
from lens_personas.views._view import View

_NAMES: Final = {"embed": "embed", "mlp": "MLP", "logits": "logits"}


def circuit_diagram(
    edges: Mapping[Edge, float],
    *,
    graph: ModelGraph,
    title: str = "Circuit",
    unit: str = "effect of the edge",
    highlight: Collection[Node] = (),
    most: int = 60,
) -> View:
    """The embedding at the bottom, layers upwards, the logits on top.

    An edge is as wide as its score is large; solid where it raises the metric, dashed where it
    lowers it. Long edges run through the residual stream, the band in the middle. A layer's
    attention is the box around its heads: edges go into the box, and out of its heads. Of a model
    of more than 12 layers or heads only those are drawn that have an edge.

    Args:
        edges: Score of each edge, as `EdgeScores` has them, or of a circuit's edges alone.
        graph: Parts of the model.
        title: What it shows.
        unit: What the scores are.
        highlight: Parts to mark.
        most: Edges that are drawn: the strongest; the picture says how many it leaves out.

    Raises:
        ValueError: If there is no edge, an edge or a highlighted part is not in the graph, a
            score is not finite, or ``most`` is below 1.
    """
    shown = _checked(edges, graph, highlight, most)
    scores = CircuitScores(edges=shown, n_left_out=len(edges) - len(shown), unit=unit)
    layout = circuit_layout(scores.widths, graph)
    return plot_view(
        title=title,
        summary=_summary(scores),
        svg=_svg(scores, layout, frozenset(highlight), title),
        keys="tab goes from part to part",
        hint="Point at a part, or go to it with tab, to see its edges.",
        data={
            "kind": "circuit",
            "unit": unit,
            "edges": [[edge.name.replace("->", "→"), scores.told(edge)] for edge in shown],
        },
        figure=partial(circuit_figure, scores, layout),
        height=layout.size[1],
    )


def _checked(
    edges: Mapping[Edge, float], graph: ModelGraph, highlight: Collection[Node], most: int
) -> dict[Edge, float]:
    """The strongest edges, from the strongest to the weakest."""
    if not edges or most < 1:
        raise ValueError(f"expected at least one edge to draw, got {len(edges)}, most={most}")
    unknown = sorted(set(edges) - set(graph.edges)) + sorted(
        set(highlight) - {*graph.sources, *graph.targets}
    )
    if unknown:
        raise ValueError(
            f"expected edges and parts of a model of {graph.n_layers} layers and {graph.n_heads} "
            f"heads, got {[each.name for each in unknown]}"
        )
    odd = [edge.name for edge, score in edges.items() if not abs(score) < float("inf")]
    if odd:
        raise ValueError(f"expected a finite score of every edge, got none of {odd[:3]}")
    ordered = sorted(edges.items(), key=lambda item: -abs(item[1]))
    return {edge: float(score) for edge, score in ordered[:most]}


def _summary(scores: CircuitScores) -> str:
    n, first = len(scores.edges), next(iter(scores.edges))
    left = f" ({scores.n_left_out} weaker ones are left out)" if scores.n_left_out else ""
    down = sum(score < 0 for score in scores.edges.values())
    return (
        f"Diagram of {n} edges of the model{left}: {n - down} raise the metric, {down} lower it. "
        f"The strongest is {first.name.replace('->', 'to')}, {scores.told(first)}."
    )


def _svg(
    scores: CircuitScores, layout: CircuitLayout, highlight: frozenset[Node], title: str
) -> Markup:
    width, height = layout.size
    left, top, across, tall = layout.stream
    return element(
        "svg",
        *_key(scores),
        element("rect", class_="stream", x=left, y=top, width=across, height=tall, rx=10),
        *_boxes(scores, layout, highlight),
        *_edges(scores, layout),
        *_parts(scores, layout, highlight),
        width=width,
        height=height,
        viewBox=f"0 0 {width} {height}",
        role="group",
        aria_label=title,
    )


def _edges(scores: CircuitScores, layout: CircuitLayout) -> Iterator[Markup]:
    # The strongest come last, above the others.
    for at, (edge, score) in reversed(list(enumerate(scores.edges.items()))):
        yield element(
            "path",
            element("title", f"{edge.name.replace('->', '→')}: {scores.told(edge)}"),
            class_=f"edge {'up' if score >= 0 else 'down'}",
            d="".join(map(_curve, layout.ways[edge])),
            stroke_width=scores.widths[edge],
            data_edge=f"{_key_of(edge.source)} {_key_of(edge.target)}",
            data_at=at,
        )


def _curve(curve: Curve) -> str:
    start, *rest = (f"{plain(x)} {plain(y)}" for x, y in curve)
    return f"M{start}C{' '.join(rest)}"


def _boxes(
    scores: CircuitScores, layout: CircuitLayout, highlight: frozenset[Node]
) -> Iterator[Markup]:
    """The attention of each layer, around its heads."""
    for node, place in layout.places.items():
        if node.kind == "attn":
            box = _rect(
                place, "box shape" + (" marked" if node in highlight else ""), grow=6, rx=20
            )
            x = place.x - place.width / 2 - 12
            name = element(
                "text", f"attn {node.layer}", class_="muted", x=x, y=place.y + 4, text_anchor="end"
            )
            yield _part(node, scores, box, name)


def _parts(
    scores: CircuitScores, layout: CircuitLayout, highlight: frozenset[Node]
) -> Iterator[Markup]:
    for node, place in layout.places.items():
        if node.kind == "attn":
            continue
        look = node.kind if scores.has(node) or node.kind in ("embed", "logits") else "idle"
        marked = " marked" if node in highlight else ""
        shape = _rect(place, f"node-{look} shape{marked}", grow=0, rx=14)
        text = str(node.head) if node.kind == "head" else _NAMES[node.kind]
        if node.kind == "mlp":
            text = f"{text} {node.layer}"
        name = element(
            "text",
            text,
            class_=f"number name-{look}{' strong' if marked else ''}",
            x=place.x,
            y=place.y + 4,
            text_anchor="middle",
        )
        yield _part(node, scores, shape, name)


def _part(node: Node, scores: CircuitScores, *children: Markup) -> Markup:
    """A part that can be gone to, if it has an edge."""
    if not scores.has(node):
        return element("g", *children)
    return element(
        "g",
        *children,
        class_="part",
        tabindex=0,
        role="img",
        aria_label=scores.describe(node),
        data_part=_key_of(node),
    )


def _rect(place: Place, look: str, *, grow: int, rx: int) -> Markup:
    width, height = place.width, 28 + 2 * grow
    return element(
        "rect",
        class_=look,
        x=place.x - width / 2,
        y=place.y - height / 2,
        width=width,
        height=height,
        rx=rx,
    )


def _key(scores: CircuitScores) -> Iterator[Markup]:
    """What width, colour and dash say."""
    left = f"; the {len(scores.edges)} strongest of {scores.n_all}" if scores.n_left_out else ""
    yield element("text", f"{scores.unit}{left}", class_="ink", x=14, y=18)
    x = 14.0
    for look, word in (("up", "raises"), ("down", "lowers")):
        line = f"M{plain(x)} 38h34"
        yield element("path", class_=look, d=line, stroke_width=3.0)
        yield element("text", word, class_="muted", x=x + 40, y=42)
        x += 98
    for share in (0.1, 1.0):
        line = f"M{plain(x)} 38h24"
        yield element("path", class_="sample", d=line, stroke_width=edge_width(share, 1.0))
        value = told(share * scores.largest, scores.digits + (share < 1))
        yield element("text", value, class_="muted number", x=x + 30, y=42)
        x += 74


def _key_of(node: Node) -> str:
    return node.name.replace(" ", "-")
