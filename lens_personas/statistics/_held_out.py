"""Scores of held-out rows: folds by group, labels dealt anew, AUROC and d' with intervals."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy import stats

from lens_personas.statistics._checks import require_finite, require_fraction, require_same_length
from lens_personas.statistics._distinguish import separated
from lens_personas.statistics._intervals import Interval, percentile_interval


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """How well a column of held-out scores tells two labels apart."""

    auroc: Interval
    """Chance that a positive scores above a negative of the same fold, ties counted half."""
    d_prime: Interval
    """Difference of the means in units of the root mean variance, over all folds."""


def deal_folds(
    labels: Bool[np.ndarray, " row"],
    groups: Shaped[np.ndarray, " row"],
    *,
    n_folds: int,
    rng: np.random.Generator,
) -> Int[np.ndarray, " row"]:
    """Fold of each row, from 0: groups whole, and each label spread evenly over the folds.

    There are fewer folds where a label has fewer groups than that.

    Raises:
        ValueError: If ``n_folds`` is below 2, or a label is found in fewer than two groups.
    """
    require_same_length(labels=labels, groups=groups)
    if n_folds < 2:
        raise ValueError(f"expected at least 2 folds, got {n_folds}")
    names, index = np.unique(groups, return_inverse=True)
    rate = group_rates(labels, index, len(names))
    sides = int((rate > 0).sum()), int((rate < 1).sum())
    if min(sides) < 2:
        raise ValueError(
            f"expected each label in at least two groups, got {sides[0]} groups with it and "
            f"{sides[1]} without; give more statements, or smaller groups"
        )
    # Not by StratifiedGroupKFold, which ranks groups by size: here every group of a kind has the
    # same chance of each fold, which is what makes labels dealt within folds exchangeable.
    order = rng.permutation(len(names))
    order = order[np.argsort(group_kinds(rate)[order], kind="stable")]
    fold_of = np.empty(len(names), dtype=np.int64)
    fold_of[order] = np.arange(len(names)) % min(n_folds, *sides)
    return np.asarray(fold_of[index])


def deal_labels(
    labels: Bool[np.ndarray, " row"],
    groups: Shaped[np.ndarray, " row"],
    folds: Int[np.ndarray, " row"],
    *,
    n_draws: int,
    rng: np.random.Generator,
) -> Bool[np.ndarray, "row draw"]:
    """Labels dealt anew within each fold, as they would fall if they meant nothing.

    Groups of one label exchange it as a whole; a group that holds both has its own shuffled.
    Each fold keeps its number of groups of each label, as :func:`deal_folds` made it.

    Raises:
        ValueError: If the lengths differ.
    """
    require_same_length(labels=labels, groups=groups, folds=folds)
    names, index = np.unique(groups, return_inverse=True)
    rate = group_rates(labels, index, len(names))
    fold_of = np.empty(len(names), dtype=np.int64)
    fold_of[index] = folds
    dealt = np.repeat(labels[:, None], n_draws, axis=1)
    of_groups = np.repeat((rate == 1.0)[:, None], n_draws, axis=1)
    whole = group_kinds(rate) != 0.0
    for fold in np.unique(folds):
        here = np.flatnonzero(whole & (fold_of == fold))
        of_groups[here] = rng.permuted(of_groups[here], axis=0)
    rows = whole[index]
    dealt[rows] = of_groups[index[rows]]
    for name in np.flatnonzero(~whole):
        mixed = index == name
        dealt[mixed] = rng.permuted(dealt[mixed], axis=0)
    return dealt


def fold_auroc(
    scores: Float[np.ndarray, "row draw"],
    labels: Bool[np.ndarray, "row draw"],
    folds: Int[np.ndarray, " row"],
) -> Float[np.ndarray, " draw"]:
    """AUROC of each column over the pairs within a fold; NaN where no fold has both labels.

    Scores of different folds come from different probes, whose scales and offsets differ; over
    all pairs at once a probe without information would even fall below one half.

    Raises:
        ValueError: If a score is not finite.
    """
    require_finite("scores", scores)
    above, pairs = np.zeros(scores.shape[1]), np.zeros(scores.shape[1])
    for fold in np.unique(folds):
        here = folds == fold
        positive = labels[here].sum(axis=0)
        ranks = stats.rankdata(scores[here], axis=0)
        above += (ranks * labels[here]).sum(axis=0) - positive * (positive + 1) / 2.0
        pairs += positive * (here.sum() - positive)
    return np.asarray(np.divide(above, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))


def held_out_intervals(
    scores: Float[np.ndarray, "row column"],
    projections: Float[np.ndarray, "row column"],
    labels: Bool[np.ndarray, " row"],
    groups: Shaped[np.ndarray, " row"],
    folds: Int[np.ndarray, " row"],
    *,
    rng: np.random.Generator,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> list[HeldOut]:
    """AUROC of each column of ``scores`` and d' of each of ``projections``, with intervals.

    Whole groups are resampled, those of each label by themselves; one set of draws serves all
    columns. The probes stay as they were fitted: the interval is of how well *they* do.

    Raises:
        ValueError: If a number is not finite, lengths differ, or ``level`` is not in (0, 1).
    """
    require_same_length(scores=scores, projections=projections, labels=labels, groups=groups)
    require_finite("scores", scores)
    require_finite("projections", projections)
    require_fraction("level", level)
    names, index = np.unique(groups, return_inverse=True)
    rate = group_rates(labels, index, len(names))
    sizes = int((rate > 0).sum()), int((rate < 1).sum())
    drawn = resampled_groups(group_kinds(rate), n_resamples, rng)[:, index]
    once = np.ones((1, len(labels)))
    aurocs = [_weighted_auroc(scores, labels, folds, w) for w in (once, drawn)]
    d_primes = [_weighted_d_prime(projections, labels, w) for w in (once, drawn)]
    return [
        HeldOut(
            auroc=_auroc_interval(float(aurocs[0][0, at]), aurocs[1][:, at], sizes, level),
            d_prime=_interval(float(d_primes[0][0, at]), d_primes[1][:, at], min(sizes), level),
        )
        for at in range(scores.shape[1])
    ]


def group_rates(
    labels: Bool[np.ndarray, " row"], index: Int[np.ndarray, " row"], n_groups: int
) -> Float[np.ndarray, " group"]:
    """Share of each group's rows that have the label."""
    return np.bincount(index, weights=labels, minlength=n_groups) / np.bincount(index)


def group_kinds(rate: Float[np.ndarray, " group"]) -> Float[np.ndarray, " group"]:
    """Kind of each group: -1 without the label, 1 with it alone, 0 with and without."""
    return np.asarray((rate == 1.0) * 1.0 - (rate == 0.0) * 1.0)


def resampled_groups(
    kinds: Float[np.ndarray, " group"], n_resamples: int, rng: np.random.Generator
) -> Float[np.ndarray, "draw group"]:
    """How often each resample takes each group; every kind is resampled by itself."""
    weights = np.empty((n_resamples, len(kinds)))
    for kind in np.unique(kinds):
        at = np.flatnonzero(kinds == kind)
        weights[:, at] = rng.multinomial(len(at), np.full(len(at), 1 / len(at)), size=n_resamples)
    return weights


def _weighted_auroc(
    scores: Float[np.ndarray, "row column"],
    labels: Bool[np.ndarray, " row"],
    folds: Int[np.ndarray, " row"],
    weights: Float[np.ndarray, "draw row"],
) -> Float[np.ndarray, "draw column"]:
    above = np.zeros((len(weights), scores.shape[1]))
    pairs = np.zeros((len(weights), 1))
    for fold in np.unique(folds):
        here = folds == fold
        positive, negative = np.flatnonzero(here & labels), np.flatnonzero(here & ~labels)
        heavy, light = weights[:, positive], weights[:, negative]
        pairs += heavy.sum(axis=1, keepdims=True) * light.sum(axis=1, keepdims=True)
        for at in range(scores.shape[1]):
            gap = scores[positive, at][:, None] - scores[negative, at]
            above[:, at] += ((heavy @ (np.sign(gap) / 2.0 + 0.5)) * light).sum(axis=1)
    return np.divide(above, pairs, out=np.full_like(above, np.nan), where=pairs > 0)


def _weighted_d_prime(
    projections: Float[np.ndarray, "row column"],
    labels: Bool[np.ndarray, " row"],
    weights: Float[np.ndarray, "draw row"],
) -> Float[np.ndarray, "draw column"]:
    means, variances = [], []
    for side in (labels, ~labels):
        n = weights[:, side].sum(axis=1, keepdims=True)
        mean = weights[:, side] @ projections[side] / n
        # From the side's own mean, so that squares far from 0 do not cancel.
        middle = projections[side].mean(axis=0)
        square = weights[:, side] @ (projections[side] - middle) ** 2 / n
        means.append(mean)
        variances.append((square - (mean - middle) ** 2) * n / np.maximum(n - 1, 1))
    pooled = np.sqrt(np.maximum(sum(variances) / 2.0, 0.0))
    gap = means[0] - means[1]
    known = pooled > 1e-12 * abs(gap)
    return np.asarray(np.divide(gap, pooled, out=np.full_like(gap, np.nan), where=known))


def _auroc_interval(
    estimate: float, draws: Float[np.ndarray, " draw"], sizes: tuple[int, int], level: float
) -> Interval:
    if estimate in (0.0, 1.0):
        return separated(estimate, *sizes, level)
    return _interval(estimate, draws, min(sizes), level)


def _interval(
    estimate: float, draws: Float[np.ndarray, " draw"], n_units: int, level: float
) -> Interval:
    return percentile_interval(estimate, draws[np.isfinite(draws)], n_units, level)
