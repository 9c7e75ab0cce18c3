"""Attribution patching of attention heads: a head grid, foretold from gradients."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import Site
from lens_personas.interventions._attribution_grid import at_positions_of
from lens_personas.interventions._attribution_path import (
    AttributionMethod,
    Line,
    differing,
    pair_changes,
    path_gradients,
    points_of,
)
from lens_personas.interventions._head_grid import head_outputs
from lens_personas.interventions._pair_runs import score_pairs, share_of_way
from lens_personas.interventions._pairs import Pairs, check_positions
from lens_personas.interventions._plan import check_place
from lens_personas.interventions._sweep_plan import DEFAULT_SWEEP_BUDGET
from lens_personas.interventions._sweep_types import Reduce
from lens_personas.models import LensModel, Prompt


@dataclass(frozen=True, kw_only=True)
class HeadAttribution:
    """What a metric is foretold to become when one head's clean output is put in place."""

    layers: tuple[int, ...]
    """Blocks, one a column of ``values``."""
    positions: tuple[int, ...] | None
    """Positions patched one at a time, as in `PatchGrid`; None for all of them at once."""
    values: Float[Tensor, "prompt layer head pos"]
    """Metric foretold for the patched run: that of the corrupted run and the attribution; one
    ``pos`` where all are patched at once, NaN where a prompt has no such position."""
    clean: Float[Tensor, " prompt"]
    """Metric of the clean run, as measured."""
    corrupted: Float[Tensor, " prompt"]
    """Metric of the corrupted run, as measured."""
    method: AttributionMethod
    """Where the gradients were taken."""

    @property
    def effect(self) -> Float[Tensor, "prompt layer head pos"]:
        """Share of the way from corrupted (0) to clean (1); NaN where those two are equal."""
        return share_of_way(self.values, self.clean, self.corrupted)


def head_attribution(
    model: LensModel,
    clean: Sequence[Prompt],
    corrupted: Sequence[Prompt],
    metric: Reduce,
    *,
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    method: AttributionMethod = "plain",
    steps: int = 8,
) -> HeadAttribution:
    """Foretell `head_grid` from gradients: (clean - corrupted ``z``) ``W_O`` · gradient.

    As `attribution_grid` at ``attn_out``, of which a head's output is a part: attributions of a
    layer's heads sum to that of its ``attn_out``. ``integrated`` moves all heads of a layer
    together.

    Args:
        model: The model.
        clean: Prompts that heads' outputs are taken from.
        corrupted: Prompts that they are put into, one for each clean one, of equal length.
        metric: One number a row, in operations torch can differentiate.
        layers: Blocks; None for all.
        positions: Positions patched one at a time; None to patch all at once.
        method: Where the gradients are taken.
        steps: Points of the line, for ``integrated``.

    Raises:
        ValueError: If the prompts do not pair, no pair has a position, the metric gives more
            than one number, or ``attn_out`` is not what the model adds to the residual stream.
    """
    chosen = tuple(range(model.card.n_layers)) if layers is None else tuple(layers)
    check_place(Site.ATTN_OUT, chosen, card=model.card)
    points = points_of(method, steps)
    pairs = Pairs(clean=tuple(clean), corrupted=tuple(corrupted), align="start")
    if positions is not None:
        check_positions(pairs, positions)
    scores = score_pairs(
        model,
        pairs,
        (),
        metric,
        token_budget=DEFAULT_SWEEP_BUDGET,
        resume=True,
        explain=False,
    )
    outputs = head_outputs(model, pairs, chosen)
    changes = pair_changes(model, pairs, Site.ATTN_OUT, chosen)
    places = [(Site.ATTN_OUT, layer) for layer in chosen]
    gradients: dict[tuple[Site, int], Tensor] = {}
    for group in [places] if method == "plain" else [[place] for place in places]:
        line = Line(place=group[0], change=changes[group[0][1]])
        gradients |= path_gradients(model, pairs, metric, group, points, line)
    can = differing(pairs)[:, None, None]
    attributed = torch.stack(
        [
            _by_head(outputs[layer].change, outputs[layer].weights, gradients[place])
            for layer, place in zip(chosen, places, strict=True)
        ],
        dim=1,
    )
    attributed = torch.where(can, attributed, 0.0)
    if positions is None:
        kept = attributed.sum(dim=-1, keepdim=True)
    else:
        kept = at_positions_of(attributed, pairs, positions)
    return HeadAttribution(
        layers=chosen,
        positions=None if positions is None else tuple(positions),
        values=scores.corrupted[:, None, None, None] + kept,
        clean=scores.clean,
        corrupted=scores.corrupted,
        method=method,
    )


def _by_head(
    change: Float[Tensor, "prompt pos head d_head"],
    weights: Float[Tensor, "head d_head d_model"],
    gradient: Float[Tensor, "prompt pos d_model"],
) -> Float[Tensor, "prompt head pos"]:
    by_z = einsum(
        gradient,
        weights.to(gradient.device, gradient.dtype),
        "prompt pos d_model, head d_head d_model -> prompt pos head d_head",
    )
    pattern = "prompt pos head d_head, prompt pos head d_head -> prompt head pos"
    return einsum(change.to(by_z.device, by_z.dtype), by_z, pattern).detach().cpu()
