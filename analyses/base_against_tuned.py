"""What does tuning do to how behaviours are told apart, and to how far they can be steered?"""

import numpy as np
import pandas as pd

from analyses._length_fit import length_interactions
from analyses._side_shift import (
    BASE,
    TUNED,
    Tests,
    in_both,
    measure_matrices,
    measure_shifts,
    paired_values,
    steering_correlations,
)
from analyses._side_shift_types import (
    BaseAgainstTuned,
    BehaviourShift,
    LengthInteraction,
    MeasureCorrelation,
    MeasureShift,
)
from analyses._side_within import corrected_shifts, score_shifts, trend_shifts

__all__ = [
    "BaseAgainstTuned",
    "BehaviourShift",
    "LengthInteraction",
    "MeasureCorrelation",
    "MeasureShift",
    "base_against_tuned",
]

_MEASURES = ("side", "behaviour", "measure", "kind", "estimate")


def base_against_tuned(
    measures: pd.DataFrame,
    *,
    rng: np.random.Generator,
    scores: pd.DataFrame | None = None,
    lengths: pd.DataFrame | None = None,
    by_statement: pd.DataFrame | None = None,
    level: float = 0.95,
    alpha: float = 0.05,
    power: float = 0.8,
    n_boot: int = 2000,
    n_perm: int = 5000,
) -> BaseAgainstTuned:
    """The tuned model against the base model: over behaviours, and within each.

    Over behaviours every measure is tested by signed ranks, with the shift that so many
    behaviours could have shown; every measure is correlated with every other. Within a
    behaviour the two models' answers to one statement are exchanged. Curves over the length of
    prompts are compared by a population-averaged logistic.

    Args:
        measures: One row a side, behaviour and measure, with ``side, behaviour, measure, kind,
            estimate``; ``kind`` is ``distinguishability`` or ``steerability``.
        rng: Source of every draw.
        scores: Scores of statements, with ``side, behaviour, desirable, statement_id, group,
            aligned, log_odds``; None to leave their paired tests out.
        lengths: Answers under prompts, as ``steerability`` takes them; None to leave their
            comparison out.
        by_statement: Trends and slopes by statement, as ``steerability`` gives them; None to
            leave their paired tests out.
        level: Confidence level.
        alpha: Level of the tests that the power statement is about.
        power: Chance of finding the shift it names.
        n_boot: Bootstrap resamples.
        n_perm: Permutations.

    Raises:
        ValueError: If a column is missing, or no behaviour has a measure in both models.
    """
    tests = Tests(rng=rng, level=level, alpha=alpha, power=power, n_boot=n_boot, n_perm=n_perm)
    values = paired_values(_checked(measures))
    behaviours = in_both(values)
    if not behaviours:
        raise ValueError(
            f"expected behaviours with a measure on both sides, {BASE!r} and {TUNED!r}, got "
            f"sides {sorted(set(measures['side']))}; score both models on the same statements"
        )
    matrix, by_side = measure_matrices(values, tests)
    within = [] if scores is None else score_shifts(scores, tests)
    if by_statement is not None and len(by_statement):
        within += trend_shifts(by_statement, tests)
    interactions, left_out = ((), ()) if lengths is None else length_interactions(lengths, level)
    return BaseAgainstTuned(
        level=level,
        alpha=alpha,
        power=power,
        behaviours=behaviours,
        shifts=measure_shifts(values, tests),
        within=corrected_shifts(within),
        interactions=interactions,
        correlations=steering_correlations(values, by_side),
        matrix=matrix,
        values=values,
        left_out=left_out,
    )


def _checked(measures: pd.DataFrame) -> pd.DataFrame:
    missing = [column for column in _MEASURES if column not in measures]
    if missing:
        raise ValueError(
            f"expected measures with the columns {list(_MEASURES)}, got none called {missing}"
        )
    return measures
