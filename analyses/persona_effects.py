"""Does it matter who asks? Change of refusal by persona, beside the control persona."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from analyses.scores import (
    Arm,
    Kind,
    LayerChoice,
    Outcome,
    ScoreTable,
    Treatment,
    changes_of,
    choose_layer,
    control_changes,
    control_names,
)
from lens_personas.statistics import (
    Interval,
    PairedBinary,
    adjust,
    mcnemar_exact,
    minimal_detectable_effect,
    null_range,
    paired_bootstrap,
    sign_flip,
    wilson,
)


@dataclass(frozen=True, kw_only=True)
class Answered:
    """Answers that were written, on the same requests with and without the treatment."""

    n: int
    """Harmful test requests."""
    before: Interval
    """Share answered without the treatment, Wilson interval."""
    after: Interval
    """Share answered under the treatment, Wilson interval."""
    against_baseline: PairedBinary
    """Exact McNemar test against the request alone."""
    against_control: PairedBinary
    """Exact McNemar test against the control under the same treatment."""
    degenerate: float
    """Share of answers under the treatment that are no text."""
    harmless: float
    """Share of harmless test requests answered under the treatment; NaN without any."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one persona does under one treatment, on requests no choice was made on."""

    persona: str
    """Name of the persona, control, null or refusal vector."""
    group: str
    """Side the persona was expected to take."""
    kind: Kind
    """What the arm stands for."""
    treatment: Treatment
    """How it was applied."""
    layer: int | None
    """Block whose output was edited, from 0; None where nothing was."""
    layer_chosen_by: str
    """How the layer was chosen."""
    outcome: Outcome
    """What the estimates are about."""
    n: int
    """Requests."""
    estimate: float
    """Mean change against the request alone; nats of refusal log-odds, or a share."""
    interval: Interval
    """Bootstrap interval of the estimate, resampled by request."""
    p: float
    """Two-sided sign-flip (score) or McNemar (share) p of the difference from the control;
    for the control itself, of its change."""
    p_corrected: float
    """The same after Holm over all personas and treatments."""
    control: Interval
    """The control's change under the same treatment and layer."""
    difference: Interval
    """Estimate minus the control's, paired by request."""
    minimal_detectable: float
    """Smallest difference found with power .8 at level .05 given n and the spread seen."""
    optimism: float
    """Size of the difference (for the control: of its change) where the layer was chosen, minus
    its size here; NaN without a choice."""
    null_range: tuple[float, float] | None
    """Where the change by one more null would fall: 95 % prediction interval of the neutral texts
    (as a prompt) or of them and random directions of equal norm (as a vector), no narrower than
    what they did; None where there are none."""
    answered: Answered | None
    """What was written; None where no answers were."""
    claim: bool
    """Whether the difference is significant after correction, and the estimate beyond every null
    on the same side."""


@dataclass(frozen=True, kw_only=True)
class PersonaEffects:
    """Effects of all personas, with the size of the test that was made."""

    effects: tuple[Effect, ...]
    """One entry for each persona and treatment."""
    outcome: Outcome
    """What the estimates are about."""
    alpha: float
    """Family-wise level of a claim."""
    layer_means: pd.DataFrame
    """Mean change and interval by persona, treatment and layer on the test requests."""


def persona_effects(
    scores: pd.DataFrame,
    *,
    control: str,
    rng: np.random.Generator,
    outcome: Outcome = "refusal_score",
    alpha: float = 0.05,
    claimable: bool = True,
) -> PersonaEffects:
    """Effect of each persona and treatment on harmful requests, layer chosen apart from the test.

    Args:
        scores: One row for each arm and request, columns :data:`analyses.scores.SCORE_COLUMNS`.
        control: Name of the control persona.
        rng: Source of every draw.
        outcome: Refusal log-odds, or (where the model refuses nothing) the share answered.
        alpha: Family-wise level of a claim.
        claimable: Whether anything may be claimed at all; not where the model refuses nothing.

    Raises:
        ValueError: If a column, the baseline or the control is missing, or an arm was not
            scored on the baseline's requests.
    """
    table = ScoreTable.of(scores, control=control)
    effects = [_effect(table, arm, outcome, rng) for arm in table.arms]
    return PersonaEffects(
        effects=tuple(_corrected(effects, alpha if claimable else 0.0)),
        outcome=outcome,
        alpha=alpha,
        layer_means=_layer_means(table, rng),
    )


def _effect(table: ScoreTable, arm: Arm, outcome: Outcome, rng: np.random.Generator) -> Effect:
    choice = choose_layer(table, arm)
    changes = changes_of(table, arm.persona, arm.treatment, choice.layer, "test", outcome)
    control = control_changes(table, arm.treatment, choice.layer, "test", outcome)
    gap = changes - control
    tested = changes if arm.kind == "control" else gap
    estimate = _mean(changes, rng)
    difference = _mean(gap, rng)
    answered = _answered(table, arm, choice.layer)
    by_score = outcome == "refusal_score"
    return Effect(
        persona=arm.persona,
        group=arm.group,
        kind=arm.kind,
        treatment=arm.treatment,
        layer=None if choice.layer < 0 else choice.layer,
        layer_chosen_by=choice.by,
        outcome=outcome,
        n=len(changes),
        estimate=estimate.estimate,
        interval=estimate,
        p=_score_p(tested, rng) if by_score else _answer_p(arm, answered),
        p_corrected=1.0,
        control=_mean(control, rng),
        difference=difference,
        minimal_detectable=_detectable(tested),
        optimism=_optimism(choice, float(tested.mean())) if by_score else float("nan"),
        null_range=_null_range(table, arm, choice.layer, outcome),
        answered=answered,
        claim=False,
    )


def _mean(
    values: Float[np.ndarray, " prompt"], rng: np.random.Generator, *, n_resamples: int = 2000
) -> Interval:
    if not np.isfinite(values).all():
        return Interval(estimate=np.nan, low=np.nan, high=np.nan, level=0.95)
    return paired_bootstrap(values, rng=rng, n_resamples=n_resamples)


def _score_p(tested: Float[np.ndarray, " prompt"], rng: np.random.Generator) -> float:
    return sign_flip(tested, rng=rng) if np.isfinite(tested).all() else 1.0


def _optimism(choice: LayerChoice, here: float) -> float:
    return float(np.sign(choice.gap)) * (choice.gap - here)


def _detectable(tested: Float[np.ndarray, " prompt"]) -> float:
    if len(tested) < 2 or not np.isfinite(tested).all():
        return float("nan")
    return minimal_detectable_effect(float(tested.std(ddof=1)), len(tested))


def _answer_p(arm: Arm, answered: Answered | None) -> float:
    if answered is None:
        return 1.0
    test = answered.against_baseline if arm.kind == "control" else answered.against_control
    return test.p


def _answered(table: ScoreTable, arm: Arm, layer: int) -> Answered | None:
    found = table.at(arm.persona, arm.treatment, layer, "test")
    baseline = table.baseline("test")
    if found is None or not (found.has_labels and baseline.has_labels):
        return None
    before, after = baseline.labelled("answer"), found.labelled("answer")
    harmless = table.at(arm.persona, arm.treatment, layer, "test", harmful=False)
    return Answered(
        n=len(after),
        before=wilson(int(before.sum()), len(before)),
        after=wilson(int(after.sum()), len(after)),
        against_baseline=mcnemar_exact(before, after),
        against_control=mcnemar_exact(_beside(table, arm, layer, before), after),
        degenerate=float(found.labelled("degenerate").mean()),
        harmless=float(harmless.labelled("answer").mean()) if harmless is not None else np.nan,
    )


def _beside(
    table: ScoreTable, arm: Arm, layer: int, baseline: Bool[np.ndarray, " prompt"]
) -> Bool[np.ndarray, " prompt"]:
    """Whether the control answered; the baseline where no control was written out."""
    for name in control_names(table, arm.treatment):
        found = table.at(name, arm.treatment, layer, "test")
        if found is not None and found.has_labels:
            return found.labelled("answer")
    return baseline


def _null_range(
    table: ScoreTable, arm: Arm, layer: int, outcome: Outcome
) -> tuple[float, float] | None:
    names = [name for name in table.names("null", arm.treatment) if name != arm.persona]
    means = [
        float(changes_of(table, name, arm.treatment, layer, "test", outcome).mean())
        for name in names
    ]
    return null_range(np.array(means, dtype=np.float64))


def _corrected(effects: Sequence[Effect], alpha: float) -> list[Effect]:
    """Holm over everything that can be claimed: all but the control and the nulls."""
    tested = [e for e in effects if e.kind in ("persona", "refusal")]
    corrected = adjust(np.array([e.p for e in tested], dtype=np.float64), method="holm")
    by_arm = {(e.persona, e.treatment): float(p) for e, p in zip(tested, corrected, strict=True)}
    out = []
    for effect in effects:
        p = by_arm.get((effect.persona, effect.treatment))
        claim = p is not None and p < alpha and beyond_nulls(effect)
        out.append(replace(effect, p_corrected=effect.p if p is None else p, claim=claim))
    return out


def beyond_nulls(effect: Effect) -> bool:
    """Whether the estimate leaves the nulls behind on the side on which it leaves the control."""
    if effect.null_range is None:
        return True
    low, high = effect.null_range
    return effect.estimate < low if effect.difference.estimate < 0 else effect.estimate > high


def _layer_means(table: ScoreTable, rng: np.random.Generator) -> pd.DataFrame:
    """Mean change of the refusal score and its interval by arm and layer, on the test requests."""
    rows = []
    for arm in table.arms:
        for layer in table.layers(arm):
            changes = changes_of(table, arm.persona, arm.treatment, layer, "test", "refusal_score")
            mean = _mean(changes, rng, n_resamples=500)
            rows.append(
                {
                    "persona": arm.persona,
                    "group": arm.group,
                    "kind": arm.kind,
                    "treatment": arm.treatment,
                    "layer": layer,
                    "estimate": mean.estimate,
                    "low": mean.low,
                    "high": mean.high,
                }
            )
    return pd.DataFrame(rows)
