"""Sets of edges: between chosen parts, all but some, and as a mask over a model's graph."""

from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.interventions._circuit_types import Edge, ModelGraph, Node
from lens_personas.models import LensModel, reads_in_sequence


def model_graph(model: LensModel) -> ModelGraph:
    """Parts and edges of a model.

    Raises:
        ValueError: If its residual stream is not written by attention and MLPs in turn.
    """
    card = model.card
    if not card.residual_identity_holds:
        raise ValueError(
            f"expected a model in which attn_out and mlp_out are what is added to the residual "
            f"stream, got {card.model_id} (relative error {card.residual_identity_error:.1e} of "
            "resid_post = resid_pre + attn_out + mlp_out); patch resid_pre instead"
        )
    if not reads_in_sequence(model):
        raise ValueError(
            f"expected a model whose MLPs read what the attention of their block wrote, got "
            f"{card.model_id}, where both read the block's input; patch resid_pre, attn_out or "
            "mlp_out instead"
        )
    return ModelGraph(n_layers=card.n_layers, n_heads=card.n_heads)


def edges_of(graph: ModelGraph, nodes: Collection[Node]) -> tuple[Edge, ...]:
    """Every edge between the chosen parts; a chosen head reads as the attention of its layer.

    The embedding and the logits are parts like the others: without them nothing comes in or out.

    Raises:
        ValueError: If a part is not in the graph.

    >>> graph = ModelGraph(n_layers=1, n_heads=2)
    >>> parts = (Node("embed"), Node("head", 0, 1), Node("logits"))
    >>> [edge.name for edge in edges_of(graph, parts)]
    ['embed -> attn 0', 'embed -> logits', 'head 0.1 -> logits']
    """
    chosen = set(nodes)
    unknown = sorted(chosen - {*graph.sources, *graph.targets})
    if unknown:
        raise ValueError(
            f"expected parts of a model of {graph.n_layers} layers and {graph.n_heads} heads, "
            f"got {[node.name for node in unknown]}; counts start at 0"
        )
    chosen |= {Node("attn", node.layer) for node in chosen if node.kind == "head"}
    return tuple(edge for edge in graph.edges if chosen.issuperset(edge))


def complement_of(graph: ModelGraph, edges: Collection[Edge]) -> tuple[Edge, ...]:
    """Every other edge of the graph; to run it is to ablate the circuit.

    Raises:
        ValueError: If an edge is not in the graph.
    """
    check_edges(graph, edges)
    left_out = set(edges)
    return tuple(edge for edge in graph.edges if edge not in left_out)


def check_edges(graph: ModelGraph, edges: Collection[Edge]) -> None:
    """Refuse edges that the graph does not have.

    Raises:
        ValueError: Naming them.
    """
    unknown = sorted(set(edges) - set(graph.edges))
    if unknown:
        raise ValueError(
            f"expected edges of a model of {graph.n_layers} layers and {graph.n_heads} heads, "
            f"got {[edge.name for edge in unknown[:5]]}; edges lead from embed, a head or an mlp "
            "up to an attn, an mlp or the logits"
        )


def outside_masks(
    graph: ModelGraph, circuits: Sequence[Collection[Edge]]
) -> Float[Tensor, "circuit source target"]:
    """1 where an edge of the graph is outside a circuit, 0 elsewhere; ordered as the graph is.

    Raises:
        ValueError: If an edge is not in the graph.
    """
    sources = {node: at for at, node in enumerate(graph.sources)}
    targets = {node: at for at, node in enumerate(graph.targets)}
    places = {edge: (sources[edge.source], targets[edge.target]) for edge in graph.edges}
    whole = torch.zeros(len(sources), len(targets))
    whole[tuple(torch.tensor(list(places.values())).T)] = 1.0
    masks = whole.repeat(len(circuits), 1, 1)
    for mask, circuit in zip(masks, circuits, strict=True):
        if not set(circuit) <= places.keys():
            check_edges(graph, circuit)
        if circuit:
            mask[tuple(torch.tensor([places[edge] for edge in circuit]).T)] = 0.0
    return masks
