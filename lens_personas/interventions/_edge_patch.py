"""Patching of edges: what one part tells one later part, put from run to run."""

from collections.abc import Collection, Sequence

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import Edit, Site
from lens_personas.interventions._attribution_edges import EdgeScores
from lens_personas.interventions._attribution_path import along, differing, pair_changes
from lens_personas.interventions._circuit_edges import check_edges, model_graph
from lens_personas.interventions._circuit_types import Edge, ModelGraph, Node
from lens_personas.interventions._head_grid import HeadOutputs, head_outputs
from lens_personas.interventions._pair_runs import filled, of_pairs, score_pairs
from lens_personas.interventions._pairs import Pairs
from lens_personas.interventions._sweep_plan import DEFAULT_SWEEP_BUDGET
from lens_personas.interventions._sweep_types import Arm, Reduce
from lens_personas.models import LensModel, Prompt


def patch_edges(
    model: LensModel,
    clean: Sequence[Prompt],
    corrupted: Sequence[Prompt],
    metric: Reduce,
    edges: Sequence[Edge],
    *,
    token_budget: int = DEFAULT_SWEEP_BUDGET,
    resume: bool = True,
) -> EdgeScores:
    """Let each edge alone carry its clean message, for real: what `edge_attribution` foretells.

    What the source's output differs by is added before the target reads and taken away after it,
    so that the target alone sees it. Circuits of many edges: `run_circuits`.

    Args:
        model: The model.
        clean: Prompts that messages are taken from.
        corrupted: Prompts that they are put into, one for each clean one, of equal length.
        metric: One number a row.
        edges: Edges patched one at a time.
        token_budget: Columns of all rows in one call of a block.
        resume: False to run the whole model for every edge: the same numbers, slowly.

    Raises:
        ValueError: If the prompts do not pair, there is no edge or one that the model lacks, the
            metric gives more than one number, or the model's residual stream is not the sum of
            what its parts write, one after the other.
    """
    graph = model_graph(model)
    check_edges(graph, edges)
    if not edges:
        raise ValueError("expected at least one edge to patch, got none")
    pairs = Pairs(clean=tuple(clean), corrupted=tuple(corrupted), align="start")
    can = differing(pairs)
    members = tuple(can.any(dim=1).nonzero()[:, 0].tolist())
    scope = tuple(can.any(dim=0).nonzero()[:, 0].tolist())
    changes = _changes(model, pairs, {edge.source for edge in edges})
    arms = [
        Arm(
            prompts=members,
            edits=_edits(graph, edge.target, changes[edge.source], members, scope),
            name=edge.name,
        )
        for edge in edges
        if members
    ]
    scores = score_pairs(
        model, pairs, arms, metric, token_budget=token_budget, resume=resume, explain=False
    )
    values = filled(scores, arms, [(at,) for at in range(len(arms))], (len(edges),))
    return EdgeScores(
        graph=graph,
        edges=tuple(edges),
        values=values - scores.corrupted[:, None],
        clean=scores.clean,
        corrupted=scores.corrupted,
        method="patched",
    )


def _edits(
    graph: ModelGraph,
    target: Node,
    change: Float[Tensor, "prompt pos d_model"],
    members: Sequence[int],
    scope: tuple[int, ...],
) -> tuple[Edit, ...]:
    """Add the change before the target reads and take it away after it."""

    def moved(site: Site, layer: int, share: float) -> Edit:
        hook = of_pairs(along(change, [share]), members)
        return Edit(site=site, layer=layer, hook=hook, scope=scope, per_pass=True)

    if target.kind == "logits":
        return (moved(Site.RESID_POST, graph.n_layers - 1, 1.0),)
    if target.kind == "attn":
        before, after = Site.RESID_PRE, Site.ATTN_OUT
    else:
        before, after = Site.ATTN_OUT, Site.MLP_OUT
    return moved(before, target.layer, 1.0), moved(after, target.layer, -1.0)


def _changes(
    model: LensModel, pairs: Pairs, sources: Collection[Node]
) -> dict[Node, Float[Tensor, "prompt pos d_model"]]:
    """Clean less corrupted output of each source."""
    out: dict[Node, Tensor] = {}
    mlps = sorted({node.layer for node in sources if node.kind == "mlp"})
    if mlps:
        found = pair_changes(model, pairs, Site.MLP_OUT, mlps)
        out |= {Node("mlp", layer): change for layer, change in found.items()}
    heads = [node for node in sources if node.kind == "head"]
    if heads:
        outputs = head_outputs(model, pairs, sorted({node.layer for node in heads}))
        can = differing(pairs)[..., None].to(model.device)
        out |= {node: _written(outputs[node.layer], node.head) * can for node in heads}
    if Node("embed") in sources:
        out[Node("embed")] = pair_changes(model, pairs, Site.RESID_PRE, [0])[0]
    return out


@torch.no_grad()
def _written(outputs: HeadOutputs, head: int) -> Float[Tensor, "prompt pos d_model"]:
    return einsum(
        outputs.change[:, :, head],
        outputs.weights[head],
        "prompt pos d_head, d_head d_model -> prompt pos d_model",
    )
