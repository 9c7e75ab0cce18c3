"""How far two samples of a score lie apart: eight metrics, of many weightings at once.

Each is a plain function of the two samples, and each is computed from one support, the values of
both samples in order, so that a thousand resamples or a thousand deals of the labels cost one
matrix of weights.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy import special

TwoSampleMetric = Literal[
    "wasserstein",
    "scale_free_wasserstein",
    "auroc",
    "d_prime",
    "ks",
    "energy",
    "mmd",
    "jensen_shannon",
]
"""How two samples are compared; ``auroc`` and ``d_prime`` have a sign, the others only a size."""

TWO_SAMPLE_METRICS: tuple[TwoSampleMetric, ...] = (
    "wasserstein",
    "scale_free_wasserstein",
    "auroc",
    "d_prime",
    "ks",
    "energy",
    "mmd",
    "jensen_shannon",
)
"""All of them, in the order of the tables."""

METRIC_RANGE: Mapping[TwoSampleMetric, tuple[float, float]] = {
    "wasserstein": (0.0, np.inf),
    "scale_free_wasserstein": (0.0, np.inf),
    "auroc": (0.0, 1.0),
    "d_prime": (-np.inf, np.inf),
    "ks": (0.0, 1.0),
    "energy": (0.0, np.inf),
    "mmd": (0.0, 2.0),
    "jensen_shannon": (0.0, float(np.log(2.0))),
}
"""Least and greatest value of each."""

METRIC_NULL: Mapping[TwoSampleMetric, float] = {
    name: 0.5 if name == "auroc" else 0.0 for name in TWO_SAMPLE_METRICS
}
"""Value of each where both samples come from one distribution."""

_LEAST_BINS = 4


@dataclass(frozen=True, kw_only=True)
class Support:
    """Where the weights of both samples lie; nothing here hangs on which sample a value is of."""

    values: Float[np.ndarray, " value"]
    """The different values of both samples, ascending, divided by ``unit``."""
    unit: float
    """Standard deviation of both samples taken together, about their common mean; 1 without."""
    place: Int[np.ndarray, " row"]
    """Which of the values each row has, the first sample's rows before the second's."""
    kernel: Float[np.ndarray, "each other"]
    """Gaussian kernel between the values, one ``unit`` wide."""
    bins: Float[np.ndarray, "value bin"]
    """Which bin each value is in: 1 there, 0 elsewhere; bins of about equal count."""


@dataclass(frozen=True, kw_only=True)
class Weighted:
    """One weighting of both samples a draw, over the values of a support; each sums to 1."""

    support: Support
    """The values."""
    first: Float[np.ndarray, "draw value"]
    """Weights of the first sample."""
    second: Float[np.ndarray, "draw value"]
    """Weights of the second sample."""
    unbiased: tuple[float, float]
    """What the variance of either sample is multiplied by: ``n / (n - 1)``."""

    @cached_property
    def gap(self) -> Float[np.ndarray, "draw value"]:
        """Distribution function of the second sample less that of the first, at the values."""
        return np.asarray(np.cumsum(self.second - self.first, axis=1))


def support_of(
    first: Float[np.ndarray, " first"], second: Float[np.ndarray, " second"], *, kernel: bool = True
) -> Support:
    """The values of both samples, scaled, with what the metrics need of them.

    Args:
        first: First sample.
        second: Second sample.
        kernel: Whether the kernel is wanted: only for ``mmd``, whose cost grows with its square.
    """
    pooled = np.concatenate([first, second]).astype(np.float64)
    centre = float(np.median(pooled)) if len(pooled) else 0.0
    spread = float(pooled.std()) if len(pooled) and np.ptp(pooled) > 0.0 else 1.0
    values, place = np.unique((pooled - centre) / spread, return_inverse=True)
    gaps = values[:, None] - values[None, :] if kernel else np.empty((0, 0))
    return Support(
        values=values,
        unit=spread,
        place=place,
        kernel=np.exp(-0.5 * gaps**2),
        bins=_bins(values, place),
    )


def _bins(
    values: Float[np.ndarray, " value"], place: Int[np.ndarray, " row"]
) -> Float[np.ndarray, "value bin"]:
    n_bins = max(_LEAST_BINS, round(2.0 * (len(place) / 2.0) ** 0.4))
    edges = np.unique(np.quantile(values[place], np.arange(1, n_bins) / n_bins))
    index = np.searchsorted(edges, values, side="right")
    return np.asarray(index[:, None] == np.arange(len(edges) + 1), dtype=np.float64)


def wasserstein(both: Weighted) -> Float[np.ndarray, " draw"]:
    """Area between the two distribution functions, in units of the score.

    Of two Gaussians a distance ``d`` apart, whose standard deviations differ by ``s``:
    ``s sqrt(2/pi) exp(-d^2 / 2 s^2) + d (1 - 2 Phi(-d/s))``; ``|d|`` where ``s`` is 0.
    """
    return np.asarray(np.abs(both.gap[:, :-1]) @ np.diff(both.support.values) * both.support.unit)


def scale_free_wasserstein(both: Weighted) -> Float[np.ndarray, " draw"]:
    """The same over the root mean of the two variances; of two like Gaussians ``|d'|``."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(wasserstein(both) / np.sqrt(_mean_variance(both)) / both.support.unit)


def auroc(both: Weighted) -> Float[np.ndarray, " draw"]:
    """Chance that a value of the first lies above one of the second, ties counted half.

    Of two Gaussians ``Phi(d / sqrt(s1^2 + s2^2))``, ``d`` the difference of their means.
    """
    below = np.cumsum(both.second, axis=1) - 0.5 * both.second
    return np.asarray(np.einsum("dv,dv->d", both.first, below))


def d_prime(both: Weighted) -> Float[np.ndarray, " draw"]:
    """Mean of the first less mean of the second over the root mean of the two variances.

    Of two Gaussians ``d / sqrt((s1^2 + s2^2) / 2)``.
    """
    difference = (both.first - both.second) @ both.support.values
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(difference / np.sqrt(_mean_variance(both)))


def ks(both: Weighted) -> Float[np.ndarray, " draw"]:
    """Greatest gap between the two distribution functions.

    Of two Gaussians of equal spread ``2 Phi(|d| / 2s) - 1``.
    """
    return np.asarray(np.abs(both.gap).max(axis=1))


def energy(both: Weighted) -> Float[np.ndarray, " draw"]:
    """Energy distance (not its root), in units of the score: ``2 E|X-Y| - E|X-X'| - E|Y-Y'|``.

    Of two Gaussians ``2 F(d, sqrt(s1^2 + s2^2)) - 2 (s1 + s2) / sqrt(pi)``, where
    ``F(d, s) = s sqrt(2/pi) exp(-d^2 / 2 s^2) + d (1 - 2 Phi(-d/s))``.
    """
    squares = both.gap[:, :-1] ** 2 @ np.diff(both.support.values)
    return np.asarray(2.0 * squares * both.support.unit)


def mmd(both: Weighted) -> Float[np.ndarray, " draw"]:
    """Squared maximum mean discrepancy of a Gaussian kernel one ``unit`` of the support wide.

    Of two Gaussians and a kernel ``h`` wide ``h / sqrt(h^2 + 2 s1^2) + h / sqrt(h^2 + 2 s2^2)
    - 2 h / w exp(-d^2 / 2 w^2)`` with ``w^2 = h^2 + s1^2 + s2^2``. The unit grows with the
    distance, so that scores in other units give the same: for samples of one size
    ``h^2 = (s1^2 + s2^2) / 2 + d^2 / 4``.
    """
    gap = both.first - both.second
    return np.asarray(np.einsum("dv,dv->d", gap @ both.support.kernel, gap))


def jensen_shannon(both: Weighted) -> Float[np.ndarray, " draw"]:
    """Jensen-Shannon divergence (not its root) of the binned samples, in nats.

    Of two Gaussians an integral without closed form, about ``d'^2 / 8`` for near ones. Bins of
    equal count, ``2 n^0.4`` of them for ``n`` values a sample, lose some of it; never gain any.
    """
    first, second = both.first @ both.support.bins, both.second @ both.support.bins
    middle = 0.5 * (first + second)
    apart = special.rel_entr(first, middle) + special.rel_entr(second, middle)
    return np.asarray(0.5 * apart.sum(axis=1))


METRIC_FUNCTIONS: Mapping[TwoSampleMetric, Callable[[Weighted], Float[np.ndarray, " draw"]]] = {
    "wasserstein": wasserstein,
    "scale_free_wasserstein": scale_free_wasserstein,
    "auroc": auroc,
    "d_prime": d_prime,
    "ks": ks,
    "energy": energy,
    "mmd": mmd,
    "jensen_shannon": jensen_shannon,
}
"""What computes each metric."""


def _mean_variance(both: Weighted) -> Float[np.ndarray, " draw"]:
    """Mean of the two variances, in squared units of the support; NaN without."""
    values = both.support.values
    total = np.zeros(len(both.first))
    for weights, factor in zip((both.first, both.second), both.unbiased, strict=True):
        variance = weights @ values**2 - (weights @ values) ** 2
        total += 0.5 * factor * variance
    return np.where(total > 1e-12, total, np.nan)
