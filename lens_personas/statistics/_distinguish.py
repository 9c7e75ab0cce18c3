"""How well a score tells two sides apart: AUROC, d', rank test."""

import numpy as np
from jaxtyping import Float
from scipy import optimize, stats

from lens_personas.statistics._checks import require_finite
from lens_personas.statistics._intervals import Interval, bootstrap_interval, undefined


def auroc(
    positive: Float[np.ndarray, " positive"], negative: Float[np.ndarray, " negative"]
) -> float:
    """Chance that a positive scores above a negative, ties counted half; NaN without a side.

    Raises:
        ValueError: If a score is not finite.
    """
    _require(positive, negative)
    return float(_auroc(positive, negative, axis=-1))


def auroc_interval(
    positive: Float[np.ndarray, " positive"],
    negative: Float[np.ndarray, " negative"],
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """AUROC with its bootstrap interval, each side resampled by itself.

    Two sides that do not overlap leave the bootstrap nothing to vary; the inner bound is then
    the score bound of Newcombe's method 5 (https://doi.org/10.1002/sim.2324).

    Raises:
        ValueError: If a score is not finite, or ``level`` is not in (0, 1).
    """
    estimate = auroc(positive, negative)
    if estimate in (0.0, 1.0):
        return separated(estimate, len(positive), len(negative), level)
    interval = bootstrap_interval(
        _auroc,
        [positive, negative],
        rng=rng,
        n_resamples=n_resamples,
        level=level,
        n_units=min(len(positive), len(negative)),
    )
    if np.isnan(interval.low):
        return undefined(level, estimate)
    return interval


def d_prime(
    positive: Float[np.ndarray, " positive"], negative: Float[np.ndarray, " negative"]
) -> float:
    """Difference of the means in units of the root mean of the two variances.

    NaN with fewer than 2 scores on a side, or without variance.

    Raises:
        ValueError: If a score is not finite.
    """
    _require(positive, negative)
    if min(len(positive), len(negative)) < 2:
        return float("nan")
    variance = (_variance(positive) + _variance(negative)) / 2.0
    if variance == 0.0:
        return float("nan")
    difference = positive.mean(dtype=np.float64) - negative.mean(dtype=np.float64)
    return float(difference / np.sqrt(variance))


def mann_whitney(
    positive: Float[np.ndarray, " positive"], negative: Float[np.ndarray, " negative"]
) -> float:
    """Two-sided p that the AUROC is one half; 1 without a side or without variance.

    See ``scipy.stats.mannwhitneyu``: exact for a side of up to 8 without ties.

    Raises:
        ValueError: If a score is not finite.
    """
    _require(positive, negative)
    pooled = np.concatenate([positive, negative])
    if not len(positive) or not len(negative) or np.ptp(pooled) == 0.0:
        return 1.0
    return float(stats.mannwhitneyu(positive, negative).pvalue)


def _require(
    positive: Float[np.ndarray, " positive"], negative: Float[np.ndarray, " negative"]
) -> None:
    require_finite("positive", positive)
    require_finite("negative", negative)


def _auroc(
    positive: Float[np.ndarray, "*draws positive"],
    negative: Float[np.ndarray, "*draws negative"],
    axis: int,
) -> Float[np.ndarray, "*draws"]:
    n, m = positive.shape[axis], negative.shape[axis]
    if not n or not m:
        return np.full(positive.shape[:-1], np.nan)
    ranks = stats.rankdata(np.concatenate([positive, negative], axis=axis), axis=axis)
    above = ranks[..., :n].sum(axis=axis) - n * (n + 1) / 2.0
    return np.asarray(above / (n * m))


def _variance(scores: Float[np.ndarray, " score"]) -> float:
    return float(scores.var(dtype=np.float64, ddof=1)) if np.ptp(scores) > 0.0 else 0.0


def separated(estimate: float, n: int, m: int, level: float) -> Interval:
    """Interval of an AUROC of 0 or 1, which leaves a bootstrap nothing to vary."""
    z = stats.norm.isf((1.0 - level) / 2.0)
    pairs = (n + m) / 2.0 - 1.0

    def gap(value: float) -> float:
        spread = 1.0 + pairs * ((1.0 - value) / (2.0 - value) + value / (1.0 + value))
        return float(n * m * (1.0 - value) - z**2 * value * spread)

    inner = float(optimize.brentq(gap, 0.0, 1.0))
    low, high = (inner, 1.0) if estimate == 1.0 else (0.0, 1.0 - inner)
    return Interval(estimate=estimate, low=low, high=high, level=level)
