"""Which of several numbers of an item predicts another best, on items left out of the fit."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np
from jaxtyping import Float

from lens_personas.statistics._checks import require_finite
from lens_personas.statistics._intervals import Interval, bootstrap_interval

_BLOCK = 256


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """How well one number predicts an outcome over items."""

    r2: Interval
    """Leave-one-out R²; the interval resamples items, all copies of one being left out at once."""
    beyond_first: Interval
    """R² less that of the first predictor, on the same resamples; 0 for the first one itself."""
    slope: Interval
    """Change of the outcome for one standard deviation more of the predictor."""


def compare_predictors(
    predictors: Float[np.ndarray, "predictor item"],
    outcome: Float[np.ndarray, " item"],
    *,
    rng: np.random.Generator,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> tuple[Prediction, ...]:
    """Leave-one-out R² of each predictor alone, and its difference from the first one's.

    Undefined (NaN) with fewer than 3 items or a constant outcome.

    Raises:
        ValueError: If a value is not finite, or ``level`` is not in (0, 1).
    """
    require_finite("predictors", predictors)
    require_finite("outcome", outcome)
    # The same resamples for all, so that differences are of the same items.
    seed = rng.integers(2**63)

    def interval(row: int, of: str) -> Interval:
        def statistic(index: Float[np.ndarray, "..."], axis: int) -> Float[np.ndarray, "..."]:
            return _of_index(of, predictors[[0, row]], outcome, index)

        return bootstrap_interval(
            statistic,
            [np.arange(len(outcome), dtype=np.float64)],
            rng=np.random.default_rng(seed),
            n_resamples=n_resamples,
            level=level,
            n_units=len(outcome),
        )

    return tuple(
        Prediction(
            r2=interval(row, "r2"),
            beyond_first=interval(row, "beyond"),
            slope=interval(row, "slope"),
        )
        for row in range(len(predictors))
    )


def one_predictor_r2(
    predictor: Float[np.ndarray, "*draws item"],
    outcome: Float[np.ndarray, "*draws item"],
    weights: Float[np.ndarray, "*draws item"] | None = None,
) -> Float[np.ndarray, "*draws"]:
    """Leave-one-out R² of a line through one predictor, for many draws at once.

    Without weights that of `leave_one_out_r2`. A weight says how often an item was drawn; all
    its copies are left out together, since a copy would give the item away. NaN with fewer than
    3 different items or a constant outcome.
    """
    if outcome.shape[-1] < 3:
        return np.full(outcome.shape[:-1], np.nan)
    w = np.ones_like(outcome) if weights is None else weights
    x = predictor - _mean(predictor, w)
    y = outcome - _mean(outcome, w)
    n, sx, sy = _of_others(w), _of_others(w * x), _of_others(w * y)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = _of_others(w * x * x) - sx**2 / n
        slope = (_of_others(w * x * y) - sx * sy / n) / spread
        slope = np.where(spread > 1e-12 * (w * x * x).sum(axis=-1, keepdims=True), slope, 0.0)
        error = w * (y - sy / n - slope * (x - sx / n)) ** 2
        guess = w * (y - sy / n) ** 2
        r2 = 1.0 - error.sum(axis=-1) / guess.sum(axis=-1)
    varied = np.ptp(np.where(w > 0, y, 0.0), axis=-1) > 1e-12 * np.abs(outcome).max(axis=-1)
    return np.asarray(np.where(((w > 0).sum(axis=-1) >= 3) & varied, r2, np.nan))


def best_r2_p(
    predictors: Float[np.ndarray, "layer item"],
    outcomes: Float[np.ndarray, "layer item"],
    *,
    rng: np.random.Generator,
    n_permutations: int = 2000,
) -> float:
    """Permutation p of the best leave-one-out R² over layers, the items' outcomes exchanged.

    One permutation serves all layers, so that the search over them is paid for. Exact where all
    ``n!`` orders are no more than ``n_permutations``; else the observed one is counted. 1 where
    no R² is defined.

    Raises:
        ValueError: If a value is not finite.
    """
    require_finite("predictors", predictors)
    require_finite("outcomes", outcomes)
    n = outcomes.shape[-1]
    observed = _best(predictors, outcomes, np.arange(n)[None])[0] if n else np.nan
    if not np.isfinite(observed):
        return 1.0
    exact = n <= 12 and factorial(n) <= n_permutations
    reached, total = (0, 0) if exact else (1, 1)
    for orders in _all_orders(n) if exact else _drawn_orders(n, n_permutations, rng):
        best = _best(predictors, outcomes, orders)
        reached += int((best >= observed - 1e-9).sum())
        total += len(orders)
    return reached / total


def _best(
    predictors: Float[np.ndarray, "layer item"],
    outcomes: Float[np.ndarray, "layer item"],
    orders: np.ndarray,
) -> Float[np.ndarray, " order"]:
    drawn = outcomes[:, orders].swapaxes(0, 1)
    r2 = one_predictor_r2(np.broadcast_to(predictors, drawn.shape), drawn)
    return np.asarray(np.where(np.isfinite(r2), r2, -np.inf).max(axis=1)) + np.where(
        np.isfinite(r2).any(axis=1), 0.0, np.nan
    )


def _all_orders(n: int) -> Iterator[np.ndarray]:
    every = np.array(list(permutations(range(n))))
    yield from (every[start : start + _BLOCK] for start in range(0, len(every), _BLOCK))


def _drawn_orders(n: int, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    for start in range(0, draws, _BLOCK):
        yield rng.permuted(np.tile(np.arange(n), (min(_BLOCK, draws - start), 1)), axis=1)


def _of_index(
    of: str,
    pair: Float[np.ndarray, "2 item"],
    outcome: Float[np.ndarray, " item"],
    index: Float[np.ndarray, "*draws item"],
) -> Float[np.ndarray, "*draws"]:
    """Statistic of resampled items; a resample is known by how often it holds each."""
    n = len(outcome)
    drawn = (index[..., None].astype(int) == np.arange(n)).sum(axis=-2).astype(np.float64)
    y = np.broadcast_to(outcome, drawn.shape)
    first, other = (np.broadcast_to(each, drawn.shape) for each in pair)
    if of == "slope":
        return _slope(other, y, drawn)
    r2 = one_predictor_r2(other, y, drawn)
    return np.asarray(r2 - one_predictor_r2(first, y, drawn)) if of == "beyond" else r2


def _slope(
    x: Float[np.ndarray, "*draws item"],
    y: Float[np.ndarray, "*draws item"],
    w: Float[np.ndarray, "*draws item"],
) -> Float[np.ndarray, "*draws"]:
    centred, n = x - _mean(x, w), w.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Per standard deviation: the covariance over the deviation itself.
        deviation = np.sqrt((w * centred**2).sum(axis=-1) / (n - 1))
        slope = (w * centred * y).sum(axis=-1) / (n - 1) / deviation
    return np.asarray(slope)


def _mean(
    values: Float[np.ndarray, "*draws item"], w: Float[np.ndarray, "*draws item"]
) -> Float[np.ndarray, "*draws 1"]:
    return np.asarray((w * values).sum(axis=-1, keepdims=True) / w.sum(axis=-1, keepdims=True))


def _of_others(weighted: Float[np.ndarray, "*draws item"]) -> Float[np.ndarray, "*draws item"]:
    """Sum over all other items, for each item."""
    return np.asarray(weighted.sum(axis=-1, keepdims=True) - weighted)
