"""Attribution patching over layers and positions: a patch grid, foretold from gradients."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import Align, Site
from lens_personas.interventions._attribution_path import (
    AttributionMethod,
    Line,
    pair_changes,
    path_gradients,
    points_of,
)
from lens_personas.interventions._pair_runs import score_pairs, share_of_way
from lens_personas.interventions._pairs import Pairs, check_positions
from lens_personas.interventions._plan import check_place
from lens_personas.interventions._sweep_plan import DEFAULT_SWEEP_BUDGET
from lens_personas.interventions._sweep_types import Reduce
from lens_personas.models import LensModel, Prompt


@dataclass(frozen=True, kw_only=True)
class AttributionGrid:
    """What a metric is foretold to become when one clean state is put into the corrupted run."""

    site: Site
    """What is patched."""
    layers: tuple[int, ...]
    """Blocks, one a column of ``values``."""
    positions: tuple[int, ...]
    """Positions: from 0 at the first token, or from -1 backwards at the last prompt token."""
    values: Float[Tensor, "prompt layer pos"]
    """Metric foretold for the patched run: that of the corrupted run and the attribution; NaN
    where a prompt has no such position."""
    clean: Float[Tensor, " prompt"]
    """Metric of the clean run, as measured."""
    corrupted: Float[Tensor, " prompt"]
    """Metric of the corrupted run, as measured."""
    method: AttributionMethod
    """Where the gradients were taken."""

    @property
    def effect(self) -> Float[Tensor, "prompt layer pos"]:
        """Share of the way from corrupted (0) to clean (1); NaN where those two are equal."""
        return share_of_way(self.values, self.clean, self.corrupted)


def attribution_grid(
    model: LensModel,
    clean: Sequence[Prompt],
    corrupted: Sequence[Prompt],
    metric: Reduce,
    *,
    site: Site = Site.RESID_PRE,
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    align: Align = "start",
    method: AttributionMethod = "plain",
    steps: int = 8,
) -> AttributionGrid:
    """Foretell `patch_grid` from gradients: (clean - corrupted state) · gradient of the metric.

    ``plain`` takes the gradient at the corrupted run (Nanda,
    https://www.neelnanda.io/mechanistic-interpretability/attribution-patching): one backward
    pass for all cells. ``integrated`` takes its mean over the straight line on which all
    positions of a layer go from corrupted to clean together (integrated gradients, Sundararajan
    et al., https://arxiv.org/abs/1703.01365): ``steps`` backward passes a layer. A layer's
    attributions then sum to what patching the whole layer does. One position at a time would
    cost more than the patches that it foretells; as it is, short prompts are patched for less.

    A metric that is least at the corrupted run, such as the divergence from it, has no gradient
    there: take ``integrated``.

    Args:
        model: The model.
        clean: Prompts that states are taken from.
        corrupted: Prompts that states are put into, one for each clean one.
        metric: One number a row, in operations torch can differentiate.
        site: What is patched.
        layers: Blocks; None for all.
        positions: Positions; None for all that any pair has.
        align: How the positions of a pair are matched.
        method: Where the gradients are taken.
        steps: Points of the line (Gauss-Legendre), for ``integrated``. On the embedded model 4
            rank the cells as 16 do; 8 miss a layer's sum by .09 at most, of a way of 3.5 nats.

    Raises:
        ValueError: If the prompts do not pair, a position is not in a pair, the metric gives
            more than one number, or an edit at the site would not do what it says.
    """
    chosen = tuple(range(model.card.n_layers)) if layers is None else tuple(layers)
    check_place(site, chosen, card=model.card)
    points = points_of(method, steps)
    pairs = Pairs(clean=tuple(clean), corrupted=tuple(corrupted), align=align)
    at = pairs.shared_positions() if positions is None else tuple(positions)
    check_positions(pairs, at)
    scores = score_pairs(
        model,
        pairs,
        (),
        metric,
        token_budget=DEFAULT_SWEEP_BUDGET,
        resume=True,
        explain=False,
    )
    changes = pair_changes(model, pairs, site, chosen)
    places = [(site, layer) for layer in chosen]
    gradients: dict[tuple[Site, int], Tensor] = {}
    # At the corrupted run itself one pass serves all layers; each line is its layer's own.
    for group in [places] if method == "plain" else [[place] for place in places]:
        line = Line(place=group[0], change=changes[group[0][1]])
        gradients |= path_gradients(model, pairs, metric, group, points, line)
    attributed = torch.stack([_dot(changes[layer], gradients[site, layer]) for layer in chosen], 1)
    values = scores.corrupted[:, None, None] + at_positions_of(attributed, pairs, at)
    return AttributionGrid(
        site=site,
        layers=chosen,
        positions=at,
        values=values,
        clean=scores.clean,
        corrupted=scores.corrupted,
        method=method,
    )


def at_positions_of(
    attributed: Float[Tensor, "prompt *cells pos"], pairs: Pairs, positions: Sequence[int]
) -> Float[Tensor, "prompt *cells chosen"]:
    """Attributions at the grid's positions; NaN where a pair lacks one."""
    rows = []
    for at, prompt in enumerate(pairs.corrupted):
        columns = [p if p >= 0 else prompt.prompt_length + p for p in positions]
        has = torch.tensor([pairs.has(at, p) for p in positions])
        inside = torch.tensor(columns).clamp(0, attributed.shape[-1] - 1)
        rows.append(torch.where(has, attributed[at][..., inside], torch.nan))
    return torch.stack(rows)


def _dot(
    change: Float[Tensor, "prompt pos d_model"], gradient: Float[Tensor, "prompt pos d_model"]
) -> Float[Tensor, "prompt pos"]:
    pattern = "prompt pos d_model, prompt pos d_model -> prompt pos"
    return einsum(change.to(gradient.device, gradient.dtype), gradient, pattern).cpu()
