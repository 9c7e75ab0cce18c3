"""Intervals: Wilson for rates, bootstrap by prompt for means."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from lens_personas.statistics._checks import require_finite, require_fraction, require_same_length

_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its confidence interval."""

    estimate: float
    """The estimate; NaN without data."""
    low: float
    """Lower bound; NaN where the data show no variance to build an interval on."""
    high: float
    """Upper bound; NaN like ``low``."""
    level: float
    """Confidence level, in (0, 1)."""

    def excludes(self, value: float = 0.0) -> bool:
        """Whether ``value`` lies outside; never for an undefined interval."""
        return bool(value < self.low or value > self.high)


def wilson(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Rate ``successes / n`` with its Wilson score interval; for rates, also of 0 and 1.

    Raises:
        ValueError: If not ``0 <= successes <= n``, or ``level`` is not in (0, 1).

    >>> interval = wilson(39, 100)
    >>> round(interval.low, 2), round(interval.high, 2)
    (0.3, 0.49)
    """
    require_fraction("level", level)
    if not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n, got successes={successes}, n={n}")
    if n == 0:
        return undefined(level)
    low, high = proportion_confint(successes, n, alpha=1.0 - level, method="wilson")
    estimate = successes / n
    # Rounding leaves the bound of 0 of n at 1e-19 instead of 0.
    return Interval(
        estimate=estimate,
        low=float(low) if successes else 0.0,
        high=float(high) if successes < n else 1.0,
        level=level,
    )


def paired_bootstrap(
    differences: Float[np.ndarray, " prompt"],
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Mean difference with its bootstrap interval; one difference a prompt, resampled by prompt.

    With several rows a prompt, use `cluster_bootstrap`: taken for prompts they make the
    interval too narrow.

    Raises:
        ValueError: If a difference is not finite, or ``level`` is not in (0, 1).
    """
    require_finite("differences", differences)
    return bootstrap_interval(
        _mean,
        [differences],
        rng=rng,
        n_resamples=n_resamples,
        level=level,
        n_units=len(differences),
    )


def unpaired_bootstrap(
    positive: Float[np.ndarray, " positive"],
    negative: Float[np.ndarray, " negative"],
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Mean of ``positive`` minus mean of ``negative``, each side resampled by itself.

    Raises:
        ValueError: If a value is not finite, or ``level`` is not in (0, 1).
    """
    require_finite("positive", positive)
    require_finite("negative", negative)
    return bootstrap_interval(
        lambda x, y, axis: _mean(x, axis) - _mean(y, axis),
        [positive, negative],
        rng=rng,
        n_resamples=n_resamples,
        level=level,
        n_units=min(len(positive), len(negative)),
    )


def prediction_interval(values: Float[np.ndarray, " item"], *, level: float = 0.95) -> Interval:
    """Where one more draw of the same, normally distributed kind would fall; estimate: the mean.

    Wider than the interval of the mean, which shrinks to a point as draws are added
    (https://en.wikipedia.org/wiki/Prediction_interval#Unknown_mean,_unknown_variance). Without a
    second value or without variance only the estimate is given, the bounds are NaN.

    Raises:
        ValueError: If a value is not finite, or ``level`` not in (0, 1).
    """
    require_finite("values", values)
    require_fraction("level", level)
    n = len(values)
    estimate = float(values.mean()) if n else float("nan")
    if n < 2 or np.ptp(values) == 0.0:
        return undefined(level, estimate)
    spread = float(values.std(ddof=1)) * np.sqrt(1.0 + 1.0 / n)
    reach = float(stats.t.ppf(0.5 + level / 2.0, n - 1) * spread)
    return Interval(estimate=estimate, low=estimate - reach, high=estimate + reach, level=level)


def cluster_bootstrap(
    values: Float[np.ndarray, " row"],
    clusters: Shaped[np.ndarray, " label"],
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Mean over rows with its bootstrap interval; whole clusters (prompts) are resampled.

    ``clusters`` names each row's prompt, by number or text.

    Raises:
        ValueError: If the two differ in length, a value is not finite, or ``level`` is not in
            (0, 1).
    """
    require_same_length(values=values, clusters=clusters)
    require_finite("values", values)
    names, index = np.unique(clusters, return_inverse=True)
    sums = np.bincount(index, weights=values, minlength=len(names)).astype(np.float64)
    sizes = np.bincount(index, minlength=len(names)).astype(np.float64)
    return bootstrap_interval(
        lambda total, size, axis: total.sum(axis=axis) / size.sum(axis=axis),
        [sums, sizes],
        rng=rng,
        n_resamples=n_resamples,
        level=level,
        n_units=len(names),
        paired=True,
    )


def bootstrap_interval(
    statistic: Callable[..., Float[np.ndarray, "..."]],
    samples: Sequence[Float[np.ndarray, " _"]],
    *,
    rng: np.random.Generator,
    n_resamples: int,
    level: float,
    n_units: int,
    paired: bool = False,
) -> Interval:
    """Expanded percentile interval of ``statistic(*samples, axis=...)``.

    The tails are widened as the t interval is, which a plain percentile interval of n units is
    too narrow by (Hesterberg, https://arxiv.org/abs/1411.5279, section 5.3). Not BCa: it is NaN
    for rates of one half. Resamples on which the statistic is undefined are left out.
    """
    require_fraction("level", level)
    if n_units == 0:
        return undefined(level)
    with np.errstate(invalid="ignore", divide="ignore"):
        estimate = float(statistic(*samples, axis=-1))
    if n_units == 1 or not np.isfinite(estimate):
        return undefined(level, estimate)
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        # Of its own interval, which is not used, where a resample has no variance.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        draws = stats.bootstrap(
            samples,
            statistic,
            n_resamples=n_resamples,
            batch=_BATCH,
            vectorized=True,
            paired=paired,
            confidence_level=level,
            method="percentile",
            rng=rng,
        ).bootstrap_distribution
    return percentile_interval(estimate, draws[np.isfinite(draws)], n_units, level)


def undefined(level: float, estimate: float = float("nan")) -> Interval:
    """Interval without bounds."""
    return Interval(estimate=estimate, low=float("nan"), high=float("nan"), level=level)


def percentile_interval(
    estimate: float, draws: Float[np.ndarray, " draw"], n_units: int, level: float
) -> Interval:
    """Expanded percentile interval of bootstrap draws of ``n_units`` independent units."""
    if n_units < 2 or not len(draws) or np.ptp(draws) <= 1e-12 * np.abs(draws).max():
        return undefined(level, estimate)
    quantile = stats.t.isf((1.0 - level) / 2.0, n_units - 1)
    tail = stats.norm.sf(np.sqrt(n_units / (n_units - 1)) * quantile)
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return Interval(estimate=estimate, low=float(low), high=float(high), level=level)


def _mean(values: Float[np.ndarray, "..."], axis: int) -> Float[np.ndarray, "..."]:
    return np.asarray(values.mean(axis=axis, dtype=np.float64))
