"""Circuit diagrams: every edge goes up from its source to its target, as wide as its score."""

import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lens_personas.interventions import Edge, ModelGraph, Node
from lens_personas.views import LIGHT, circuit_diagram
from lens_personas.views._circuit_layout import CircuitLayout, circuit_layout

SMALL, LARGE = ModelGraph(n_layers=2, n_heads=3), ModelGraph(n_layers=14, n_heads=14)
EMBED, LOGITS = Node("embed"), Node("logits")
GRAPHS = pytest.mark.parametrize("graph", [SMALL, LARGE], ids=["small", "large"])


def some(graph: ModelGraph, n: int = 60) -> list[Edge]:
    """Edges of every kind, spread over the graph."""
    return list(graph.edges[:: max(len(graph.edges) // n, 1)])


def laid_out(graph: ModelGraph) -> tuple[list[Edge], CircuitLayout]:
    edges = some(graph)
    return edges, circuit_layout({edge: 1.0 + at % 7 for at, edge in enumerate(edges)}, graph)


@GRAPHS
def test_edges_go_up_from_source_to_target_without_a_break(graph: ModelGraph) -> None:
    edges, layout = laid_out(graph)
    for edge in edges:
        way = layout.ways[edge]
        source, target = layout.places[edge.source], layout.places[edge.target]
        (x, y), (end_x, end_y) = way[0].start, way[-1].stop
        assert abs(x - source.x) <= source.width / 2
        assert abs(end_x - target.x) <= target.width / 2
        assert source.y > y > end_y > target.y
        assert all(a.stop == b.start for a, b in pairwise(way))
        heights = [curve.at(k / 20)[1] for curve in way for k in range(21)]
        assert all(a >= b - 1e-9 for a, b in pairwise(heights)), edge.name


@GRAPHS
def test_parts_do_not_overlap_and_are_in_the_picture(graph: ModelGraph) -> None:
    _, layout = laid_out(graph)
    drawn = [place for node, place in layout.places.items() if node.kind != "attn"]
    for at, a in enumerate(drawn):
        assert 0 <= a.x - a.width / 2 <= a.x + a.width / 2 <= layout.size[0]
        assert 0 <= a.y <= layout.size[1]
        for b in drawn[at + 1 :]:
            assert abs(a.y - b.y) > 28 or abs(a.x - b.x) >= (a.width + b.width) / 2


@GRAPHS
def test_long_edges_lie_side_by_side_in_the_stream(graph: ModelGraph) -> None:
    edges, layout = laid_out(graph)
    left, _, across, _ = layout.stream
    tracks = sorted(
        (way[1].start[0], 1.0 + edges.index(edge) % 7)
        for edge, way in layout.ways.items()
        if len(way) == 3
    )
    assert all(b - a >= (u + v) / 2 for (a, u), (b, v) in pairwise(tracks))
    assert all(left < x < left + across for x, _ in tracks)


def test_of_a_large_model_only_what_has_an_edge_is_drawn() -> None:
    edge = Edge(Node("head", 9, 7), Node("mlp", 12))
    layout = circuit_layout({edge: 1.0}, LARGE)
    assert set(layout.places) == {
        EMBED,
        LOGITS,
        Node("attn", 9),
        Node("head", 9, 7),
        Node("mlp", 12),
    }


def test_width_dash_and_words_say_the_score() -> None:
    up, down = Edge(EMBED, Node("attn", 0)), Edge(Node("head", 0, 1), LOGITS)
    view = circuit_diagram({up: 0.25, down: -0.5}, graph=SMALL, highlight=[Node("head", 0, 1)])
    found = re.findall(r'<path class="edge (\w+)"[^>]* stroke-width="([\d.]+)"', view.body)
    # The strongest is drawn last.
    assert found == [("up", "4"), ("down", "7")]
    assert view.data["edges"] == [["head 0.1 → logits", "−0.50"], ["embed → attn 0", "+0.25"]]
    assert (
        "1 raise the metric, 1 lower it. The strongest is head 0.1 to logits, −0.50."
        in view.summary
    )
    labels = re.findall(r'tabindex="0" role="img" aria-label="([^"]*)"', view.body)
    assert set(labels) == {
        "embed: writes to attn 0 +0.25",
        "attention of layer 0: reads embed +0.25",
        "head 0.1: writes to logits −0.50",
        "logits: reads head 0.1 −0.50",
    }
    assert view.body.count("marked") == 1


def test_the_strongest_are_drawn_and_the_others_counted() -> None:
    scores = {edge: 1.0 / (2 + at) for at, edge in enumerate(SMALL.edges)}
    view = circuit_diagram(scores, graph=SMALL, most=4)
    assert [name for name, _ in view.data["edges"]] == [
        edge.name.replace("->", "→") for edge in SMALL.edges[:4]
    ]
    assert f"({len(scores) - 4} weaker ones are left out)" in view.summary
    assert f"the 4 strongest of {len(scores)}" in view.body


def test_files_hold_the_same_picture(tmp_path: Path) -> None:
    edges = some(SMALL)
    view = circuit_diagram(dict.fromkeys(edges, -0.1), graph=SMALL, title="<b>", unit="<i>")
    root = ElementTree.parse(view.save(tmp_path / "a.svg", theme="dark")).getroot()
    titles = [each.text for each in root.findall(".//{*}title")]
    assert titles[0] == "<b>"
    assert len(titles) == 1 + len(edges)
    assert view.save(tmp_path / "a.png").stat().st_size > 1000
    lines = [each for each in view.figure(LIGHT).data if each.mode == "lines"]
    assert [line.line.dash for line in lines] == ["dash"] * len(edges)
    assert view.save(tmp_path / "a.html").stat().st_size < 120_000


def test_all_zero_scores_are_drawn_as_thin_lines() -> None:
    view = circuit_diagram(dict.fromkeys(SMALL.edges[:2], 0.0), graph=SMALL)
    assert re.findall(r'class="edge up"[^>]* stroke-width="([\d.]+)"', view.body) == ["1", "1"]
    assert [score for _, score in view.data["edges"]] == ["0.00", "0.00"]


def test_what_is_not_in_the_graph_is_refused() -> None:
    edge = Edge(Node("head", 2, 0), LOGITS)
    with pytest.raises(
        ValueError, match=r"a model of 2 layers and 3 heads, got \['head 2.0 -> log"
    ):
        circuit_diagram({edge: 1.0}, graph=SMALL)
    with pytest.raises(ValueError, match=r"got \['mlp 9'\]"):
        circuit_diagram({SMALL.edges[0]: 1.0}, graph=SMALL, highlight=[Node("mlp", 9)])
    with pytest.raises(ValueError, match=r"expected a finite score of every edge, got none of \["):
        circuit_diagram({SMALL.edges[0]: float("nan")}, graph=SMALL)
    with pytest.raises(ValueError, match="expected at least one edge to draw, got 0, most=60"):
        circuit_diagram({}, graph=SMALL)
