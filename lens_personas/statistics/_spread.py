"""Spread over columns on the same rows: how large, whether any, and every gap at once."""

import numpy as np
from jaxtyping import Float
from scipy import stats

from lens_personas.statistics._checks import require_finite
from lens_personas.statistics._intervals import Interval

_DRAWS = 5000
_RESAMPLES = 2000
_BLOCK = 250


def dealt_columns(
    values: Float[np.ndarray, "prompt column"], *, rng: np.random.Generator, n_draws: int = _DRAWS
) -> tuple[float, float]:
    """P that the columns' means differ no more than with each row permuted, and their mean reach.

    Of yes and no this is Cochran's Q. The observed order is counted, so that p is never 0. The
    reach is the largest less the smallest mean over columns, averaged over the permutations.

    Raises:
        ValueError: If a value is not finite, or there is none.
    """
    _check(values)
    observed = np.var(values.mean(axis=0)) * (1.0 - 1e-9)
    reached, reach = 1, 0.0
    for start in range(0, n_draws, _BLOCK):
        size = min(_BLOCK, n_draws - start)
        means = rng.permuted(np.broadcast_to(values, (size, *values.shape)), axis=2).mean(axis=1)
        reached += int((means.var(axis=1) >= observed).sum())
        reach += float(np.ptp(means, axis=1).sum())
    return reached / (n_draws + 1), reach / n_draws


def spread_interval(
    values: Float[np.ndarray, "prompt column"], *, rng: np.random.Generator
) -> Interval:
    """Standard deviation of the columns' true means, resampled by row; not below 0.

    The variance of the observed means less the part that the rows' noise has in it (analysis of
    variance of rows by columns). Columns are as they are, not a sample of others.

    Raises:
        ValueError: If a value is not finite, or there is none.
    """
    _check(values)
    n, n_columns = values.shape
    estimate = _true_variance(values)
    rows = rng.multinomial(n, np.full(n, 1.0 / n), size=_RESAMPLES) / n
    means = rows @ values
    noise = _noise(values)
    # A resample of rows has their noise twice: once as they were drawn, once as it drew them.
    draws = means.var(axis=1, ddof=1) - noise - _weighted_noise(values, rows)
    if n < 3 or n_columns < 2 or np.ptp(draws) <= 1e-12 * np.abs(draws).max():
        return Interval(estimate=_root(estimate), low=np.nan, high=np.nan, level=0.95)
    tail = stats.norm.sf(np.sqrt(n / (n - 1)) * stats.t.isf(0.025, n - 1))
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return Interval(estimate=_root(estimate), low=_root(low), high=_root(high), level=0.95)


def _root(variance: float) -> float:
    return float(np.sqrt(max(variance, 0.0)))


def _true_variance(values: Float[np.ndarray, "prompt column"]) -> float:
    return float(values.mean(axis=0).var(ddof=1)) - _noise(values)


def _noise(values: Float[np.ndarray, "prompt column"]) -> float:
    """Variance that the columns' means have by the rows' noise alone."""
    n, n_columns = values.shape
    if n < 2:
        return float("nan")
    left = _centred(values)
    return float((left**2).sum() / ((n - 1) * max(n_columns - 1, 1)) / n)


def _weighted_noise(
    values: Float[np.ndarray, "prompt column"], rows: Float[np.ndarray, "draw prompt"]
) -> Float[np.ndarray, " draw"]:
    """The same of every resample, whose weights of rows are given."""
    n, n_columns = values.shape
    own = values - values.mean(axis=1, keepdims=True)
    squares = rows @ (own**2).sum(axis=1) - ((rows @ own) ** 2).sum(axis=1)
    return np.asarray(squares / (n - 1) / (n_columns - 1))


def _centred(values: Float[np.ndarray, "prompt column"]) -> Float[np.ndarray, "prompt column"]:
    own = values - values.mean(axis=1, keepdims=True)
    return np.asarray(own - own.mean(axis=0))


def simultaneous_bootstrap(
    values: Float[np.ndarray, "prompt column"], *, rng: np.random.Generator, level: float = 0.95
) -> list[Interval]:
    """Means of the columns with intervals that all hold at once, resampled by row.

    The largest t over columns of resampled means (bootstrap of Romano and Wolf,
    https://doi.org/10.1111/j.1468-0262.2005.00615.x) gives the width. Without variance or with
    fewer than three rows there are no bounds.

    Raises:
        ValueError: If a value is not finite, or there is none.
    """
    _check(values)
    n = len(values)
    means = values.mean(axis=0)
    error = values.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.zeros(len(means))
    if n < 3 or not (error > 0).all():
        return [Interval(estimate=float(m), low=np.nan, high=np.nan, level=level) for m in means]
    rows = rng.multinomial(n, np.full(n, 1.0 / n), size=_RESAMPLES) / n
    drawn = rows @ values
    spread = np.maximum(rows @ values**2 - drawn**2, 0.0) / (n - 1)
    # A resample of one row alone has no spread: its t is that of the data's.
    t = np.abs(drawn - means) / np.where(spread > 0, np.sqrt(spread), error)
    reach = float(np.quantile(t.max(axis=1), level)) * error
    return [
        Interval(estimate=float(m), low=float(m - r), high=float(m + r), level=level)
        for m, r in zip(means, reach, strict=True)
    ]


def _check(values: Float[np.ndarray, "prompt column"]) -> None:
    require_finite("values", values)
    if not values.size:
        raise ValueError(f"expected values of at least one row and column, got {values.shape}")
