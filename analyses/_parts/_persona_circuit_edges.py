"""Edges of circuits by name, on a way through, and drawn at random."""

from collections.abc import Collection, Sequence
from typing import get_args

import numpy as np

from lens_personas.interventions import Edge, ModelGraph, Node, NodeKind, random_ranking


def edges_named(graph: ModelGraph, names: Sequence[str]) -> tuple[Edge, ...]:
    """The edges of these names, in their order.

    Raises:
        KeyError: If the graph has none of a name.
    """
    known = {edge.name: edge for edge in graph.edges}
    return tuple(known[name] for name in names)


def edge_of(source: str, target: str) -> Edge:
    """The edge between the parts of these names.

    >>> edge_of("head 3.1", "mlp 4").name
    'head 3.1 -> mlp 4'

    """
    return Edge(_node(source), _node(target))


def live_edges(edges: Collection[Edge]) -> frozenset[Edge]:
    """Those on a way from the embedding to the logits: no other can change what comes out.

    A head writes what the attention of its layer read, an MLP what it read itself.

    >>> ends = Edge(Node("embed"), Node("mlp", 0)), Edge(Node("mlp", 0), Node("logits"))
    >>> stray = Edge(Node("embed"), Node("attn", 0))
    >>> live_edges([*ends, stray]) == frozenset(ends)
    True
    """
    reached, useful = {Node("embed")}, {Node("logits")}
    forward = sorted(edges, key=lambda edge: _order(edge.target))
    for edge in forward:
        if _wrote(edge.source) in reached:
            reached.add(edge.target)
    for edge in reversed(forward):
        if edge.target in useful:
            useful.add(_wrote(edge.source))
    return frozenset(
        edge for edge in edges if _wrote(edge.source) in reached and edge.target in useful
    )


def inner_edges(edges: Sequence[Edge]) -> tuple[Edge, ...]:
    """Those that do not come from the embedding: what can be cut without cutting the words off."""
    return tuple(edge for edge in edges if edge.source.kind != "embed")


def random_circuit(
    graph: ModelGraph, size: int, rng: np.random.Generator, *, inner: bool = False
) -> tuple[Edge, ...]:
    """As many edges, along random ways from the embedding to the logits.

    Edges drawn one by one would hardly ever meet, and carry nothing: too weak a null. With
    ``inner`` those out of the embedding are left out, and not counted.

    Raises:
        ValueError: If the graph has fewer edges.
    """
    if not inner:
        return random_ranking(graph, size, rng=rng)[:size]
    drawn = inner_edges(random_ranking(graph, len(graph.edges), rng=rng))
    if size > len(drawn):
        raise ValueError(f"expected at most {len(drawn)} edges inside the model, got {size}")
    return drawn[:size]


def _node(name: str) -> Node:
    kinds: dict[str, NodeKind] = {kind: kind for kind in get_args(NodeKind)}
    kind, _, place = name.partition(" ")
    layer, _, head = place.partition(".")
    return Node(kinds[kind], int(layer or -1), int(head or -1))


def _wrote(source: Node) -> Node:
    """What had to be read for it to be written."""
    return Node("attn", source.layer) if source.kind == "head" else source


def _order(target: Node) -> tuple[int, int]:
    """Place of a reader in the order of computation."""
    if target.kind == "logits":
        return (10**9, 0)
    return (target.layer, int(target.kind == "mlp"))
