"""How a share rises along a line: logistic curves, of one sample and of two against each other."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Shaped
from scipy import stats
from statsmodels.genmod.cov_struct import CovStruct, Exchangeable, Independence
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_estimating_equations import GEE
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.tools.sm_exceptions import ModelWarning

from lens_personas.statistics._checks import require_finite, require_fraction, require_same_length
from lens_personas.statistics._intervals import Interval, undefined

_Fit = tuple[Float[np.ndarray, " term"], Float[np.ndarray, "term term"]]


@dataclass(frozen=True, kw_only=True)
class LogisticCurve:
    """A logistic curve of a share over ``x``, with intervals that are robust to clusters."""

    slope: Interval
    """Log-odds one unit of ``x``; NaN where the curve is not identified."""
    intercept: Interval
    """Log-odds at ``x`` of 0; NaN like ``slope``."""
    half_length: Interval
    """Where the curve crosses one half (Fieller's interval); below 0 it does so before any ``x``
    was given. Bounds are NaN where the slope might be 0, for then they are not finite."""
    p: float
    """Two-sided p that the slope is 0; 1 where undefined."""
    n: int
    """Rows."""
    n_clusters: int
    """Clusters."""
    reason: str | None
    """Why nothing could be fitted; None where it could."""


@dataclass(frozen=True, kw_only=True)
class AveragedLogistic:
    """Logistic curves of two sides over ``x``, averaged over the population of clusters."""

    first_slope: Interval
    """Slope of the first side, log-odds one unit of ``x``; NaN where it is not identified."""
    second_slope: Interval
    """Slope of the second side."""
    interaction: Interval
    """Slope of the second side less that of the first."""
    difference: Interval
    """Log-odds of the second side less those of the first at ``x`` of 0."""
    p: float
    """Two-sided p that the interaction is 0; 1 where undefined."""
    n: int
    """Rows that were fitted, one a cluster, side and ``x``."""
    n_clusters: int
    """Clusters."""
    reason: str | None
    """Why nothing could be fitted; None where it could."""


def logistic_curve(
    x: Float[np.ndarray, " x"],
    share: Float[np.ndarray, " share"],
    clusters: Shaped[np.ndarray, " label"],
    *,
    level: float = 0.95,
) -> LogisticCurve:
    """Logistic curve of ``share`` over ``x``, with standard errors by cluster.

    A binomial generalised linear model, whose estimates are right for shares as for yes and no
    (Papke and Wooldridge, https://doi.org/10.1002/(SICI)1099-1255(199611)11:6%3C619::AID-JAE418%3E3.0.CO;2-1),
    with the sandwich covariance of clusters and Student's t of one less degree of freedom than
    there are clusters.

    Args:
        x: Where each row was measured, such as sentences of a prompt.
        share: Yes (1) or no (0), a share or a probability.
        clusters: What rows belong together, such as the statement.
        level: Confidence level.

    Raises:
        ValueError: If lengths differ, a number is not finite, a share is not in [0, 1], or
            ``level`` is not in (0, 1).
    """
    _require(x, share, clusters, level)
    _, index = np.unique(clusters, return_inverse=True)
    n_clusters = int(index.max() + 1) if len(index) else 0
    design = np.stack([np.ones_like(x), x], axis=1)
    fit, reason = _fitted(
        lambda: GLM(share, design, family=Binomial()).fit(
            cov_type="cluster", cov_kwds={"groups": index}
        ),
        _obstacle(design, share, n_clusters),
    )
    if fit is None:
        missing = undefined(level)
        return LogisticCurve(
            slope=missing,
            intercept=missing,
            half_length=missing,
            p=1.0,
            n=len(x),
            n_clusters=n_clusters,
            reason=reason,
        )
    slope, p = _along(fit, np.array([0.0, 1.0]), n_clusters, level)
    return LogisticCurve(
        slope=slope,
        intercept=_along(fit, np.array([1.0, 0.0]), n_clusters, level)[0],
        half_length=_crossing(fit, n_clusters, level),
        p=p,
        n=len(x),
        n_clusters=n_clusters,
        reason=None,
    )


def averaged_logistic(
    x: Float[np.ndarray, " x"],
    share: Float[np.ndarray, " share"],
    is_second: Bool[np.ndarray, " side"],
    clusters: Shaped[np.ndarray, " label"],
    *,
    level: float = 0.95,
) -> AveragedLogistic:
    """Population-averaged logistic of ``share`` on ``x``, side, and ``x`` times side.

    Generalised estimating equations with exchangeable correlation within clusters (Liang and
    Zeger, https://doi.org/10.1093/biomet/73.1.13) and the covariance of Mancl and DeRouen
    (https://doi.org/10.1111/j.0006-341X.2001.00126.x), which few clusters need, as they need
    Student's t. Rows of one cluster, side and ``x`` are averaged first, so that every cluster
    counts the same: slopes are those of the average cluster's share. Where the equations have no
    solution with exchangeable correlation, they are solved with none: the covariance holds
    whatever the correlation is.

    Args:
        x: Where each row was measured.
        share: Yes (1) or no (0), a share or a probability.
        is_second: Whether the row is of the second side.
        clusters: What rows of both sides belong together, such as the behaviour.
        level: Confidence level.

    Raises:
        ValueError: If lengths differ, a number is not finite, a share is not in [0, 1], or
            ``level`` is not in (0, 1).
    """
    require_same_length(share=share, is_second=is_second)
    _require(x, share, clusters, level)
    _, index = np.unique(clusters, return_inverse=True)
    table = pd.DataFrame({"cluster": index, "side": is_second.astype(float), "x": x, "y": share})
    rows = table.groupby(["cluster", "side", "x"])["y"].mean().reset_index()
    n_clusters = rows["cluster"].nunique()
    side, at, y = (rows[name].to_numpy(dtype=np.float64) for name in ("side", "x", "y"))
    design = np.stack([np.ones_like(at), at, side, at * side], axis=1)

    def fitted(correlation: CovStruct) -> tuple[_Fit | None, str | None]:
        model = GEE(
            y,
            design,
            groups=rows["cluster"].to_numpy(),
            family=Binomial(),
            cov_struct=correlation,
        )
        obstacle = _obstacle(design, y, n_clusters)
        return _fitted(lambda: model.fit(cov_type="bias_reduced"), obstacle)

    fit, reason = fitted(Exchangeable())
    if fit is None:
        # Shares that leave the curve together, as a jump at the first x, let it run away.
        fit, reason = fitted(Independence())
    terms = np.array([[0.0, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1], [0, 0, 1, 0]])
    found = [
        _along(fit, term, n_clusters, level) if fit is not None else (undefined(level), 1.0)
        for term in terms
    ]
    return AveragedLogistic(
        first_slope=found[0][0],
        second_slope=found[1][0],
        interaction=found[2][0],
        difference=found[3][0],
        p=found[2][1],
        n=len(rows),
        n_clusters=n_clusters,
        reason=reason,
    )


def _require(
    x: Float[np.ndarray, " x"],
    share: Float[np.ndarray, " share"],
    clusters: Shaped[np.ndarray, " label"],
    level: float,
) -> None:
    require_same_length(x=x, share=share, clusters=clusters)
    require_finite("x", x)
    require_finite("share", share)
    require_fraction("level", level)
    bad = share[(share < 0.0) | (share > 1.0)]
    if len(bad):
        raise ValueError(
            f"expected shares in [0, 1], got {bad[0]}; give probabilities, not log-odds"
        )


def _obstacle(
    design: Float[np.ndarray, "row term"], share: Float[np.ndarray, " row"], n_clusters: int
) -> str | None:
    """Why these rows determine no curve, as far as can be told before fitting."""
    if n_clusters < 3:
        return f"expected at least 3 clusters for an interval, got {n_clusters}"
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return "expected two different x (on either side), got fewer"
    if np.ptp(share) == 0.0:
        return "the share is the same everywhere"
    return None


def _fitted(fit: Callable[[], Any], obstacle: str | None) -> tuple[_Fit | None, str | None]:
    """Estimates with their covariance; or None, and why."""
    if obstacle is not None:
        return None, obstacle
    try:
        with warnings.catch_warnings():
            # Separation, no convergence: numbers come out all the same, and mean nothing.
            warnings.simplefilter("error", ModelWarning)
            warnings.simplefilter("error", RuntimeWarning)
            found = fit()
    except (ModelWarning, RuntimeWarning, np.linalg.LinAlgError) as problem:
        return None, f"the curve is not identified: {problem}"
    covariance = np.asarray(found.cov_params())
    if not np.isfinite(covariance).all() or (np.diag(covariance) <= 0.0).any():
        return None, "the curve is not identified: no finite standard errors"
    return (np.asarray(found.params), covariance), None


def _along(
    fit: _Fit, term: Float[np.ndarray, " term"], n_clusters: int, level: float
) -> tuple[Interval, float]:
    estimate = float(term @ fit[0])
    error = float(np.sqrt(term @ fit[1] @ term))
    reach = float(stats.t.ppf(0.5 + level / 2.0, n_clusters - 1)) * error
    p = 2.0 * float(stats.t.sf(abs(estimate) / error, n_clusters - 1))
    interval = Interval(estimate=estimate, low=estimate - reach, high=estimate + reach, level=level)
    return interval, p


def _crossing(fit: _Fit, n_clusters: int, level: float) -> Interval:
    """Where intercept + slope x is 0, with Fieller's interval."""
    (a, b), v = fit
    t2 = float(stats.t.ppf(0.5 + level / 2.0, n_clusters - 1)) ** 2
    square = b**2 - t2 * v[1, 1]
    estimate = float(-a / b) if b != 0.0 else float("nan")
    if square <= 0.0:
        return undefined(level, estimate)
    half = a * b - t2 * v[0, 1]
    root = float(np.sqrt(max(half**2 - square * (a**2 - t2 * v[0, 0]), 0.0)))
    low, high = (-half - root) / square, (-half + root) / square
    return Interval(estimate=estimate, low=float(low), high=float(high), level=level)
