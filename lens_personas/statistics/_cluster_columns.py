"""Means of many columns over the same clusters, all from one set of draws."""

import numpy as np
from jaxtyping import Float, Shaped

from lens_personas.statistics._checks import require_fraction, require_same_length
from lens_personas.statistics._intervals import Interval, percentile_interval


def cluster_bootstrap_columns(
    values: Float[np.ndarray, "row column"],
    clusters: Shaped[np.ndarray, " label"],
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> list[Interval]:
    """Mean of each column with its bootstrap interval; whole clusters are resampled.

    What `cluster_bootstrap` gives column by column, with the same clusters drawn for all, so
    that hundreds of columns cost little more than one. A missing value (NaN) leaves its row out
    of its column alone; a column without any has the estimate NaN.

    Raises:
        ValueError: If the two differ in length, a value is infinite, or ``level`` is not in
            (0, 1).
    """
    require_same_length(values=values, clusters=clusters)
    require_fraction("level", level)
    sums, sizes, n = _by_cluster(values, clusters)
    drawn = rng.multinomial(n, np.full(n, 1.0 / n), size=n_resamples) if n else np.empty((0, 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        estimates = sums.sum(axis=0) / sizes.sum(axis=0)
        draws = (drawn @ sums) / (drawn @ sizes)
    units = (sizes > 0).sum(axis=0)
    return [
        percentile_interval(float(each), draws[np.isfinite(draws[:, at]), at], int(of), level)
        for at, (each, of) in enumerate(zip(estimates, units, strict=True))
    ]


def sign_flip_columns(
    values: Float[np.ndarray, "row column"],
    clusters: Shaped[np.ndarray, " label"],
    *,
    rng: np.random.Generator,
    n_permutations: int = 10_000,
) -> Float[np.ndarray, " column"]:
    """Two-sided p of each column's mean, by flipping the signs of whole clusters.

    The same flips serve all columns. All ``2**n`` are tried where they are no more than
    ``n_permutations``; else they are drawn and the observed one is counted, so that p is never
    0. A missing value (NaN) leaves its row out; a column without any value has p = 1.

    Raises:
        ValueError: If the two differ in length, or a value is infinite.
    """
    require_same_length(values=values, clusters=clusters)
    sums, sizes, n = _by_cluster(values, clusters)
    exact = n and 2**n <= n_permutations
    signs = _all_signs(n) if exact else rng.choice([-1.0, 1.0], size=(n_permutations, n))
    flipped = np.abs(signs @ sums)
    # A flip that only rounds differently from the observed one must count as equal.
    observed = np.abs(sums.sum(axis=0)) * (1.0 - 1e-9)
    reached = (flipped >= observed).sum(axis=0)
    p = reached / len(signs) if exact else (reached + 1.0) / (n_permutations + 1.0)
    return np.where(sizes.sum(axis=0) > 0, p, 1.0)


def _by_cluster(
    values: Float[np.ndarray, "row column"], clusters: Shaped[np.ndarray, " row"]
) -> tuple[Float[np.ndarray, "cluster column"], Float[np.ndarray, "cluster column"], int]:
    """Sums and numbers of the values of each cluster, and how many clusters there are."""
    if np.isinf(values).any():
        raise ValueError(
            "expected finite or missing (NaN) values, got an infinite one; leave it out"
        )
    names, index = np.unique(clusters, return_inverse=True)
    member = np.zeros((len(names), len(values)))
    member[index, np.arange(len(values))] = 1.0
    there = np.isfinite(values)
    return member @ np.where(there, values, 0.0), member @ there.astype(np.float64), len(names)


def _all_signs(n: int) -> Float[np.ndarray, "flip cluster"]:
    bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    return 1.0 - 2.0 * bits
