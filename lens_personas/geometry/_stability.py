"""How well the data fix a difference of means: split halves, bootstrap cone, shuffled labels.

Every resampled vector is one row of a weight matrix times the activations, in float64. With
``paired=True`` row i of both sides is one unit: it is drawn, or its sign is flipped, whole.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.geometry._directions import matched, working_dtype


@dataclass(frozen=True, kw_only=True)
class SplitHalf:
    """Agreement of the vectors of two random halves of the data."""

    mean: float
    """Mean cosine between the halves' vectors over the splits, in [-1, 1]."""
    low: float
    """2.5th percentile over the splits."""
    high: float
    """97.5th percentile over the splits; no confidence interval, the splits share the data."""
    corrected: float
    """Cosine expected between the vectors of two data sets of the full size (Spearman-Brown)."""


@dataclass(frozen=True, kw_only=True)
class Cone:
    """How far vectors of resampled data lie from the vector of all data."""

    mean_cosine: float
    """Mean cosine of a resampled vector with the full one, in [-1, 1]."""
    low: float
    """2.5th percentile of that cosine over the resamples."""
    high: float
    """97.5th percentile of that cosine over the resamples."""


def split_half_cosine(
    positive: Float[Tensor, "positive d_model"],
    negative: Float[Tensor, "negative d_model"],
    *,
    generator: torch.Generator,
    n_splits: int = 100,
    paired: bool = False,
) -> SplitHalf:
    """Cosine between the differences of means of two random halves, over ``n_splits`` splits.

    A side of odd size leaves one random row out of each split.

    Raises:
        ValueError: If a side has fewer than 2 rows, pairs are asked for and the sides differ
            in size, or ``n_splits`` is below 1.
    """
    _check(positive, negative, paired, n_splits)
    order = _orders(len(positive), n_splits, generator)
    other = order if paired else _orders(len(negative), n_splits, generator)
    first = _half_means(positive, order, 0) - _half_means(negative, other, 0)
    second = _half_means(positive, order, 1) - _half_means(negative, other, 1)
    cosines = torch.cosine_similarity(first, second, dim=-1, eps=0.0)
    low, high = _percentiles(cosines)
    mean = float(cosines.mean())
    return SplitHalf(mean=mean, low=low, high=high, corrected=spearman_brown(mean))


def bootstrap_cone(
    positive: Float[Tensor, "positive d_model"],
    negative: Float[Tensor, "negative d_model"],
    *,
    generator: torch.Generator,
    n_resamples: int = 200,
    paired: bool = False,
) -> Cone:
    """Cosine of the difference of means of resampled rows with that of all rows.

    Raises:
        ValueError: If a side has fewer than 2 rows, pairs are asked for and the sides differ
            in size, or ``n_resamples`` is below 1.
    """
    _check(positive, negative, paired, n_resamples)
    weights = _bootstrap_weights(len(positive), n_resamples, generator)
    other = weights if paired else _bootstrap_weights(len(negative), n_resamples, generator)
    vectors = _weighted(weights, positive) - _weighted(other, negative)
    full = positive.double().mean(dim=0) - negative.double().mean(dim=0)
    cosines = torch.cosine_similarity(vectors, full[None], dim=-1, eps=0.0)
    low, high = _percentiles(cosines)
    return Cone(mean_cosine=float(cosines.mean()), low=low, high=high)


def permuted_cosines(
    positive: Float[Tensor, "positive d_model"],
    negative: Float[Tensor, "negative d_model"],
    reference: Float[Tensor, " d_model"],
    *,
    generator: torch.Generator,
    n_permutations: int = 1000,
    paired: bool = False,
) -> Float[Tensor, " permutation"]:
    """Cosines with ``reference`` of differences of means under shuffled labels: a null band.

    Raises:
        ValueError: If a side has fewer than 2 rows, pairs are asked for and the sides differ
            in size, or ``n_permutations`` is below 1.
    """
    drawn = permuted_differences(
        positive, negative, generator=generator, n_permutations=n_permutations, paired=paired
    )
    cosines = torch.cosine_similarity(drawn, matched(reference, drawn)[None], dim=-1, eps=0.0)
    return cosines.to(working_dtype(positive))


def permuted_differences(
    positive: Float[Tensor, "positive d_model"],
    negative: Float[Tensor, "negative d_model"],
    *,
    generator: torch.Generator,
    n_permutations: int = 1000,
    paired: bool = False,
) -> Float[Tensor, "permutation d_model"]:
    """Differences of means under shuffled labels, in float64: vectors of nothing but chance.

    For cosines with many references at once; for one, `permuted_cosines`.

    Raises:
        ValueError: As `permuted_cosines`.
    """
    _check(positive, negative, paired, n_permutations)
    if paired:
        rows = positive.double() - negative.double()
        weights = _signs(len(rows), n_permutations, generator) / len(rows)
    else:
        rows = torch.cat([positive, negative]).double()
        order = _orders(len(rows), n_permutations, generator)
        weights = torch.where(order < len(positive), 1.0 / len(positive), -1.0 / len(negative))
    return _weighted(weights, rows)


def spearman_brown(half_cosine: float) -> float:
    """Agreement expected at the full size, from the agreement of two halves.

    ``2 r / (1 + r)``: exact for vectors of a fixed part plus independent noise in many
    dimensions, whose cosine is signal / (signal + noise). NaN at ``r = -1``.

    >>> round(spearman_brown(0.5), 3)
    0.667
    """
    return float("nan") if half_cosine == -1.0 else 2.0 * half_cosine / (1.0 + half_cosine)


def cosine_ceiling(first_corrected: float, second_corrected: float) -> float:
    """Largest cosine two vectors of these reliabilities can be expected to reach.

    Geometric mean of the two `SplitHalf.corrected`; 0 if one is not positive, since its data
    then fix no direction.

    >>> cosine_ceiling(0.81, 1.0)
    0.9
    """
    return float((max(first_corrected, 0.0) * max(second_corrected, 0.0)) ** 0.5)


def _check(
    positive: Float[Tensor, "positive d_model"],
    negative: Float[Tensor, "negative d_model"],
    paired: bool,
    draws: int,
) -> None:
    sizes = (len(positive), len(negative))
    if min(sizes) < 2:
        raise ValueError(f"expected at least 2 rows on both sides, got {sizes}; collect more")
    if paired and sizes[0] != sizes[1]:
        raise ValueError(
            f"expected as many positive as negative rows, got {sizes}; "
            "drop the rows without a partner, or pass paired=False"
        )
    if draws < 1:
        raise ValueError(f"expected at least 1 draw, got {draws}")


def _orders(n: int, draws: int, generator: torch.Generator) -> Int[Tensor, "draw n"]:
    noise = torch.rand(draws, n, generator=generator, device=generator.device, dtype=torch.float64)
    return noise.argsort(dim=-1)


def _signs(n: int, draws: int, generator: torch.Generator) -> Float[Tensor, "draw n"]:
    flips = torch.randint(0, 2, (draws, n), generator=generator, device=generator.device)
    return 2.0 * flips.double() - 1.0


def _half_means(
    rows: Float[Tensor, "row d_model"], order: Int[Tensor, "draw row"], part: int
) -> Float[Tensor, "draw d_model"]:
    half = len(rows) // 2
    inside = (order >= part * half) & (order < (part + 1) * half)
    return _weighted(inside.double() / half, rows)


def _bootstrap_weights(n: int, draws: int, generator: torch.Generator) -> Float[Tensor, "draw n"]:
    chosen = torch.randint(0, n, (draws, n), generator=generator, device=generator.device)
    counts = torch.zeros_like(chosen, dtype=torch.float64)
    return counts.scatter_add_(1, chosen, torch.ones_like(counts)) / n


def _weighted(
    weights: Float[Tensor, "draw row"], rows: Float[Tensor, "row d_model"]
) -> Float[Tensor, "draw d_model"]:
    return weights.to(device=rows.device, dtype=torch.float64) @ rows.double()


def _percentiles(cosines: Float[Tensor, " draw"]) -> tuple[float, float]:
    return float(cosines.quantile(0.025)), float(cosines.quantile(0.975))
