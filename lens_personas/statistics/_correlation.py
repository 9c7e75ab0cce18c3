"""Whether one number of an item predicts another: correlation, leave-one-out R²."""

from dataclasses import dataclass
from math import factorial
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import stats
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from lens_personas.statistics._checks import require_finite, require_same_length
from lens_personas.statistics._intervals import bootstrap_interval

CorrelationMethod = Literal["pearson", "spearman"]
"""``pearson`` of the values, ``spearman`` of their ranks."""

EXACT_UP_TO = 8
"""Items up to which all orders are tried."""


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """A correlation over items with its interval and its permutation test."""

    estimate: float
    """Correlation, in [-1, 1]; NaN with fewer than 3 items or without variance."""
    low: float
    """Lower bound of the 95 % bootstrap interval; NaN where undefined."""
    high: float
    """Upper bound of the 95 % bootstrap interval; NaN where undefined."""
    p: float
    """Two-sided permutation p; 1 where the estimate is undefined."""
    n: int
    """Number of items."""
    method: CorrelationMethod
    """Which correlation."""


def correlation(
    x: Float[np.ndarray, " x"],
    y: Float[np.ndarray, " y"],
    *,
    rng: np.random.Generator,
    method: CorrelationMethod = "pearson",
    n_resamples: int = 2000,
    n_permutations: int = 10_000,
) -> Correlation:
    """Correlation of ``x`` and ``y`` with bootstrap interval over items and permutation p.

    All ``n!`` orders are tried up to 8 items; beyond, ``n_permutations`` are drawn and the
    observed one is counted. See ``scipy.stats.bootstrap``, ``scipy.stats.permutation_test``.

    Raises:
        ValueError: If the two differ in length, a value is not finite, or the method is not
            known.
    """
    require_same_length(x=x, y=y)
    require_finite("x", x)
    require_finite("y", y)
    if method not in ("pearson", "spearman"):
        raise ValueError(f"expected method 'pearson' or 'spearman', got {method!r}")
    nan = float("nan")
    if len(x) < 3 or np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return Correlation(estimate=nan, low=nan, high=nan, p=1.0, n=len(x), method=method)
    statistic = _pearson if method == "pearson" else _spearman
    interval = bootstrap_interval(
        statistic,
        [x, y],
        rng=rng,
        n_resamples=n_resamples,
        level=0.95,
        n_units=len(x),
        paired=True,
    )
    return Correlation(
        estimate=interval.estimate,
        low=interval.low,
        high=interval.high,
        p=_permutation_p(x, y, method, n_permutations, rng),
        n=len(x),
        method=method,
    )


def rank_correlation(x: Float[np.ndarray, " x"], y: Float[np.ndarray, " y"]) -> float:
    """Spearman's correlation alone, where its chance is asked for elsewhere.

    NaN with fewer than 3 items or without variance.

    >>> rank_correlation(np.array([1.0, 2.0, 9.0]), np.array([0.1, 0.2, 0.3]))
    1.0

    Raises:
        ValueError: If the two differ in length, or a value is not finite.
    """
    require_same_length(x=x, y=y)
    require_finite("x", x)
    require_finite("y", y)
    if len(x) < 3 or np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return float("nan")
    return float(_spearman(x, y, axis=0))


def leave_one_out_r2(
    predictors: Float[np.ndarray, "predicted feature"], outcome: Float[np.ndarray, " item"]
) -> float:
    """Share of the outcome's variance that a linear fit to the other items predicts.

    ``1 - squared error / squared error of the other items' mean``: 1 is perfect, 0 no better
    than the mean, below 0 worse. NaN with fewer than 3 items or a constant outcome.

    Raises:
        ValueError: If the two differ in length, or a value is not finite.
    """
    require_same_length(predictors=predictors, outcome=outcome)
    require_finite("predictors", predictors)
    require_finite("outcome", outcome)
    n = len(outcome)
    if n < 3 or np.ptp(outcome) == 0.0:
        return float("nan")
    fitted = cross_val_predict(LinearRegression(), predictors, outcome, cv=LeaveOneOut())
    others = (outcome.sum() - outcome) / (n - 1)
    return float(1.0 - ((outcome - fitted) ** 2).sum() / ((outcome - others) ** 2).sum())


def _permutation_p(
    x: Float[np.ndarray, " item"],
    y: Float[np.ndarray, " item"],
    method: CorrelationMethod,
    n_permutations: int,
    rng: np.random.Generator,
) -> float:
    n = len(x)
    fixed = y if method == "pearson" else stats.rankdata(y)
    result = stats.permutation_test(
        (x if method == "pearson" else stats.rankdata(x),),
        lambda shuffled, axis: _pearson(shuffled, np.broadcast_to(fixed, shuffled.shape), axis),
        permutation_type="pairings",
        vectorized=True,
        n_resamples=factorial(n) if n <= EXACT_UP_TO else n_permutations,
        batch=1024,
        rng=rng,
    )
    return float(result.pvalue)


def _pearson(
    x: Float[np.ndarray, "*draws item"], y: Float[np.ndarray, "*draws item"], axis: int
) -> Float[np.ndarray, "*draws"]:
    x = x - x.mean(axis=axis, keepdims=True, dtype=np.float64)
    y = y - y.mean(axis=axis, keepdims=True, dtype=np.float64)
    scale = np.sqrt((x**2).sum(axis=axis) * (y**2).sum(axis=axis))
    return np.asarray(np.clip((x * y).sum(axis=axis) / scale, -1.0, 1.0))


def _spearman(
    x: Float[np.ndarray, "*draws item"], y: Float[np.ndarray, "*draws item"], axis: int
) -> Float[np.ndarray, "*draws"]:
    return _pearson(stats.rankdata(x, axis=axis), stats.rankdata(y, axis=axis), axis)
