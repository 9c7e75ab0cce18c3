"""Score intervals where two samples hardly overlap, which leaves a bootstrap next to nothing."""

import numpy as np
from scipy import optimize, stats
from statsmodels.stats.proportion import proportion_confint


def auroc_score_interval(estimate: float, n: int, m: int, level: float) -> tuple[float, float]:
    """Bounds of an AUROC of ``n`` against ``m`` values: method 5 of Newcombe.

    See https://doi.org/10.1002/sim.2324. Each bound is where the estimate is just as far off as
    its spread there allows.
    """
    z = stats.norm.isf((1.0 - level) / 2.0)
    pairs = (n + m) / 2.0 - 1.0

    def gap(value: float) -> float:
        spread = 1.0 + pairs * ((1.0 - value) / (2.0 - value) + value / (1.0 + value))
        return float(n * m * (estimate - value) ** 2 - z**2 * value * (1.0 - value) * spread)

    # At 0 and 1 themselves the spread is 0, which would pass for a bound.
    ends = 1e-12, 1.0 - 1e-12
    middle = min(max(estimate, ends[0]), ends[1])
    low = float(optimize.brentq(gap, ends[0], middle)) if estimate > ends[0] else 0.0
    high = float(optimize.brentq(gap, middle, ends[1])) if estimate < ends[1] else 1.0
    return low, high


def rate_difference(
    rates: tuple[float, float], n: tuple[int, int], level: float
) -> tuple[float, float]:
    """Bounds of the greater of two rates less the smaller: method 10 of Newcombe, from Wilson's.

    See https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8%3C873::AID-SIM779%3E3.0.CO;2-I
    """
    at = int(np.argmax(rates))
    a, b = rates[at], rates[1 - at]
    low_a, high_a = _wilson(a, n[at], level)
    low_b, high_b = _wilson(b, n[1 - at], level)
    low = a - b - np.hypot(a - low_a, high_b - b)
    return float(low), float(a - b + np.hypot(high_a - a, b - low_b))


def least_divergence(gap: float) -> float:
    """Least Jensen-Shannon divergence, in nats, of distributions with that Kolmogorov gap.

    They can be told apart with at most ``(1 - gap) / 2`` errors; Jensen's inequality gives the
    rest.
    """
    error = (1.0 - min(max(gap, 0.0), 1.0)) / 2.0
    return float(np.log(2.0) - stats.entropy([error, 1.0 - error]))


def _wilson(rate: float, n: int, level: float) -> tuple[float, float]:
    low, high = proportion_confint(rate * n, n, alpha=1.0 - level, method="wilson")
    return float(low), float(high)
