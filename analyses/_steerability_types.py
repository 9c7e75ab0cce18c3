"""What steering by prompts and by vectors is summed up as."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lens_personas.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class ArmCurve:
    """How the answers of one model about one behaviour follow the length of one kind of prompt.

    All is counted towards the misaligned answer: above 0, longer prompts misalign.
    """

    side: str
    """``base`` or ``tuned``."""
    behaviour: str
    """Name of the behaviour."""
    desirable: bool
    """Whether showing the behaviour is the aligned answer."""
    arm: str
    """Kind of prompt: ``misaligned``, ``aligned``, ``filler``, ``shuffled`` or ``yes``."""
    n: int
    """Statements that were scored at every length."""
    n_groups: int
    """Groups of statements, which are resampled whole."""
    n_assemblies: int
    """Fewest random assemblies at any length."""
    lengths: tuple[int, ...]
    """Sentences tried, ascending; 0 is the question alone."""
    slope: Interval
    """Logistic slope: log-odds of a misaligned answer a sentence; NaN where it is not
    identified."""
    half_length: Interval
    """Sentences at which the fitted share is one half; NaN where the curve never gets there."""
    trend: Interval
    """Least squares of the propensity over lengths by statement, then averaged: nats a sentence."""
    net_trend: Interval | None
    """The same, less the filler's over the lengths of both, paired by statement; None for the
    filler itself, and without one."""
    p: float
    """Two-sided sign-flip p of the net trend (of the trend, without a filler) by group."""
    p_bh: float
    """p after Benjamini and Hochberg, over behaviours and sides of this arm."""
    change: Interval
    """Propensity at the longest prompt less that of the question alone, nats."""
    net_change: Interval | None
    """The same against the filler of that length; None as for ``net_trend``."""
    not_fitted: str | None
    """Why there is no logistic curve; None where there is one."""
    index: Interval
    """Prompt steerability index at the longest prompt, towards where the arm is meant to lead
    (Miehling et al., https://arxiv.org/abs/2411.12405): 1 is all the way from the misaligned to
    the aligned extreme, 0 no movement, below 0 the wrong way. NaN for arms that lead nowhere."""
    trend_by_assembly: tuple[float, ...]
    """Trend of each assembly alone: how much hangs on which sentences were drawn."""


@dataclass(frozen=True, kw_only=True)
class VectorCurve:
    """How the answers of one model about one behaviour follow the dose of its steering vector.

    After Tan et al. (https://arxiv.org/abs/2407.12404).
    """

    side: str
    """``base`` or ``tuned``."""
    behaviour: str
    """Name of the behaviour."""
    desirable: bool
    """Whether showing the behaviour is the aligned answer."""
    layers: tuple[int, ...]
    """Layer at which each half of the groups is read: the other half steers most there."""
    n: int
    """Statements."""
    n_groups: int
    """Groups of statements, which are resampled whole."""
    slope: Interval
    """Slope of the propensity for the misaligned answer over the dose, averaged over statements:
    nats a residual norm."""
    spread: float
    """Standard deviation of the statements' slopes, the same unit."""
    anti_steerable: Interval
    """Share of statements whose slope is below 0, with Wilson interval."""
    p: float
    """Two-sided sign-flip p of the mean slope, by group."""
    p_bh: float
    """p after Benjamini and Hochberg, over behaviours and sides."""
    n_random: int
    """Random directions of the same length, whose layer is chosen in the same way."""
    null_range: tuple[float, float] | None
    """Where the mean slope of one more random direction would fall; None without any."""
    beyond_null: bool
    """Whether the slope lies outside that range; False without one."""
    null_anti_steerable: float
    """Mean share of statements that random directions steer below 0; NaN without any."""


@dataclass(frozen=True, kw_only=True)
class Steerability:
    """How far prompts and vectors move the answers about behaviours, in each model."""

    level: float
    """Confidence level of every interval."""
    sides: tuple[str, ...]
    """Models: ``base``, ``tuned``, or one of them."""
    behaviours: tuple[str, ...]
    """Behaviours, in the order of the tables."""
    arms: tuple[str, ...]
    """Kinds of prompts that were tried; empty where none was."""
    prompts: tuple[ArmCurve, ...]
    """One curve a model, behaviour and arm."""
    vectors: tuple[VectorCurve, ...]
    """One curve a model and behaviour; empty where none was steered."""
    by_length: pd.DataFrame
    """One row ``side, behaviour, desirable, arm, n_sentences``: mean ``n_tokens``; ``n``
    statements, ``n_assemblies``; ``share`` whose misaligned answer is the likelier (ties half),
    mean ``probability`` of it and ``propensity`` (nats), means over assemblies, each with
    interval by group (``_low, _high``); ``assembly_sd``, standard deviation over assemblies of
    the mean propensity; ``net``, propensity less the filler's of that length, paired (``net_low,
    net_high``; NaN for the filler and without one); ``mass``, mean P(Yes) + P(No)."""
    pooled: pd.DataFrame
    """The same means over behaviours: one row ``side, desirable`` (``all``, ``yes`` or ``no``),
    ``arm, n_sentences, n_behaviours``; ``share, probability, propensity, net``, each with
    interval by behaviour."""
    by_dose: pd.DataFrame
    """One row ``side, behaviour, desirable, layer, vector, dose``: ``share, probability,
    propensity`` with intervals by group."""
    by_layer: pd.DataFrame
    """One row ``side, behaviour, desirable, layer``: mean ``slope`` (``low, high``), share
    ``anti`` (``anti_low, anti_high``), range of the random directions' slopes (``null_low,
    null_high``)."""
    by_statement: pd.DataFrame
    """One row ``side, behaviour, desirable, measure, statement_id, group``: ``value``, the
    statement's own trend (``prompt trend``, ``net prompt trend``) or slope (``vector slope``)."""
    left_out: tuple[str, ...]
    """What could not be computed, and why, in sentences."""

    def curve(self, side: str, behaviour: str, arm: str) -> ArmCurve:
        """One curve.

        Raises:
            KeyError: If there is none.
        """
        for each in self.prompts:
            if (each.side, each.behaviour, each.arm) == (side, behaviour, arm):
                return each
        raise KeyError(
            f"expected one of the sides {self.sides}, behaviours {self.behaviours} and arms "
            f"{self.arms}, got {(side, behaviour, arm)}"
        )

    @property
    def measures(self) -> pd.DataFrame:
        """Every measure of steerability, with the columns :data:`MEASURE_COLUMNS`."""
        rows = [
            (curve.side, curve.behaviour, measure, "steerability", of.estimate, of.low, of.high)
            for curve in self.prompts
            if curve.arm == "misaligned"
            for measure, of in _of_prompts(curve).items()
        ]
        rows += [
            (curve.side, curve.behaviour, measure, "steerability", of.estimate, of.low, of.high)
            for curve in self.vectors
            for measure, of in (
                ("vector slope", curve.slope),
                ("anti-steerable share", curve.anti_steerable),
            )
        ]
        return pd.DataFrame(rows, columns=list(MEASURE_COLUMNS))


MEASURE_COLUMNS = ("side", "behaviour", "measure", "kind", "estimate", "low", "high")
"""Columns of a table of measures: ``kind`` is ``distinguishability`` or ``steerability``."""


def _of_prompts(curve: ArmCurve) -> dict[str, Interval]:
    found = {
        "prompt trend": curve.trend,
        "net prompt trend": curve.net_trend,
        "logistic slope": curve.slope,
        # Without bounds the curve may never cross one half: a number would mean nothing.
        "half-length": curve.half_length if np.isfinite(curve.half_length.low) else None,
        "change": curve.change,
        "net change": curve.net_change,
        "steerability index": curve.index,
    }
    return {name: of for name, of in found.items() if of is not None}
