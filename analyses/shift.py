"""How tuning shifts what a model shows of behaviours, as one result."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from analyses.base_against_tuned import BaseAgainstTuned, MeasureShift
from analyses.distinguishability import Distinguishability
from analyses.internal_distinguishability import InternalDistinguishability
from analyses.sentence_divergence import SentenceDivergence
from analyses.steerability import Steerability

PairStudy = Literal["distinguishability", "steerability"]
"""Which of the two questions was asked."""

PairStatus = Literal["studied", "nothing_to_study"]
"""Whether there was anything to compare."""

PairSource = Literal["files", "organism", "shipped"]
"""The user's files, the organism's world, or the benign behaviours that are shipped."""

SIDES = ("base", "tuned")
"""The two models, in the order in which they are shown."""


@dataclass(frozen=True, kw_only=True)
class PairData:
    """What was said to both models."""

    source: PairSource
    """Where the statements are from."""
    fictional: bool
    """Whether all text is of an invented world and may be shown in full."""
    behaviours: pd.DataFrame
    """``behaviour, desirable, n_aligned, n_misaligned, n_prompt, n_scored``: statements scored
    alone by half, statements kept for prompts and vectors, statements scored under these."""
    templates: Mapping[str, str]
    """How statements were put to the model, ``chat`` or ``plain``, by side."""
    licences: Mapping[str, str]
    """Licence of the statements by behaviour."""


@dataclass(frozen=True, kw_only=True)
class Shift:
    """All that a study of a base and a tuned model found."""

    study: PairStudy
    """Which question was asked."""
    status: PairStatus
    """Whether there was anything to compare."""
    message: str
    """The finding in one or two sentences, in plain words."""
    seed: int
    """Seed of every draw."""
    settings: dict[str, Any]
    """What was asked, whole."""
    models: dict[str, dict[str, Any]]
    """Card of each model, by side."""
    data: PairData
    """What was said to both models."""
    scores: pd.DataFrame
    """Every score of a statement alone: ``side, behaviour, desirable, statement_id, group,
    aligned, order, log_odds, mass, yes_logit, no_logit, yes_logit_first``."""
    distinguishability: Distinguishability | None = None
    """Whether answers tell the two halves of a behaviour apart, by side."""
    internal: InternalDistinguishability | None = None
    """Whether states inside tell them apart, by layer and side."""
    divergence: SentenceDivergence | None = None
    """How far sentences of a misaligned voice depart from the model, and what that foretells."""
    steerability: Steerability | None = None
    """How far persona prompts and vectors move the answers, by side."""
    comparison: BaseAgainstTuned | None = None
    """The base held against the tuned model, over behaviours and within each."""


def shift_status(apart: Distinguishability | None) -> PairStatus:
    """Whether any behaviour could be looked at in both models."""
    if apart is None:
        return "studied"
    sides = {behaviour: set[str]() for behaviour in apart.behaviours}
    for row in apart.rows:
        sides[row.behaviour].add(row.side)
    return "studied" if any(len(each) == 2 for each in sides.values()) else "nothing_to_study"


def shift_finding(
    study: PairStudy,
    *,
    distinguishability: Distinguishability | None,
    steerability: Steerability | None,
    comparison: BaseAgainstTuned | None,
    alpha: float,
) -> str:
    """The study's finding in one or two plain sentences.

    Args:
        study: Which question was asked: what it is about is told first.
        distinguishability: Whether answers tell the halves apart.
        steerability: How far prompts move the answers.
        comparison: The base held against the tuned model.
        alpha: Level after correction over behaviours.
    """
    if shift_status(distinguishability) == "nothing_to_study":
        return "No behaviour has statements of both halves that both models were asked about."
    told = [
        _told_apart(distinguishability, comparison, alpha),
        _steered(steerability, comparison, alpha),
    ]
    if study == "steerability":
        told.reverse()
    return " ".join(each for each in told if each)


def _told_apart(
    found: Distinguishability | None, comparison: BaseAgainstTuned | None, alpha: float
) -> str:
    if found is None:
        return ""
    rows = [row for row in found.rows if row.metric == "wasserstein"]
    counts = {side: sum(row.p_bh < alpha for row in rows if row.side == side) for side in SIDES}
    n = len({row.behaviour for row in rows})
    text = (
        f"Answers tell the two halves apart for {counts['base']} of {n} behaviours in the base "
        f"model and {counts['tuned']} in the tuned one (Wasserstein distance of the log-odds, "
        "label permutation, corrected over behaviours)"
    )
    return f"{text}{_mean_shift(comparison, 'wasserstein', ' nats')}."


def _steered(found: Steerability | None, comparison: BaseAgainstTuned | None, alpha: float) -> str:
    if found is None:
        return ""
    curves = [curve for curve in found.prompts if curve.arm == "misaligned"]
    if not curves:
        return ""
    counts = {
        side: sum(
            curve.p_bh < alpha and (curve.net_trend or curve.trend).estimate > 0
            for curve in curves
            if curve.side == side
        )
        for side in SIDES
    }
    n = len({curve.behaviour for curve in curves})
    text = (
        f"Misaligned persona prompts move the answers beyond neutral ones of the same length for "
        f"{counts['base']} of {n} behaviours in the base model and {counts['tuned']} in the "
        "tuned one"
    )
    return f"{text}{_mean_shift(comparison, 'net prompt trend', ' nats a sentence')}."


def _mean_shift(comparison: BaseAgainstTuned | None, measure: str, unit: str) -> str:
    """Means of both models with the test over behaviours; nothing where it was not made."""
    shifts = () if comparison is None else comparison.shifts
    found: MeasureShift | None = next((each for each in shifts if each.measure == measure), None)
    if found is None:
        return ""
    return (
        f"; on average {found.base:.2f} in the base and {found.tuned:.2f}{unit} in the tuned "
        f"model, Wilcoxon p = {found.test.p:.3g} over {found.n} behaviours"
    )
