"""Linear probes: how far held-out states tell two labels apart, for many labellings at once."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens_personas.geometry._differences import difference_of_means
from lens_personas.geometry._directions import unit_vector

_CONSTANT = 1e-6
"""Spread, as a share of a feature's largest value, below which it is rounding."""


def held_out_scores(
    states: Float[Tensor, "row d_model"],
    targets: Float[Tensor, "row draw"],
    folds: Int[Tensor, " row"],
    *,
    shrinkage: float | None = None,
) -> Float[Tensor, "row draw"]:
    """Score of each row by a linear probe fitted to the targets of the other folds, in float64.

    Ridge regression, whose direction for two labels is that of linear discriminant analysis
    with a shrunk covariance. Solved in the rows' inner products, once for all draws: a thousand
    labellings cost little more than one. Features are scaled to unit variance over all rows,
    which looks at no target. The scale of a score has no meaning; higher is a higher target.

    Args:
        states: One vector a row; it may lie on any device.
        targets: What is predicted, one column a labelling (0 and 1, or any number).
        folds: Fold of each row, any numbers.
        shrinkage: Weight of the identity against the covariance of the features, in (0, 1];
            None for that of Ledoit and Wolf, which needs no target either.

    Raises:
        ValueError: If there are fewer than two folds, or ``shrinkage`` is not in (0, 1].
    """
    if shrinkage is not None and not 0.0 < shrinkage <= 1.0:
        raise ValueError(
            f"expected a shrinkage above 0 and up to 1, got {shrinkage}; None chooses it"
        )
    names = _fold_names(folds)
    features = standardised(states)
    gram = (features @ features.T).double()
    weight = ledoit_wolf(gram, features.shape[1]) if shrinkage is None else shrinkage
    scores = targets.new_zeros(targets.shape, dtype=torch.float64)
    for name in names:
        held = folds == name
        scores[held] = _ridge(gram, targets.double(), held, weight, features.shape[1])
    return scores


def held_out_projections(
    states: Float[Tensor, "row d_model"],
    positive: Bool[Tensor, " row"],
    folds: Int[Tensor, " row"],
) -> Float[Tensor, " row"]:
    """Each row along the unit difference of means of the other folds, from their midpoint.

    In units of the activation, above 0 on the positive side; 0 where the means are the same.
    The direction is the one that steering by difference of means would use.

    Raises:
        ValueError: If there are fewer than two folds, or the rest of a fold lacks a side.
    """
    projected = states.new_zeros(len(states), dtype=torch.float64)
    for name in _fold_names(folds):
        held = folds == name
        above, below = states[~held & positive], states[~held & ~positive]
        difference = difference_of_means(above, below).double()
        if not bool(difference.norm() > 0):
            continue
        middle = (above.mean(dim=0, dtype=torch.float64) + below.mean(0, dtype=torch.float64)) / 2
        projected[held] = (states[held].double() - middle) @ unit_vector(difference)
    return projected


def standardised(states: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
    """Features with mean 0 and variance 1 over the rows, in float32 or wider; constant ones 0."""
    wide = states.to(torch.promote_types(states.dtype, torch.float32))
    centred = wide - wide.mean(dim=0, dtype=torch.float64).to(wide.dtype)
    spread = centred.square().mean(dim=0).sqrt()
    varies = spread > _CONSTANT * wide.abs().amax(dim=0)
    return torch.where(varies, centred / torch.where(varies, spread, 1.0), 0.0)


def ledoit_wolf(gram: Float[Tensor, "row row"], width: int) -> float:
    """Shrinkage of a covariance towards a multiple of the identity, from 0 to 1.

    Ledoit and Wolf (https://doi.org/10.1016/S0047-259X(03)00096-4), from the inner products of
    ``width`` centred features; 1 where nothing varies.
    """
    n = len(gram)
    squares = gram.square().sum() / n**2
    apart = squares - (gram.trace() / n).square() / width
    noise = (gram.diagonal().square().mean() - squares) / n
    return float((noise / apart).clamp(0.0, 1.0)) if apart > 0 else 1.0


def _ridge(
    gram: Float[Tensor, "row row"],
    targets: Float[Tensor, "row draw"],
    held: Bool[Tensor, " row"],
    shrinkage: float,
    width: int,
) -> Float[Tensor, "held draw"]:
    """Scores of the held rows. Centred by the means of the others, in the inner products."""
    fitted, across = gram[~held][:, ~held], gram[held][:, ~held]
    means = fitted.mean(dim=0)
    inner = fitted - means - means[:, None] + means.mean()
    outer = across - means - across.mean(dim=1, keepdim=True) + means.mean()
    wanted = targets[~held] - targets[~held].mean(dim=0)
    # (1 - s) S + s tr(S)/d I, divided by 1 - s; where s is 1 only the direction is left of it.
    scale = inner.trace() / width
    if not bool(scale > 0):
        return outer.new_zeros(len(outer), wanted.shape[1])
    penalty = scale * shrinkage / max(1.0 - shrinkage, 1e-9)
    penalty = penalty.clamp_min(1e-9 * inner.trace())
    shifted = inner + penalty * torch.eye(len(inner), dtype=inner.dtype, device=inner.device)
    # For the held rows, which are fewer than the draws: a row of weights of the fitted targets.
    weights = torch.cholesky_solve(outer.T, torch.linalg.cholesky(shifted)).T
    return weights @ wanted


def _fold_names(folds: Int[Tensor, " row"]) -> list[int]:
    names = [int(name) for name in folds.unique()]
    if len(names) < 2:
        raise ValueError(
            f"expected at least two folds, got {len(names)}: a probe is fitted to the others"
        )
    return names
