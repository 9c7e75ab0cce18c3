"""Circuits run for real: against whole passes by the definition, against patched parts."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from lens_personas.hooks import Site
from lens_personas.interventions import (
    ByCell,
    Edge,
    LastTokens,
    ModelGraph,
    Node,
    complement_of,
    edges_of,
    model_graph,
    run_circuits,
)
from lens_personas.interventions import _circuit_climb as climb
from lens_personas.interventions import _circuit_edges as edges
from lens_personas.interventions._circuit_parts import parts_of
from lens_personas.models import LensModel, Prompt, TokenBatch, load_model, pad

CLOSE = {"atol": 1e-4, "rtol": 1e-4}
MARGIN = LastTokens(token_ids=(7, 3), weights=(1.0, -1.0))
EMBED, LOGITS = Node("embed"), Node("logits")


one_architecture = pytest.mark.parametrize("tiny_model", ["tiny_checkpoint"], indirect=True)


def said(*ids: int) -> Prompt:
    return Prompt(prompt_id="", ids=ids, prompt_length=len(ids), spans={}, text="")


# The pairs differ from the third token on, in the first token, and nowhere.
CLEAN = (said(1, 20, 31, 42, 53), said(90, 80, 70), said(5, 6, 7, 8))
CORRUPTED = (said(1, 20, 60, 42, 12), said(91, 80, 70), said(5, 6, 7, 8))


def one(prompt: Prompt) -> TokenBatch:
    return pad([prompt], (0,), pad_id=0)


@torch.no_grad()
def passed(model: LensModel, prompt: Prompt, hooks: dict[Any, Any]) -> torch.Tensor:
    """Last residual of a whole pass."""
    batch, last = one(prompt), model.card.n_layers - 1
    positions = batch.layout.positions
    return model.run(batch.tokens, positions, hooks=hooks, cache=None, last_layer=last)


@torch.no_grad()
def margin(model: LensModel, resid: torch.Tensor) -> torch.Tensor:
    logits = model.logits(resid[:, -1]).float()[0]
    return logits[7] - logits[3]


def margins(model: LensModel, prompts: Sequence[Prompt]) -> torch.Tensor:
    return torch.stack([margin(model, passed(model, prompt, {})) for prompt in prompts])


def keeping(kept: dict[Any, torch.Tensor], place: Any) -> Any:
    def keep(activation: Any, /, *, hook: object) -> Any:
        kept[place] = activation.clone()
        return activation

    return keep


def putting(state: torch.Tensor) -> Any:
    def put(activation: Any, /, *, hook: object) -> Any:
        return state

    return put


def told(model: LensModel, prompt: Prompt, put: dict[Any, Any]) -> dict[Any, torch.Tensor]:
    """What every part writes in a whole pass in which some places are given."""
    sites = (Site.Z, Site.ATTN_OUT, Site.MLP_OUT)
    places = [(Site.RESID_PRE, 0), *((s, at) for at in range(model.card.n_layers) for s in sites)]
    kept: dict[Any, torch.Tensor] = {}
    hooks = {place: keeping(kept, place) for place in places if place not in put}
    passed(model, prompt, {**hooks, **{place: putting(state) for place, state in put.items()}})
    return kept


def by_node(model: LensModel, kept: dict[Any, torch.Tensor], layer: int) -> dict[Node, Any]:
    """What the heads of a layer wrote, from what a pass left behind."""
    heads = torch.einsum(
        "bphz,hzd->hbpd", kept[Site.Z, layer], model.wrapped.blocks[layer].attn.W_O
    )
    return {Node("head", layer, at): head for at, head in enumerate(heads)}


def by_definition(
    model: LensModel, pair: tuple[Prompt, Prompt], circuit: Collection[Edge]
) -> torch.Tensor:
    """Every reader's input put together from what each source writes here or there."""
    graph = ModelGraph(n_layers=model.card.n_layers, n_heads=model.card.n_heads)
    clean, corrupted = pair
    kept = told(model, corrupted, {})
    there: dict[Node, torch.Tensor] = {EMBED: kept[Site.RESID_PRE, 0]}
    biases = []
    for layer in range(graph.n_layers):
        heads = by_node(model, kept, layer)
        there |= {**heads, Node("mlp", layer): kept[Site.MLP_OUT, layer]}
        biases.append(kept[Site.ATTN_OUT, layer] - sum(heads.values()))
    here = {EMBED: told(model, clean, {})[Site.RESID_PRE, 0]}

    def read(target: Node, n_biases: int) -> torch.Tensor:
        into = [edge for edge in graph.edges if edge.target == target]
        states = [(here if edge in circuit else there)[edge.source] for edge in into]
        return sum(states) + sum(biases[:n_biases])

    for layer in range(graph.n_layers):
        state = read(Node("attn", layer), layer)
        here |= by_node(model, told(model, clean, {(Site.RESID_PRE, layer): state}), layer)
        state = read(Node("mlp", layer), layer + 1)
        put = {(Site.RESID_PRE, layer): 0 * state, (Site.ATTN_OUT, layer): state}
        here[Node("mlp", layer)] = told(model, clean, put)[Site.MLP_OUT, layer]
    return margin(model, read(LOGITS, graph.n_layers))


def drawn(graph: ModelGraph, *shares: float) -> list[tuple[Edge, ...]]:
    """Circuits that hold each edge with these chances."""
    generator = torch.Generator().manual_seed(0)
    chance = torch.rand(len(graph.edges), generator=generator)
    return [
        tuple(e for e, x in zip(graph.edges, chance.tolist(), strict=True) if x < share)
        for share in shares
    ]


CHOSEN = (EMBED, Node("head", 1, 0), Node("head", 1, 2), Node("mlp", 0), LOGITS)


@pytest.fixture(scope="module")
def circuits(tiny_model: LensModel) -> dict[str, tuple[Edge, ...]]:
    graph = model_graph(tiny_model)
    some, few = drawn(graph, 0.7, 0.1)
    return {
        "all": graph.edges,
        "none": (),
        "some": some,
        "all but few": complement_of(graph, few),
        "whole parts": edges_of(graph, CHOSEN),
        "into the logits": tuple(edge for edge in graph.edges if edge.target == LOGITS),
    }


@pytest.fixture(scope="module")
def values(tiny_model: LensModel, circuits: dict[str, tuple[Edge, ...]]) -> dict[str, torch.Tensor]:
    """Every circuit on every pair, in one call."""
    found = run_circuits(tiny_model, CLEAN, CORRUPTED, [*circuits.values()], MARGIN)
    return dict(zip(circuits, found, strict=True))


def test_all_edges_are_the_clean_run_and_none_the_corrupted_one(tiny_model, values):
    torch.testing.assert_close(values["all"], margins(tiny_model, CLEAN), **CLOSE)
    torch.testing.assert_close(values["none"], margins(tiny_model, CORRUPTED), **CLOSE)
    assert (values["all"] - values["none"])[:2].abs().min() > 1e-2


def test_every_reader_reads_what_the_definition_says(tiny_model, circuits, values):
    for name, n in (("some", 0), ("all but few", 0), ("all but few", 1)):
        expected = by_definition(tiny_model, (CLEAN[n], CORRUPTED[n]), circuits[name])
        torch.testing.assert_close(values[name][n], expected, **CLOSE)


def test_a_pair_that_does_not_differ_is_changed_by_no_circuit(tiny_model, values):
    alike = torch.stack([each[2] for each in values.values()])
    torch.testing.assert_close(alike, margins(tiny_model, CLEAN[2:]).expand(len(alike)), **CLOSE)


def test_a_circuit_of_whole_parts_is_patching_all_others(tiny_model, values):
    """Heads 1.0 and 1.2 and the first MLP as they are now, all else as in the corrupted run."""
    there = told(tiny_model, CORRUPTED[0], {})

    def other_heads(activation: Any, /, *, hook: object) -> Any:
        patched = activation.clone()
        patched[:, :, [1, 3]] = there[Site.Z, 1][:, :, [1, 3]]
        return patched

    hooks = {
        **{(Site.Z, layer): putting(there[Site.Z, layer]) for layer in (0, 2)},
        **{(Site.MLP_OUT, layer): putting(there[Site.MLP_OUT, layer]) for layer in (1, 2)},
        (Site.Z, 1): other_heads,
    }
    expected = margin(tiny_model, passed(tiny_model, CLEAN[0], hooks))
    torch.testing.assert_close(values["whole parts"][0], expected, **CLOSE)


def test_edges_into_the_logits_alone_bring_only_the_last_token(tiny_model, values):
    """All parts read the corrupted run, so only a last token that differs is brought along."""
    found, there = values["into the logits"], margins(tiny_model, CORRUPTED)
    torch.testing.assert_close(found[1:], there[1:], **CLOSE)
    assert (found[0] - there[0]).abs() > 1e-2


@pytest.mark.parametrize(
    ("names", "options"),
    [(["some", "all but few"], {"resume": False}), (["some"], {"token_budget": 1})],
    ids=["whole passes", "small calls"],
)
def test_every_way_gives_the_same(names, options, tiny_model, circuits, values):
    chosen = [circuits[name] for name in names]
    found = run_circuits(tiny_model, CLEAN, CORRUPTED, chosen, MARGIN, **options)
    torch.testing.assert_close(found, torch.stack([values[name] for name in names]), **CLOSE)


def test_in_half_precision_the_ends_are_the_two_runs_as_well(tiny_checkpoint, backend):
    half = load_model(tiny_checkpoint, backend=backend, device="cpu", dtype="bfloat16")
    found = run_circuits(half, CLEAN, CORRUPTED, [model_graph(half).edges, ()], MARGIN)
    runs = torch.stack([margins(half, CLEAN), margins(half, CORRUPTED)])
    # Logits as large as theirs are rounded by less than a hundredth.
    size = half.logits(passed(half, CLEAN[0], {})[:, -1]).abs().max()
    assert (found - runs).abs().max() < 0.05 * size


@one_architecture
def test_where_blocks_cannot_be_driven_whole_passes_are_run(tiny_model):
    unable = replace(tiny_model, card=replace(tiny_model.card, drives_blocks=False))
    assert parts_of(unable, one(CLEAN[0]), 2, resume=True).start == 0
    assert parts_of(tiny_model, one(CLEAN[0]), 2, resume=True).start == 2


@one_architecture
def test_a_metric_may_know_the_circuit_and_the_pair(tiny_model):
    def name(logits: Any, cells: Any) -> Any:
        return torch.tensor([[100.0 * cell.arm + cell.prompt] for cell in cells])

    metric = ByCell(reduce=name)
    # Calls of one circuit and of batches of one or two pairs.
    found = run_circuits(tiny_model, CLEAN, CORRUPTED, [(), ()], metric, token_budget=9)
    assert found.tolist() == [[0, 1, 2], [100, 101, 102]]


def test_parts_and_their_complement_share_out_the_edges():
    graph = ModelGraph(n_layers=3, n_heads=2)
    everything = {*graph.sources, *graph.targets}
    assert edges_of(graph, everything) == graph.edges
    # A head reads as its layer's attention: nobody has to name that.
    assert edges_of(graph, {*graph.sources, LOGITS}) == graph.edges
    lacking = edges_of(graph, everything - {Node("mlp", 1)})
    gone = complement_of(graph, lacking)
    assert {*lacking, *gone} == {*graph.edges}
    assert all(Node("mlp", 1) in edge for edge in gone)
    assert complement_of(graph, gone) == lacking
    assert edges_of(graph, ()) == ()


@one_architecture
def test_what_is_no_circuit_is_refused(tiny_model):
    graph = ModelGraph(n_layers=3, n_heads=4)
    downwards = Edge(Node("mlp", 1), Node("attn", 1))
    with pytest.raises(ValueError, match=r"edges of a model of 3 layers.*'mlp 1 -> attn 1'"):
        run_circuits(tiny_model, CLEAN, CORRUPTED, [[downwards]], MARGIN)
    with pytest.raises(ValueError, match=r"parts of a model of 3 layers.*'head 0.4'"):
        edges_of(graph, [Node("head", 0, 4)])
    with pytest.raises(ValueError, match=r"pairs \[0, 1\] of unequal length"):
        run_circuits(tiny_model, CLEAN[:2], CORRUPTED[1::-1], [()], MARGIN)
    longer = replace(CORRUPTED[1], ids=(*CORRUPTED[1].ids, 4))
    with pytest.raises(ValueError, match=r"answers of equal length, got pairs \[0\]"):
        run_circuits(tiny_model, CLEAN[1:2], [longer], [()], MARGIN)
    with pytest.raises(ValueError, match="metric of one number a row, got 2"):
        run_circuits(tiny_model, CLEAN, CORRUPTED, [()], LastTokens(token_ids=(7, 3)))


@one_architecture
def test_a_model_that_is_no_sum_of_parts_is_refused(tiny_model, monkeypatch):
    other = replace(tiny_model, card=replace(tiny_model.card, residual_identity_holds=False))
    with pytest.raises(ValueError, match="are what is added to the residual stream, got"):
        model_graph(other)
    monkeypatch.setattr(edges, "reads_in_sequence", lambda model: False)
    with pytest.raises(ValueError, match="where both read the block's input"):
        model_graph(tiny_model)
    monkeypatch.undo()
    weights = climb.head_weights

    def doubled(model: LensModel, layer: int) -> Any:
        return replace(weights(model, layer), w_o=2 * weights(model, layer).w_o)

    monkeypatch.setattr(climb, "head_weights", doubled)
    with pytest.raises(ValueError, match="heads of layer 0 to add up to attn_out"):
        run_circuits(tiny_model, CLEAN, CORRUPTED, [()], MARGIN)
