"""What a study of this size could have found."""

import numpy as np
from jaxtyping import Float
from scipy import optimize, stats

from lens_personas.statistics._checks import require_fraction


def minimal_detectable_effect(
    sd: float, n: int, *, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Smallest mean difference a paired t test of ``n`` prompts finds, in the units of ``sd``.

    ``sd`` is the standard deviation of the differences. NaN with fewer than 2 prompts or
    without variance.

    Raises:
        ValueError: If ``sd`` or ``n`` is negative, ``power`` or ``alpha`` not in (0, 1), or
            ``power`` not above ``alpha``.
    """
    _require(n, power, alpha)
    if sd < 0:
        raise ValueError(f"expected a standard deviation >= 0, got {sd}")
    if n < 2 or sd == 0.0 or not np.isfinite(sd):
        return float("nan")
    # Not statsmodels.stats.power: for few prompts its solver stops short without a word.
    critical = stats.t.isf(alpha / 2.0, n - 1)

    def shortfall(shift: float) -> float:
        # scipy gives NaN for the far tail where it is next to nothing.
        beyond = np.nan_to_num(stats.nct.cdf(-critical, n - 1, shift))
        return float(stats.nct.sf(critical, n - 1, shift) + beyond) - power

    high = critical + 1.0
    while shortfall(high) < 0:
        high *= 1.5
    shift = optimize.brentq(shortfall, 0.0, high)
    return float(sd * shift / np.sqrt(n))


def minimal_detectable_net(
    n: int, *, lost: float = 0.0, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Smallest net change of a rate that exact McNemar on ``n`` prompts finds.

    ``lost`` is the share of prompts that go the other way; the result is the share gained less
    the share lost. NaN if even ``1 - lost`` gained would not be found.

    Raises:
        ValueError: If ``n`` is negative, ``lost`` not in [0, 1), ``power`` or ``alpha`` not in
            (0, 1), or ``power`` not above ``alpha``.
    """
    _require(n, power, alpha)
    if not 0.0 <= lost < 1.0:
        raise ValueError(f"expected lost in [0, 1), got {lost}; it is a share of the prompts")
    most = 1.0 - lost
    needed = _needed_gains(n, alpha)
    if _mcnemar_power(most, lost, needed) < power:
        return float("nan")
    gained = optimize.brentq(lambda g: _mcnemar_power(g, lost, needed) - power, lost, most)
    return float(gained - lost)


def _needed_gains(n: int, alpha: float) -> Float[np.ndarray, " changed"]:
    """Fewest gains that are significant among 0, 1, ... ``n`` prompts that changed."""
    changed = np.arange(n + 1)
    # Symmetric: as many gains as leave so few losses that twice their tail is within alpha.
    losses = stats.binom.ppf(alpha / 2.0, changed, 0.5)
    over = stats.binom.cdf(losses, changed, 0.5) > alpha / 2.0
    return np.asarray(changed - (losses - over), dtype=np.float64)


def _mcnemar_power(gained: float, lost: float, needed: Float[np.ndarray, " changed"]) -> float:
    total = gained + lost
    if total == 0.0:
        return 0.0
    changed = np.arange(len(needed))
    chance = stats.binom.pmf(changed, len(needed) - 1, min(total, 1.0))
    found = stats.binom.sf(needed - 1, changed, gained / total)
    return float((chance * found).sum())


def _require(n: int, power: float, alpha: float) -> None:
    require_fraction("power", power)
    require_fraction("alpha", alpha)
    if n < 0 or power <= alpha:
        raise ValueError(f"expected n >= 0 and power > alpha, got n={n}, {power=}, {alpha=}")
