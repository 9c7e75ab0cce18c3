"""Random circuits, beside which a circuit found is judged."""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from lens_personas.interventions._circuit_types import Edge, ModelGraph, Node

RandomCircuits = Literal["paths", "edges"]
"""What a random circuit is put together from. ``paths`` from the embedding to the logits: the
stricter null, since an edge that nothing leads to or that leads to nothing carries nothing.
``edges`` drawn one by one, of which few circuits of some layers carry anything."""


def random_ranking(
    graph: ModelGraph,
    n_edges: int,
    *,
    rng: np.random.Generator,
    of: RandomCircuits = "paths",
) -> tuple[Edge, ...]:
    """At least ``n_edges`` different edges in a random order; the first k make a random circuit.

    A path is drawn through an edge that is not there yet, and from there step by step down and
    up, each edge that leads on as likely as another. Its edges follow each other in the order.

    Raises:
        ValueError: If the graph has fewer edges.
    """
    edges = graph.edges
    if n_edges > len(edges):
        raise ValueError(f"expected at most the graph's {len(edges)} edges, got {n_edges}")
    order = [edges[at] for at in rng.permutation(len(edges))]
    if of == "edges":
        return tuple(order)
    into: dict[Node, list[Edge]] = {node: [] for node in graph.targets}
    out_of: dict[Node, list[Edge]] = {node: [] for node in graph.sources}
    for edge in edges:
        into[edge.target].append(edge)
        out_of[edge.source].append(edge)
    # A dictionary keeps the order in which its keys came.
    drawn: dict[Edge, None] = {}
    for edge in order:
        if len(drawn) >= n_edges:
            break
        if edge not in drawn:
            below = [*_below(edge, into, rng)]
            drawn |= dict.fromkeys([*reversed(below), edge, *_above(graph, edge, out_of, rng)])
    return tuple(drawn)


def _below(edge: Edge, into: dict[Node, list[Edge]], rng: np.random.Generator) -> Iterator[Edge]:
    """Edges down to the embedding."""
    while edge.source.kind != "embed":
        node = edge.source
        reader = node if node.kind == "mlp" else Node("attn", node.layer)
        edge = into[reader][rng.integers(len(into[reader]))]
        yield edge


def _above(
    graph: ModelGraph, edge: Edge, out_of: dict[Node, list[Edge]], rng: np.random.Generator
) -> Iterator[Edge]:
    """Edges up to the logits."""
    while edge.target.kind != "logits":
        node = edge.target
        writer = node
        if node.kind == "attn":
            writer = Node("head", node.layer, int(rng.integers(graph.n_heads)))
        edge = out_of[writer][rng.integers(len(out_of[writer]))]
        yield edge
