"""How much of an effect on one measure runs through another, within prompts."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lens_personas.statistics._checks import require_finite, require_same_length
from lens_personas.statistics._intervals import Interval, bootstrap_interval, undefined


@dataclass(frozen=True, kw_only=True)
class Mediation:
    """Split of a within-prompt effect, with bootstrap intervals by prompt."""

    total: Interval
    """Mean change of the outcome."""
    indirect: Interval
    """Part that goes with the mediator: its mean change times its slope."""
    direct: Interval
    """Change of the outcome where the mediator stays as it was: total less indirect."""
    n: int
    """Number of prompts."""


def paired_mediation(
    mediator_change: Float[np.ndarray, " mediated"],
    outcome_change: Float[np.ndarray, " prompt"],
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> Mediation:
    """Total, indirect and direct effect of a treatment that every prompt got and did not get.

    The outcome's change is regressed on the mediator's change over prompts (Judd, Kenny and
    McClelland, https://doi.org/10.1037/1082-989X.6.2.115, without the term for the mediator's
    level). Causal only if nothing else moves both changes.

    Raises:
        ValueError: If a change is not finite, the two differ in length, or ``level`` is not in
            (0, 1).
    """
    require_same_length(mediator_change=mediator_change, outcome_change=outcome_change)
    require_finite("mediator_change", mediator_change)
    require_finite("outcome_change", outcome_change)
    seed = rng.integers(2**63)
    total, indirect, direct = (
        bootstrap_interval(
            part,
            [mediator_change, outcome_change],
            # The same resamples for the three, so that they add up.
            rng=np.random.default_rng(seed),
            n_resamples=n_resamples,
            level=level,
            n_units=len(outcome_change),
            paired=True,
        )
        for part in (_total, _indirect, _direct)
    )
    return Mediation(total=total, indirect=indirect, direct=direct, n=len(outcome_change))


def paired_ratio(
    numerator: Float[np.ndarray, " part"],
    denominator: Float[np.ndarray, " prompt"],
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Mean of one change over the mean of another, such as the share that is mediated.

    Both are resampled by prompt. Only the estimate is given where the denominator's own interval
    holds 0: a share of nothing has no bounds.

    Raises:
        ValueError: If a change is not finite, the two differ in length, or ``level`` is not in
            (0, 1).
    """
    require_same_length(numerator=numerator, denominator=denominator)
    require_finite("numerator", numerator)
    require_finite("denominator", denominator)
    seed = rng.integers(2**63)
    whole, ratio = (
        bootstrap_interval(
            part,
            [numerator, denominator],
            rng=np.random.default_rng(seed),
            n_resamples=n_resamples,
            level=level,
            n_units=len(denominator),
            paired=True,
        )
        for part in (_total, _ratio)
    )
    return ratio if whole.excludes(0.0) else undefined(level, ratio.estimate)


def _ratio(
    numerator: Float[np.ndarray, "*draws prompt"],
    denominator: Float[np.ndarray, "*draws prompt"],
    axis: int,
) -> Float[np.ndarray, "*draws"]:
    return np.asarray(numerator.mean(axis=axis) / denominator.mean(axis=axis))


def _total(
    _mediator: Float[np.ndarray, "*draws prompt"],
    outcome: Float[np.ndarray, "*draws prompt"],
    axis: int,
) -> Float[np.ndarray, "*draws"]:
    return np.asarray(outcome.mean(axis=axis, dtype=np.float64))


def _indirect(
    mediator: Float[np.ndarray, "*draws prompt"],
    outcome: Float[np.ndarray, "*draws prompt"],
    axis: int,
) -> Float[np.ndarray, "*draws"]:
    level = mediator.mean(axis=axis, keepdims=True, dtype=np.float64)
    centred = mediator - level
    slope = (centred * outcome).sum(axis=axis) / (centred**2).sum(axis=axis)
    return np.asarray(slope * level.squeeze(axis))


def _direct(
    mediator: Float[np.ndarray, "*draws prompt"],
    outcome: Float[np.ndarray, "*draws prompt"],
    axis: int,
) -> Float[np.ndarray, "*draws"]:
    return np.asarray(_total(mediator, outcome, axis) - _indirect(mediator, outcome, axis))
