"""How far a mean over part of a finite population can lie from the mean over all of it."""

import numpy as np
from jaxtyping import Float
from scipy import stats

from lens_personas.statistics._checks import require_finite, require_fraction


def finite_mean_margin(
    values: Float[np.ndarray, "row drawn"],
    *,
    population: int,
    risk: float,
    value_range: float | None = None,
) -> Float[np.ndarray, " row"]:
    """One-sided margin of each row's mean; ``values`` are drawn without replacement.

    The mean over the whole population lies more than the margin above the mean of the drawn
    (or more than the margin below it) with probability at most ``risk`` on either side. The
    margin is 0 once all are drawn.

    With ``value_range`` ``R``, the largest less the smallest value of the population, this is
    the Hoeffding-Serfling inequality, whatever the values are: ``R sqrt(rho log(1/risk) / 2n)``
    with ``rho = 1 - (n - 1)/N`` up to half of the population and ``(1 - n/N)(1 + 1/n)`` beyond
    (Bardenet and Maillard, https://arxiv.org/abs/1309.4029, corollary 2.5). Without, it is
    Student's ``t s sqrt((1 - n/N) / n)`` (Cochran, Sampling Techniques, 3rd ed., section 2.8),
    exact where the values come from a normal distribution: many values of which a few are far
    off break it.

    Raises:
        ValueError: If more are drawn than there are, fewer than two where the range is not
            known, a value is not finite, or ``risk`` is not in (0, 1).
    """
    require_fraction("risk", risk)
    require_finite("values", values)
    n = values.shape[1]
    least = 1 if value_range is not None else 2
    if not min(least, population) <= n <= population:
        raise ValueError(
            f"expected {least} to {population} values drawn from a population of {population}, "
            f"got {n}; draw without replacement"
        )
    if n == population:
        return np.zeros(len(values))
    if value_range is not None:
        return np.full(len(values), value_range * _serfling(n, population, risk))
    spread = values.std(axis=1, ddof=1, dtype=np.float64)
    reach = stats.t.isf(risk, n - 1) * np.sqrt((1.0 - n / population) / n)
    return np.asarray(reach * spread)


def _serfling(n: int, population: int, risk: float) -> float:
    half = 2 * n <= population
    rho = 1.0 - (n - 1) / population if half else (1.0 - n / population) * (1.0 + 1.0 / n)
    return float(np.sqrt(rho * np.log(1.0 / risk) / (2.0 * n)))
