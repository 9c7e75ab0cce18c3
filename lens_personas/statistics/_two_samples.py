"""How far two samples of a score lie apart, with interval and label-dealing test of each metric."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Shaped

from lens_personas.statistics._checks import require_finite, require_fraction, require_same_length
from lens_personas.statistics._held_out import (
    deal_labels,
    group_kinds,
    group_rates,
    resampled_groups,
)
from lens_personas.statistics._intervals import Interval, percentile_interval, undefined
from lens_personas.statistics._near_apart import (
    auroc_score_interval,
    least_divergence,
    rate_difference,
)
from lens_personas.statistics._sample_metrics import (
    METRIC_FUNCTIONS,
    METRIC_NULL,
    METRIC_RANGE,
    TWO_SAMPLE_METRICS,
    Support,
    TwoSampleMetric,
    Weighted,
    support_of,
)

_BLOCK = 250
_NEARLY_APART = 0.4
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What one metric says about two samples."""

    value: Interval
    """The metric with the bias that a bootstrap finds taken off, never beyond its range; NaN
    without values in both samples."""
    plug_in: float
    """The metric of the samples as they are, which of small samples is too far from no
    difference."""
    null: tuple[float, float]
    """Where the estimate would be, labels dealt anew, with the confidence of the interval."""
    p: float
    """Label-dealing p of ``plug_in``, of either sign where the metric has one; 1 if undefined."""


@dataclass(frozen=True, kw_only=True)
class _Halves:
    """What is weighted: rows of both samples, and which groups they belong to."""

    support: Support
    is_first: Bool[np.ndarray, " row"]
    groups: Shaped[np.ndarray, " row"]
    n_groups: tuple[int, int]

    def weighted(
        self, is_first: Bool[np.ndarray, "draw row"], weights: Float[np.ndarray, "draw row"]
    ) -> Weighted:
        """The samples of each draw, given which sample each row is in, and how often."""
        order = np.argsort(self.support.place, kind="stable")
        starts = np.searchsorted(self.support.place[order], np.arange(len(self.support.values)))
        sides = []
        for side in (is_first, ~is_first):
            rows = (weights * side)[:, order]
            total = np.add.reduceat(rows, starts, axis=1)
            sides.append(total / rows.sum(axis=1, keepdims=True))
        sizes = int(self.is_first.sum()), int((~self.is_first).sum())
        first, second = (n / max(n - 1, 1) for n in sizes)
        return Weighted(
            support=self.support, first=sides[0], second=sides[1], unbiased=(first, second)
        )


def compare_samples(
    values: Float[np.ndarray, " value"],
    is_first: Bool[np.ndarray, " side"],
    groups: Shaped[np.ndarray, " label"],
    *,
    rng: np.random.Generator,
    metrics: Sequence[TwoSampleMetric] = TWO_SAMPLE_METRICS,
    n_boot: int = 1000,
    n_perm: int = 1000,
    level: float = 0.95,
) -> dict[TwoSampleMetric, Compared]:
    """Every metric of the first sample against the second, with interval and p.

    One set of resamples and one of dealt labels serve all metrics. Resamples take whole groups,
    those of either sample by themselves. Labels are dealt to whole groups, and within a group
    that has both; the observed deal is counted, so p is never 0 and, where labels mean nothing,
    at most ``a`` with chance ``a`` or less.

    The interval holds its level for metrics that cannot be negative, too. Their estimates are
    too large, by more the nearer the truth is to no difference. So the bootstrap's percentiles
    are moved down by the bias that it finds, once for the estimate and once for its own copy of
    it, and the upper bound by the smaller of both; and "no difference" is inside whenever the
    labels could have been dealt that way. Samples that hardly overlap leave a bootstrap little
    to vary: there, for AUROC and Jensen-Shannon, and always for KS, the interval is no narrower
    than the score interval of the rates. With fewer than two groups in either sample there are
    no bounds.

    Args:
        values: Score of each row, in any unit.
        is_first: Whether the row is in the first sample.
        groups: What the row must not be parted from, by number or text.
        rng: Source of every draw.
        metrics: Which to compute.
        n_boot: Resamples.
        n_perm: Deals of the labels.
        level: Confidence level.

    Raises:
        ValueError: If lengths differ, a value is not finite, or ``level`` is not in (0, 1).
    """
    require_same_length(values=values, is_first=is_first, groups=groups)
    require_finite("values", values)
    require_fraction("level", level)
    if not len(values) or is_first.all() or not is_first.any():
        nan, nothing = float("nan"), (float("nan"), float("nan"))
        missing = Compared(value=undefined(level), plug_in=nan, null=nothing, p=1.0)
        return dict.fromkeys(metrics, missing)
    kernel = "mmd" in metrics
    halves = _Halves(
        support=support_of(values[is_first], values[~is_first], kernel=kernel),
        # The support has the first sample's rows before the second's.
        is_first=np.sort(is_first)[::-1],
        groups=np.concatenate([groups[is_first], groups[~is_first]]),
        n_groups=(len(np.unique(groups[is_first])), len(np.unique(groups[~is_first]))),
    )
    observed = halves.weighted(halves.is_first[None], np.ones((1, len(values))))
    resampled = _metrics_of(_resamples(halves, n_boot, rng), metrics)
    dealt = _metrics_of(_deals(halves, n_perm, rng), metrics)
    compared = {
        name: _compared(
            name,
            float(METRIC_FUNCTIONS[name](observed)[0]),
            (resampled[name], dealt[name]),
            min(halves.n_groups),
            level,
        )
        for name in metrics
    }
    return _widened(compared, observed, halves.n_groups, level)


def _resamples(halves: _Halves, n_boot: int, rng: np.random.Generator) -> Iterator[Weighted]:
    names, index = np.unique(halves.groups, return_inverse=True)
    kinds = group_kinds(group_rates(halves.is_first, index, len(names)))
    labels = np.broadcast_to(halves.is_first, (_BLOCK, len(index)))
    for start in range(0, n_boot, _BLOCK):
        n = min(_BLOCK, n_boot - start)
        yield halves.weighted(labels[:n], resampled_groups(kinds, n, rng)[:, index])


def _deals(halves: _Halves, n_perm: int, rng: np.random.Generator) -> Iterator[Weighted]:
    together = np.zeros(len(halves.is_first), dtype=np.int64)
    for start in range(0, n_perm, _BLOCK):
        n = min(_BLOCK, n_perm - start)
        dealt = deal_labels(halves.is_first, halves.groups, together, n_draws=n, rng=rng).T
        yield halves.weighted(dealt, np.ones(dealt.shape))


def _metrics_of(
    draws: Iterator[Weighted], metrics: Sequence[TwoSampleMetric]
) -> Mapping[TwoSampleMetric, Float[np.ndarray, " draw"]]:
    found: dict[TwoSampleMetric, list[Float[np.ndarray, " draw"]]] = {name: [] for name in metrics}
    for each in draws:
        for name in metrics:
            found[name].append(METRIC_FUNCTIONS[name](each))
    return {name: np.concatenate(parts) if parts else np.empty(0) for name, parts in found.items()}


def _compared(
    name: TwoSampleMetric,
    plug_in: float,
    draws: tuple[Float[np.ndarray, " resample"], Float[np.ndarray, " deal"]],
    n_units: int,
    level: float,
) -> Compared:
    least, most = METRIC_RANGE[name]
    none = METRIC_NULL[name]
    resampled, dealt = (each[np.isfinite(each)] for each in draws)
    bias = float(resampled.mean()) - plug_in if len(resampled) and n_units > 1 else 0.0
    reach = np.abs(dealt - none) >= abs(plug_in - none) * (1.0 - 1e-9) - _ROUNDING
    p = (1.0 + float(reach.sum())) / (len(dealt) + 1.0) if np.isfinite(plug_in) else 1.0
    found = percentile_interval(plug_in, resampled, n_units, level)
    low, high = found.low - max(bias, 2.0 * bias), found.high - min(bias, 2.0 * bias)
    if p > 1.0 - level:
        low, high = min(low, none), max(high, none)
    estimate, low, high = np.clip([plug_in - bias, low, high], least, most)
    interval = Interval(estimate=float(estimate), low=float(low), high=float(high), level=level)
    return Compared(value=interval, plug_in=plug_in, null=_null(name, dealt - bias, level), p=p)


def _null(
    name: TwoSampleMetric, dealt: Float[np.ndarray, " deal"], level: float
) -> tuple[float, float]:
    if not len(dealt):
        return float("nan"), float("nan")
    least, most = METRIC_RANGE[name]
    signed = name in ("auroc", "d_prime")
    tail = (1.0 - level) / 2.0 if signed else 0.0
    high = np.quantile(dealt, 0.5 + level / 2.0 if signed else level)
    low = np.quantile(dealt, tail) if signed else least
    return float(np.clip(low, least, most)), float(np.clip(high, least, most))


def _widened(
    compared: dict[TwoSampleMetric, Compared],
    observed: Weighted,
    n: tuple[int, int],
    level: float,
) -> dict[TwoSampleMetric, Compared]:
    """The same, no interval narrower than the score interval of the rates it stands for."""
    if min(n) < 2 or len(observed.support.values) < 2:
        return compared
    gap = observed.gap[0]
    at = int(np.abs(gap).argmax())
    rates = float(observed.first[0, : at + 1].sum()), float(observed.second[0, : at + 1].sum())
    low, high = rate_difference(rates, n, level)
    bounds: dict[TwoSampleMetric, tuple[float, float]] = {"ks": (low, high)}
    above = float(METRIC_FUNCTIONS["auroc"](observed)[0])
    if abs(above - 0.5) > _NEARLY_APART:
        bounds["auroc"] = auroc_score_interval(above, *n, level)
        most = METRIC_RANGE["jensen_shannon"][1]
        # Where sides are ordered, the divergence is at most that share of its greatest value.
        bounds["jensen_shannon"] = least_divergence(low), most * min(high, 1.0)
    return {
        name: _at_least(name, each, bounds[name]) if name in bounds else each
        for name, each in compared.items()
    }


def _at_least(name: TwoSampleMetric, found: Compared, bounds: tuple[float, float]) -> Compared:
    least, most = METRIC_RANGE[name]
    # Of KS the threshold was chosen, so its rates are as biased as it is.
    bias = found.plug_in - found.value.estimate if name == "ks" else 0.0
    low = max(float(np.fmin(found.value.low, bounds[0] - bias)), least)
    high = min(float(np.fmax(found.value.high, bounds[1] - bias)), most)
    return replace(found, value=replace(found.value, low=low, high=high))
