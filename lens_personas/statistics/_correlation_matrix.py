"""Rank correlations of every column with every other, all from one set of draws."""

from collections.abc import Iterator
from itertools import islice, permutations
from math import factorial

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from lens_personas.statistics._correlation import EXACT_UP_TO, Correlation, correlation
from lens_personas.statistics._intervals import Interval, percentile_interval

_BLOCK = 512


def correlation_matrix(
    values: Float[np.ndarray, "item column"],
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    n_permutations: int = 10_000,
) -> tuple[tuple[Correlation, ...], ...]:
    """Spearman's correlation of each two columns over items: a row and an entry a column.

    Each is what `correlation` gives for the two, with the items drawn and permuted once for
    all. A missing value (NaN) leaves its item out of the pairs of its column alone. A column
    with itself has the estimate 1 and p = 1: nothing is tested there.

    Raises:
        ValueError: If a value is infinite.
    """
    if np.isinf(values).any():
        raise ValueError("expected finite or missing (NaN) values, got an infinite one")
    k = values.shape[1]
    found: dict[tuple[int, int], Correlation] = {}
    whole = [at for at in range(k) if np.isfinite(values[:, at]).all() and np.ptp(values[:, at])]
    if len(values) >= 3:
        found = _all_pairs(values, whole, rng, n_resamples, n_permutations)
    for i in range(k):
        for j in range(i, k):
            if (i, j) not in found:
                found[i, j] = _pair(values[:, i], values[:, j], i == j, rng, n_permutations)
    return tuple(tuple(found[min(i, j), max(i, j)] for j in range(k)) for i in range(k))


def _pair(
    x: Float[np.ndarray, " item"],
    y: Float[np.ndarray, " item"],
    same: bool,
    rng: np.random.Generator,
    n_permutations: int,
) -> Correlation:
    there = np.isfinite(x) & np.isfinite(y)
    n, x, y = int(there.sum()), x[there], y[there]
    if not same:
        return correlation(x, y, rng=rng, method="spearman", n_permutations=n_permutations)
    one = 1.0 if n >= 3 and np.ptp(x) > 0 else np.nan
    return Correlation(estimate=one, low=one, high=one, p=1.0, n=n, method="spearman")


def _all_pairs(
    values: Float[np.ndarray, "item column"],
    whole: list[int],
    rng: np.random.Generator,
    n_resamples: int,
    n_permutations: int,
) -> dict[tuple[int, int], Correlation]:
    """The correlations of the columns without a missing value."""
    kept = values[:, whole]
    n, k = kept.shape
    estimate = _matrices(_standard(kept)[None])[0]
    draws = np.concatenate(
        [
            _matrices(_standard(kept[rows]))
            for rows in np.array_split(rng.integers(n, size=(n_resamples, n)), 8)
        ]
    )
    p = _permutation_p(_standard(kept), estimate, rng, n_permutations)
    found = {}
    for i in range(k):
        for j in range(i + 1, k):
            drawn = draws[np.isfinite(draws[:, i, j]), i, j]
            interval = percentile_interval(float(estimate[i, j]), drawn, n, 0.95)
            found[whole[i], whole[j]] = _correlation(interval, float(p[i, j]), n)
    return found


def _correlation(interval: Interval, p: float, n: int) -> Correlation:
    return Correlation(
        estimate=interval.estimate,
        low=interval.low,
        high=interval.high,
        p=p,
        n=n,
        method="spearman",
    )


def _standard(values: Float[np.ndarray, "*draws item column"]) -> Float[np.ndarray, "..."]:
    """Ranks within each column, centred and scaled to norm 1; NaN without variance."""
    ranks = stats.rankdata(values, axis=-2)
    ranks = ranks - ranks.mean(axis=-2, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(ranks / np.sqrt((ranks**2).sum(axis=-2, keepdims=True)))


def _matrices(ranks: Float[np.ndarray, "draw item column"]) -> Float[np.ndarray, "draw a b"]:
    return np.asarray(np.clip(ranks.swapaxes(1, 2) @ ranks, -1.0, 1.0))


def _permutation_p(
    ranks: Float[np.ndarray, "item column"],
    observed: Float[np.ndarray, "a b"],
    rng: np.random.Generator,
    n_permutations: int,
) -> Float[np.ndarray, "a b"]:
    n = len(ranks)
    exact = n <= EXACT_UP_TO
    total = factorial(n) if exact else n_permutations
    above, below = np.zeros_like(observed), np.zeros_like(observed)
    for orders in _orders(n, total, exact, rng):
        null = ranks.T @ ranks[orders]
        # An order that only rounds differently from the observed one must count as equal.
        above += (null >= observed - 1e-12).sum(axis=0)
        below += (null <= observed + 1e-12).sum(axis=0)
    own = 0 if exact else 1
    tail = (np.minimum(above, below) + own) / (total + own)
    return np.asarray(np.minimum(2.0 * tail, 1.0))


def _orders(
    n: int, total: int, exact: bool, rng: np.random.Generator
) -> Iterator[Int[np.ndarray, "draw item"]]:
    every = permutations(range(n))
    for start in range(0, total, _BLOCK):
        size = min(_BLOCK, total - start)
        if exact:
            yield np.array(list(islice(every, size)))
        else:
            yield rng.permuted(np.broadcast_to(np.arange(n), (size, n)), axis=1)
