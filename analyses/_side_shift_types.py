"""What the base model and the tuned one are held against each other as."""

from dataclasses import dataclass

import pandas as pd

from lens_personas.statistics import Correlation, Interval, SignedRank


@dataclass(frozen=True, kw_only=True)
class MeasureShift:
    """One measure of the base model against the tuned one, over behaviours."""

    measure: str
    """Name of the measure."""
    kind: str
    """``distinguishability`` or ``steerability``."""
    n: int
    """Behaviours that have it in both models."""
    base: float
    """Mean over behaviours in the base model."""
    tuned: float
    """Mean in the tuned model."""
    difference: Interval
    """Tuned less base, resampled by behaviour."""
    test: SignedRank
    """Wilcoxon's signed ranks, with behaviours up and down."""
    p_bh: float
    """p after Benjamini and Hochberg over measures of this kind."""
    detectable: float
    """Smallest mean shift that a paired t test of these behaviours finds; NaN without spread."""
    detectable_sd: float
    """The same in standard deviations of the behaviours' shifts."""


@dataclass(frozen=True, kw_only=True)
class BehaviourShift:
    """One measure of one behaviour, paired by statement."""

    behaviour: str
    """Name of the behaviour."""
    desirable: bool
    """Whether showing it is the aligned answer."""
    measure: str
    """Name of the measure."""
    n: int
    """Statements that have it in both models."""
    n_groups: int
    """Groups whose sides are swapped as one."""
    base: float
    """The base model's."""
    tuned: float
    """The tuned model's."""
    difference: float
    """Tuned less base."""
    p: float
    """Two-sided p: sides swapped within statement, whole groups at once."""
    p_bh: float
    """p after Benjamini and Hochberg over behaviours of this measure."""


@dataclass(frozen=True, kw_only=True)
class LengthInteraction:
    """Population-averaged logistic of the misaligned answer on length, side, and both."""

    arm: str
    """Kind of prompt."""
    clusters: str
    """What is resampled as one: ``behaviour``, or ``statement`` where behaviours are few."""
    n_clusters: int
    """How many of them."""
    n: int
    """Rows: model, statement and length."""
    base_slope: Interval
    """Log-odds of a misaligned answer a sentence in the base model."""
    tuned_slope: Interval
    """The same in the tuned model."""
    interaction: Interval
    """Tuned slope less base slope; its interval is robust to how answers in a cluster hang
    together."""
    p: float
    """Two-sided p of the interaction; 1 where it is undefined."""


@dataclass(frozen=True, kw_only=True)
class MeasureCorrelation:
    """Whether behaviours that are told apart are those that can be steered."""

    side: str
    """``base``, ``tuned``, or ``change`` for tuned less base."""
    steerability: str
    """Measure of steerability."""
    metric: str
    """Measure of distinguishability."""
    correlation: Correlation
    """Spearman's over behaviours, with bootstrap interval and permutation p."""
    p_bh: float
    """p after Benjamini and Hochberg over metrics of this side and measure."""


@dataclass(frozen=True, kw_only=True)
class BaseAgainstTuned:
    """What tuning does to how behaviours are told apart, and to how far they can be steered."""

    level: float
    """Confidence level of intervals."""
    alpha: float
    """Level of the tests that the power statement is about."""
    power: float
    """Chance of finding a shift of the detectable size."""
    behaviours: tuple[str, ...]
    """Behaviours with both models."""
    shifts: tuple[MeasureShift, ...]
    """Every measure, over behaviours."""
    within: tuple[BehaviourShift, ...]
    """Every behaviour, paired by statement; empty without scores by statement."""
    interactions: tuple[LengthInteraction, ...]
    """One an arm; empty without prompts of several lengths in both models."""
    correlations: tuple[MeasureCorrelation, ...]
    """Steerability with every metric; empty without either."""
    matrix: pd.DataFrame
    """One row ``side, measure, other``: Spearman's ``rho`` over behaviours with ``low, high``,
    permutation ``p``, and ``n``; the diagonal is there with rho 1."""
    values: pd.DataFrame
    """One row ``behaviour, measure, kind``: ``base, tuned, difference``."""
    left_out: tuple[str, ...]
    """What could not be computed, and why, in sentences."""
