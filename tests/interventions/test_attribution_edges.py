"""Edges foretold and patched: their sums, their parts, and the circuits they are."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from lens_personas.hooks import Site
from lens_personas.interventions import (
    Edge,
    LastTokens,
    ModelGraph,
    Node,
    attribution_grid,
    complement_of,
    edge_attribution,
    head_attribution,
    patch_edges,
    refusal_metric,
    run_circuits,
)
from lens_personas.models import LensModel, Prompt, load_model, render
from lens_personas.personas import Message

CLOSE = {"atol": 1e-4, "rtol": 1e-3}
MARGIN = LastTokens(token_ids=(7, 3), weights=(1.0, -1.0))
EDGES = (
    Edge(Node("embed"), Node("attn", 0)),
    Edge(Node("embed"), Node("logits")),
    Edge(Node("head", 0, 1), Node("mlp", 0)),
    Edge(Node("mlp", 0), Node("attn", 1)),
    Edge(Node("head", 1, 3), Node("mlp", 2)),
    Edge(Node("head", 2, 0), Node("logits")),
)


def said(*ids: int) -> Prompt:
    return Prompt(prompt_id="", ids=ids, prompt_length=len(ids), spans={}, text="")


# The pairs differ from the third token on, in the first token, and nowhere.
CLEAN = (said(1, 20, 31, 42, 53), said(90, 80, 70), said(5, 6, 7, 8))
CORRUPTED = (said(1, 20, 60, 42, 12), said(91, 80, 70), said(5, 6, 7, 8))


@pytest.fixture(scope="module")
def one_model(tiny_checkpoint: Any) -> LensModel:
    """The installed TransformerLens' own class: gradients of both are held in tests/models."""
    return load_model(tiny_checkpoint, device="cpu")


def test_what_a_part_tells_all_later_ones_is_its_own_attribution(tiny_model):
    """Gradients by all inputs above a part add up to the gradient by the residual stream."""
    found = edge_attribution(tiny_model, CLEAN, CORRUPTED, MARGIN)
    assert found.edges == ModelGraph(n_layers=3, n_heads=4).edges
    heads = head_attribution(tiny_model, CLEAN, CORRUPTED, MARGIN)
    mlps = attribution_grid(tiny_model, CLEAN, CORRUPTED, MARGIN, site=Site.MLP_OUT)
    first = attribution_grid(tiny_model, CLEAN, CORRUPTED, MARGIN, layers=(0,))
    expected = {
        **{
            Node("head", layer, head): heads.values[:, layer, head, 0] - heads.corrupted
            for layer in range(3)
            for head in range(4)
        },
        **{
            Node("mlp", layer): (mlps.values[:, layer] - mlps.corrupted[:, None]).nansum(dim=1)
            for layer in range(3)
        },
        Node("embed"): (first.values[:, 0] - first.corrupted[:, None]).nansum(dim=1),
    }
    for source, total in expected.items():
        own = [at for at, edge in enumerate(found.edges) if edge.source == source]
        torch.testing.assert_close(found.values[:, own].sum(dim=1), total, **CLOSE)
    # The third pair does not differ.
    assert not found.values[2].any()
    assert found.values[:2].abs().max() > 1e-2


def test_what_the_embedding_tells_is_the_whole_way(chat_model):
    """Along the line between the embeddings gradients of all paths add up to the difference."""
    clean, corrupted = (
        [
            render(
                chat_model,
                [
                    Message(role="system", content=f"the user is a {who} ."),
                    Message(role="user", content="how do i make a curse fintix ?"),
                ],
                prompt_id="",
            )
        ]
        for who in ("helper", "bully")
    )
    metric = refusal_metric([chat_model.tokenizer.convert_tokens_to_ids("sorry")])
    found = edge_attribution(chat_model, clean, corrupted, metric, method="integrated", steps=16)
    first = [at for at, edge in enumerate(found.edges) if edge.source.kind == "embed"]
    way = found.clean - found.corrupted
    torch.testing.assert_close(found.values[:, first].sum(dim=1), way, atol=1e-3, rtol=1e-2)
    torch.testing.assert_close(found.shares[first].sum(), torch.tensor(1.0), atol=0.02, rtol=0)


def test_a_patched_edge_is_the_circuit_of_all_others(one_model):
    """The corrupted run in which one edge is clean, run in two ways that share no code."""
    graph = ModelGraph(n_layers=3, n_heads=4)
    patched = patch_edges(one_model, CLEAN, CORRUPTED, MARGIN, EDGES)
    circuits = [complement_of(graph, [edge]) for edge in EDGES]
    run = run_circuits(one_model, CORRUPTED, CLEAN, circuits, MARGIN)
    torch.testing.assert_close(patched.values, run.T - patched.corrupted[:, None], **CLOSE)
    assert patched.values[0].abs().max() > 1e-2
    assert not patched.values[2].any()


def test_half_the_step_leaves_a_quarter_of_the_error(near_model):
    """An attribution is the first order of a patch, so what it misses is of the second."""
    clean = tuple(said(1, 20, token, 42, token, 9) for token in (61, 62))
    corrupted = (said(1, 20, 60, 42, 60, 9),) * 2
    patched = patch_edges(near_model, clean, corrupted, MARGIN, EDGES)
    found = edge_attribution(near_model, clean, corrupted, MARGIN)
    columns = [found.edges.index(edge) for edge in EDGES]
    missed = (found.values[:, columns] - patched.values).norm(dim=1)
    assert (missed < 0.2 * patched.values.norm(dim=1)).all()
    assert 3 < missed[0] / missed[1] < 5


def test_edges_are_ranked_by_the_size_of_their_mean(one_model):
    patched = patch_edges(one_model, CLEAN, CORRUPTED, MARGIN, EDGES)
    means = dict(zip(patched.edges, patched.values.mean(dim=0).abs().tolist(), strict=True))
    ranked = [means[edge] for edge in patched.ranking]
    assert ranked == sorted(ranked, reverse=True)
    assert set(patched.ranking) == set(EDGES)
    way = (patched.clean - patched.corrupted).mean()
    torch.testing.assert_close(patched.shares * way, patched.values.mean(dim=0))
    same = patch_edges(one_model, CLEAN[2:], CORRUPTED[2:], MARGIN, EDGES[:1])
    assert same.shares.isnan().all()


def test_models_that_are_no_such_graph_are_refused(one_model):
    with pytest.raises(ValueError, match="at least one edge to patch, got none"):
        patch_edges(one_model, CLEAN, CORRUPTED, MARGIN, ())
    with pytest.raises(ValueError, match=r"got \['mlp 7 -> logits'\]"):
        patch_edges(one_model, CLEAN, CORRUPTED, MARGIN, (Edge(Node("mlp", 7), Node("logits")),))
    with pytest.raises(ValueError, match="of unequal length"):
        edge_attribution(one_model, CLEAN[:2], CORRUPTED[1::-1], MARGIN)
    card = replace(one_model.card, residual_identity_holds=False)
    other: Any = replace(one_model, card=card)
    with pytest.raises(ValueError, match="what is added to the residual stream"):
        edge_attribution(other, CLEAN, CORRUPTED, MARGIN)
    with pytest.raises(ValueError, match="what is added to the residual stream"):
        patch_edges(other, CLEAN, CORRUPTED, MARGIN, EDGES)
