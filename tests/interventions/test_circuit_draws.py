"""Random circuits: every edge once, and paths that lead somewhere."""

import numpy as np
import pytest

from lens_personas.interventions import Edge, ModelGraph, Node, random_ranking

GRAPH = ModelGraph(n_layers=4, n_heads=3)


@pytest.mark.parametrize("of", ["paths", "edges"])
def test_every_edge_comes_once_and_the_generator_says_when(of):
    whole = random_ranking(GRAPH, len(GRAPH.edges), rng=np.random.default_rng(0), of=of)
    assert sorted(whole) == sorted(GRAPH.edges)
    assert whole == random_ranking(GRAPH, len(whole), rng=np.random.default_rng(0), of=of)
    assert whole != random_ranking(GRAPH, len(whole), rng=np.random.default_rng(1), of=of)
    with pytest.raises(ValueError, match=f"at most the graph's {len(whole)} edges, got 999"):
        random_ranking(GRAPH, 999, rng=np.random.default_rng(0), of=of)


def loose(circuit: tuple[Edge, ...]) -> list[Edge]:
    """Edges whose source reads nothing of the circuit, or whose target writes nothing to it."""
    sources, targets = {e.source for e in circuit}, {e.target for e in circuit}

    def fed(node: Node) -> bool:
        reader = Node("attn", node.layer) if node.kind == "head" else node
        return node.kind == "embed" or reader in targets

    def heard(node: Node) -> bool:
        heads = {Node("head", node.layer, at) for at in range(GRAPH.n_heads)}
        writers = heads if node.kind == "attn" else {node}
        return node.kind == "logits" or bool(writers & sources)

    return [e for e in circuit if not (fed(e.source) and heard(e.target))]


def test_paths_lead_from_the_embedding_to_the_logits():
    for seed in range(20):
        circuit = random_ranking(GRAPH, 15, rng=np.random.default_rng(seed))
        assert len(circuit) >= 15
        assert loose(circuit) == []
    drawn = random_ranking(GRAPH, 15, rng=np.random.default_rng(0), of="edges")[:15]
    assert loose(drawn)
