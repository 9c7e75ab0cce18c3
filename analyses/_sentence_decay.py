"""How the divergence of a voice from a mixture that holds it dies away with what was said."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float
from scipy.optimize import least_squares
from scipy.special import expit

from analyses._sentence_divergence_types import DecayFit

_STARTS: Final = (-40.0, -20.0, -12.0, -8.0, -6.0, -4.5, -3.0, -2.0, -1.0, 0.0, 1.5, 3.0)
_FARTHEST: Final = 60.0
_UNSEEN: Final = 0.99
"""Share of the first divergence that is left at the longest length: above it nothing decays."""


def theory_curve(
    n_sentences: Float[np.ndarray, " length"], *, beta: float, log_odds: float
) -> Float[np.ndarray, " length"]:
    """Divergence of the next sentence after n, nats: ``log(w(n + 1) / w(n))``.

    ``w(n) = σ(log_odds + beta · n)`` is the weight of P− in the mixture P+ after n of its
    sentences, of beta nats each. What all sentences together can diverge by is at most
    ``-log w(0)``, since P+ is never less than w(0) times P−.

    >>> float(theory_curve(np.array([0.0, 100.0]), beta=2.0, log_odds=-50.0)[0])
    2.0
    """
    return _curve(n_sentences, beta, log_odds)


def _curve(
    at: Float[np.ndarray, " length"],
    beta: float | Float[np.ndarray, "..."],
    log_odds: float | Float[np.ndarray, "..."],
) -> Float[np.ndarray, "... length"]:
    """The same for any shapes that go together."""
    before = log_odds + beta * at
    return np.asarray(np.logaddexp(0.0, -before) - np.logaddexp(0.0, -(before + beta)))


def fit_decay(
    n_sentences: Sequence[int], divergence: Float[np.ndarray, " length"]
) -> DecayFit | None:
    """The theory's curve through the mean divergence at each length, by least squares.

    None with fewer than three lengths, or where a value is missing.

    Raises:
        ValueError: If the two differ in length.
    """
    if len(n_sentences) != len(divergence):
        raise ValueError(
            f"expected one divergence a length, got {len(n_sentences)} lengths and "
            f"{len(divergence)} values"
        )
    if len(n_sentences) < 3 or not np.isfinite(divergence).all():
        return None
    if divergence.max() <= 0.0:
        return DecayFit(beta=0.0, alpha=0.0, half_length=np.inf, r_squared=np.nan)
    at = np.asarray(n_sentences, dtype=np.float64)
    beta, log_odds = _best(at, divergence)
    fitted = theory_curve(at, beta=beta, log_odds=log_odds)
    spread = float(((divergence - divergence.mean()) ** 2).sum())
    missed = float(((divergence - fitted) ** 2).sum())
    decays = bool(
        fitted[at.argmax()] < _UNSEEN * theory_curve(at[:1], beta=beta, log_odds=-_FARTHEST)[0]
    )
    return DecayFit(
        beta=beta,
        alpha=float(expit(log_odds)) if decays else 0.0,
        half_length=max(0.0, -log_odds / beta) if decays else np.inf,
        r_squared=1.0 - missed / spread if spread > 1e-12 else np.nan,
    )


def fitted_curve(
    fit: DecayFit | None, n_sentences: Float[np.ndarray, " length"]
) -> Float[np.ndarray, " length"]:
    """The curve of a fit; NaN without one."""
    if fit is None:
        return np.full(len(n_sentences), np.nan)
    if fit.alpha <= 0.0:
        return np.full(len(n_sentences), fit.beta)
    odds = float(np.log(fit.alpha) - np.log1p(-fit.alpha)) if fit.alpha < 1.0 else np.inf
    return theory_curve(n_sentences, beta=fit.beta, log_odds=min(odds, _FARTHEST))


def _best(
    at: Float[np.ndarray, " length"], divergence: Float[np.ndarray, " length"]
) -> tuple[float, float]:
    """β and the log-odds of the weight, from the best point of a grid: the curve has flats."""
    first = float(np.log(max(float(divergence.max()), 1e-3)))
    log_betas, starts = first + np.linspace(-1.0, 3.0, 17), np.array(_STARTS)
    grid = _curve(at, np.exp(log_betas)[:, None, None], starts[:, None])
    row, column = np.unravel_index(((grid - divergence) ** 2).sum(axis=2).argmin(), grid.shape[:2])
    start = np.array([log_betas[row], starts[column]])
    bounds = ([start[0] - 8.0, -_FARTHEST], [start[0] + 8.0, _FARTHEST])

    def missed(point: Float[np.ndarray, " parameter"]) -> Float[np.ndarray, " length"]:
        return np.asarray(_curve(at, float(np.exp(point[0])), float(point[1])) - divergence)

    best = least_squares(missed, start, bounds=bounds)
    return float(np.exp(best.x[0])), float(best.x[1])
