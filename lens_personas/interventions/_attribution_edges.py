"""Edge attribution: what each part of the model tells each later part, from gradients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import Site
from lens_personas.interventions._attribution_path import (
    AttributionMethod,
    Line,
    pair_changes,
    path_gradients,
    points_of,
)
from lens_personas.interventions._circuit_edges import model_graph
from lens_personas.interventions._circuit_types import Edge, ModelGraph, Node
from lens_personas.interventions._head_grid import head_outputs
from lens_personas.interventions._pair_runs import score_pairs
from lens_personas.interventions._pairs import Pairs
from lens_personas.interventions._sweep_plan import DEFAULT_SWEEP_BUDGET
from lens_personas.interventions._sweep_types import Reduce
from lens_personas.models import LensModel, Prompt


@dataclass(frozen=True, kw_only=True)
class EdgeScores:
    """How much a metric changes when one edge alone carries what it does in the clean run."""

    graph: ModelGraph
    """The model's parts."""
    edges: tuple[Edge, ...]
    """Edges, one a column of ``values``: all in the graph's order, or those that were patched."""
    values: Float[Tensor, "prompt edge"]
    """Change of the corrupted run's metric, in its units, foretold or real."""
    clean: Float[Tensor, " prompt"]
    """Metric of the clean run, as measured."""
    corrupted: Float[Tensor, " prompt"]
    """Metric of the corrupted run, as measured."""
    method: AttributionMethod | Literal["patched"]
    """Where the gradients were taken, or ``patched`` for real changes."""

    @property
    def shares(self) -> Float[Tensor, " edge"]:
        """Mean change as a share of the mean way from corrupted to clean; NaN without a way."""
        way = (self.clean - self.corrupted).mean()
        return self.values.mean(dim=0) / torch.where(way == 0, torch.nan, way)

    @property
    def ranking(self) -> tuple[Edge, ...]:
        """Edges by the size of their mean change, the largest first; ties in graph order."""
        order = self.values.mean(dim=0).abs().argsort(descending=True, stable=True)
        return tuple(self.edges[at] for at in order.tolist())


def edge_attribution(
    model: LensModel,
    clean: Sequence[Prompt],
    corrupted: Sequence[Prompt],
    metric: Reduce,
    *,
    method: AttributionMethod = "plain",
    steps: int = 8,
) -> EdgeScores:
    """Foretell for every edge what putting its clean message into the corrupted run does.

    Edge attribution patching (Syed et al., https://arxiv.org/abs/2310.10348): the sum over
    positions of (clean - corrupted output of the source) · (gradient by the target's input
    alone). ``integrated`` is EAP-IG (Hanna et al., https://arxiv.org/abs/2403.17806): gradients
    averaged over the straight line between the two *embeddings*, at Gauss-Legendre nodes rather
    than equal steps. Edges out of the embedding then sum to the whole difference, clean less
    corrupted.

    The gradient by a target's input alone is a difference of two at hooked places: of
    ``resid_pre`` and ``attn_out`` for an attention, of ``attn_out`` and ``mlp_out`` for an MLP.
    Attention biases are equal in both runs and drop out.

    Args:
        model: The model.
        clean: Prompts that messages are taken from.
        corrupted: Prompts that they are put into, one for each clean one, of equal length.
        metric: One number a row, in operations torch can differentiate.
        method: Where the gradients are taken.
        steps: Points of the line, for ``integrated``.

    Raises:
        ValueError: If the prompts do not pair, the metric gives more than one number, or the
            model's residual stream is not the sum of what its parts write, one after the other.
    """
    graph = model_graph(model)
    points = points_of(method, steps)
    pairs = Pairs(clean=tuple(clean), corrupted=tuple(corrupted), align="start")
    scores = score_pairs(
        model,
        pairs,
        (),
        metric,
        token_budget=DEFAULT_SWEEP_BUDGET,
        resume=True,
        explain=False,
    )
    layers = range(graph.n_layers)
    embedded = pair_changes(model, pairs, Site.RESID_PRE, [0])[0]
    sites = (Site.RESID_PRE, Site.ATTN_OUT, Site.MLP_OUT)
    gradients = path_gradients(
        model,
        pairs,
        metric,
        [(site, layer) for layer in layers for site in sites],
        points,
        Line(place=(Site.RESID_PRE, 0), change=embedded),
    )
    branches = _branches(graph, gradients)
    table = _table(model, pairs, graph, embedded, branches)
    edges = graph.edges
    row = {node: at for at, node in enumerate(graph.sources)}
    column = {node: at for at, node in enumerate(graph.targets)}
    values = table[:, [row[e.source] for e in edges], [column[e.target] for e in edges]]
    return EdgeScores(
        graph=graph,
        edges=edges,
        values=values,
        clean=scores.clean,
        corrupted=scores.corrupted,
        method=method,
    )


def _branches(
    graph: ModelGraph, gradients: dict[tuple[Site, int], Float[Tensor, "prompt pos d_model"]]
) -> Float[Tensor, "target prompt pos d_model"]:
    """Gradient by the input of each target alone."""
    last = (Site.MLP_OUT, graph.n_layers - 1)

    def branch(target: Node) -> Tensor:
        if target.kind == "logits":
            return gradients[last]
        above = gradients[Site.ATTN_OUT, target.layer]
        if target.kind == "attn":
            return gradients[Site.RESID_PRE, target.layer] - above
        return above - gradients[Site.MLP_OUT, target.layer]

    return torch.stack([branch(target) for target in graph.targets])


def _table(
    model: LensModel,
    pairs: Pairs,
    graph: ModelGraph,
    embedded: Float[Tensor, "prompt pos d_model"],
    branches: Float[Tensor, "target prompt pos d_model"],
) -> Float[Tensor, "prompt source target"]:
    """What every source would tell every target; those before it too, where it means nothing."""
    layers = tuple(range(graph.n_layers))
    heads = head_outputs(model, pairs, layers)
    mlps = pair_changes(model, pairs, Site.MLP_OUT, layers)
    columns = [_told(embedded, branches)]
    for layer in layers:
        columns.append(_told_by_heads(heads[layer].change, heads[layer].weights, branches))
        columns.append(_told(mlps[layer], branches))
    return torch.cat(columns, dim=1)


def _told(
    change: Float[Tensor, "prompt pos d_model"],
    branches: Float[Tensor, "target prompt pos d_model"],
) -> Float[Tensor, "prompt 1 target"]:
    told = einsum(
        change.to(branches.device, branches.dtype),
        branches,
        "prompt pos d_model, target prompt pos d_model -> prompt target",
    )
    return rearrange(told, "prompt target -> prompt 1 target").cpu()


def _told_by_heads(
    change: Float[Tensor, "prompt pos head d_head"],
    weights: Float[Tensor, "head d_head d_model"],
    branches: Float[Tensor, "target prompt pos d_model"],
) -> Float[Tensor, "prompt head target"]:
    by_z = einsum(
        branches,
        weights.detach().to(branches.device, branches.dtype),
        "target prompt pos d_model, head d_head d_model -> target prompt pos head d_head",
    )
    told = einsum(
        change.to(branches.device, branches.dtype),
        by_z,
        "prompt pos head d_head, target prompt pos head d_head -> prompt head target",
    )
    return told.cpu()
