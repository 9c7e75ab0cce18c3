"""Gradients of a metric along the way from the corrupted run to the clean one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens_personas.hooks import Edit, HookFn, PassHooks, Site, TokenLayout
from lens_personas.interventions._pair_runs import read_site
from lens_personas.interventions._pairs import Pairs
from lens_personas.interventions._sweep_types import Cell, Reduce, reduced
from lens_personas.models import (
    DEFAULT_TOKEN_BUDGET,
    LastScore,
    LensModel,
    Prompt,
    SiteGradients,
    gradient_batches,
    site_gradients,
)

Place = tuple[Site, int]

AttributionMethod = Literal["plain", "integrated"]
"""Where gradients are taken: ``plain`` at the corrupted run, ``integrated`` on average over the
straight line from there to the clean states."""


class Point(NamedTuple):
    """A point of the line."""

    share: float
    """Share of the way from corrupted (0) to clean (1)."""
    weight: float
    """What its gradient counts for in the mean; all weights sum to 1."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """States that are moved along the straight line."""

    place: Place
    """Where they lie."""
    change: Float[Tensor, "prompt pos d_model"]
    """Clean less corrupted, at the corrupted prompts' positions."""


def metric_gradients(
    model: LensModel,
    prompts: Sequence[Prompt],
    metric: Reduce,
    places: Sequence[Place],
    *,
    edits: Sequence[Edit] = (),
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> SiteGradients:
    """Derivative of a metric by the activations at all ``places``, in one forward and backward.

    ``models.site_gradients`` for what sweeps and grids measure. Cells of a `ByCell` metric number
    the prompts; its function, as any, has to stay with operations torch can differentiate.

    Raises:
        ValueError: If there is no prompt, an edit or a place does not fit the model, or the
            metric does not give one number a row.
        HookCountError: If a hook did not fire exactly once.
    """
    score = _last_score(model, metric, len(prompts))
    return site_gradients(model, prompts, score, places, edits=edits, token_budget=token_budget)


def points_of(method: AttributionMethod, steps: int) -> tuple[Point, ...]:
    """Where gradients are taken: the corrupted run, or ``steps`` Gauss-Legendre nodes.

    Raises:
        ValueError: If there is no step.
    """
    if steps < 1:
        raise ValueError(f"expected at least one step along the line, got {steps}")
    if method == "plain":
        return (Point(0.0, 1.0),)
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    pairs = zip(nodes.tolist(), weights.tolist(), strict=True)
    return tuple(Point((1 + node) / 2, weight / 2) for node, weight in pairs)


def pair_changes(
    model: LensModel, pairs: Pairs, site: Site, layers: Sequence[int]
) -> dict[int, Float[Tensor, "prompt pos d_model"]]:
    """Clean less corrupted activations by layer, at the corrupted prompts' positions.

    0 where a pair lacks the position, or cannot differ there by causality.
    """
    clean = read_site(model, pairs.clean, site, layers)
    corrupted = read_site(model, pairs.corrupted, site, layers)
    can = differing(pairs).to(corrupted[layers[0]].device)
    columns = _clean_columns(pairs).to(can.device)
    return {
        layer: torch.where(can[..., None], _gathered(clean[layer], columns) - corrupted[layer], 0.0)
        for layer in layers
    }


def differing(pairs: Pairs) -> Bool[Tensor, "prompt pos"]:
    """Positions of the corrupted prompts at which the two runs of a pair can differ."""
    width = max(len(prompt.ids) for prompt in pairs.corrupted)
    return torch.tensor(
        [[pairs.changes(at, position) for position in range(width)] for at in pairs.numbers]
    )


def path_gradients(
    model: LensModel,
    pairs: Pairs,
    metric: Reduce,
    places: Sequence[Place],
    points: Sequence[Point],
    line: Line,
) -> dict[Place, Float[Tensor, "prompt pos d_model"]]:
    """Mean gradient at each place over the points of ``line``, at the corrupted positions.

    Rows of all points share batches; the sums alone are held.

    Raises:
        ValueError: If an edit or a place does not fit the model, or the metric does not give one
            number a row.
    """
    n_pairs = len(pairs.corrupted)
    width = max(len(prompt.ids) for prompt in pairs.corrupted)
    hook = along(line.change, [point.share for point in points])
    moved = any(point.share for point in points)
    edits = [Edit(site=line.place[0], layer=line.place[1], hook=hook, per_pass=True)] * moved
    sums: dict[Place, Tensor] = {}
    for found in gradient_batches(
        model,
        [*pairs.corrupted] * len(points),
        _last_score(model, metric, n_pairs),
        places,
        edits=edits,
    ):
        for place, gradient in found.gradients.items():
            if place not in sums:
                # Summed in float32: small weights are lost in half precision.
                sums[place] = torch.zeros(
                    n_pairs, width, gradient.shape[2], device=gradient.device
                ).to(torch.promote_types(gradient.dtype, torch.float32))
            for at, row in enumerate(found.batch.rows):
                pair, n_tokens = row % n_pairs, len(pairs.corrupted[row % n_pairs].ids)
                weight = points[row // n_pairs].weight
                sums[place][pair, :n_tokens] += weight * gradient[at, -n_tokens:]
    return sums


def _last_score(model: LensModel, metric: Reduce, n_prompts: int) -> LastScore:
    """The metric as a function of last residuals, of rows that repeat the prompts."""

    def score(resid: Float[Tensor, "row d_model"], rows: Sequence[int]) -> Float[Tensor, " row"]:
        cells = [Cell(0, row, row % n_prompts) for row in rows]
        values = reduced(model, resid, cells, metric)
        if values.shape[1] != 1:
            raise ValueError(
                f"expected a metric of one number a row, got {values.shape[1]}; "
                "give LastTokens weights, or reduce to one column"
            )
        return values[:, 0]

    return score


def along(change: Float[Tensor, "prompt pos d_model"], shares: Sequence[float]) -> PassHooks:
    """Maker of hooks that add a share of ``change``: rows repeat the pairs, once for each share."""

    def make(rows: Sequence[int], layout: TokenLayout, /) -> HookFn:
        pair = torch.tensor([row % len(change) for row in rows], device=change.device)
        share = torch.tensor([shares[row // len(change)] for row in rows], device=change.device)
        columns = layout.positions.to(change.device)
        step = share[:, None, None].to(change.dtype) * _gathered(change[pair], columns)

        def move(
            activation: Float[Tensor, "batch pos d_model"], /, *, hook: object
        ) -> Float[Tensor, "batch pos d_model"]:
            return _moved(activation, step)

        return move

    return make


def _moved(
    activation: Float[Tensor, "batch pos d_model"], step: Float[Tensor, "batch pos d_model"]
) -> Float[Tensor, "batch pos d_model"]:
    return activation + step.to(activation.device, activation.dtype)


def _clean_columns(pairs: Pairs) -> Int[Tensor, "prompt pos"]:
    """Clean position that matches each corrupted one; -1 where there is none."""
    width = max(len(prompt.ids) for prompt in pairs.corrupted)
    longest = max(len(prompt.ids) for prompt in pairs.clean)
    shift = [
        c.prompt_length - k.prompt_length if pairs.align == "end" else 0
        for c, k in zip(pairs.clean, pairs.corrupted, strict=True)
    ]
    columns = torch.arange(width) + torch.tensor(shift)[:, None]
    return torch.where((columns >= 0) & (columns < longest), columns, -1)


def _gathered(
    source: Float[Tensor, "row source d_model"], columns: Int[Tensor, "row pos"]
) -> Float[Tensor, "row pos d_model"]:
    """States of ``source`` at ``columns``; 0 where they are negative."""
    index = columns.clamp_min(0)[..., None].expand(-1, -1, source.shape[2])
    return torch.where((columns >= 0)[..., None], source.gather(1, index), 0.0)
