"""Who's asking? Personas, refusal and the answers behind it, as one result."""

from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from analyses.hidden_answers import HiddenAnswers
from analyses.persona_effects import PersonaEffects
from analyses.persona_geometry import PersonaGeometry
from lens_personas.statistics import Interval

Status = Literal["studied", "nothing_to_study"]
"""Whether the model refuses enough for the question to make sense."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What the model does with the requests alone."""

    refused: Interval
    """Share of harmful test requests refused, Wilson interval."""
    harmless_answered: Interval
    """Share of harmless test requests answered, Wilson interval."""
    separation: Interval
    """AUROC of the refusal score, harmful against harmless, bootstrap interval."""
    examples: pd.DataFrame
    """Answers by request: ``prompt_id, harmful, text, answer, label``; text is the user's data."""


@dataclass(frozen=True, kw_only=True)
class VectorQuality:
    """How well a vector is determined by its data."""

    name: str
    """Persona or refusal vector."""
    method: str
    """How it was made."""
    n: int | None
    """Prompts on the smaller side; None where that is not known."""
    by_layer: pd.DataFrame
    """``layer, norm, resid_norm, split_half`` (cosine of two halves, Spearman-Brown corrected)."""


@dataclass(frozen=True, kw_only=True)
class WhosAsking:
    """All that the study found."""

    status: Status
    """Whether there was something to study."""
    message: str
    """The finding in one sentence, in plain words."""
    model: dict[str, Any]
    """The model's card."""
    settings: dict[str, Any]
    """What was asked, whole."""
    seed: int
    """Seed of every draw."""
    control: str
    """Name of the control persona."""
    sizes: dict[str, int]
    """Requests by split: ``vector``, ``layer``, ``test`` (harmful) and ``test_harmless``."""
    refusal_tokens: tuple[str, ...]
    """Opening tokens that count as refusal."""
    refusal_tokens_from: str
    """How they were found."""
    baseline: Baseline
    """What the model does with the requests alone."""
    effects: PersonaEffects
    """What each persona does."""
    geometry: PersonaGeometry | None
    """Whether cosines predict it; None with fewer than three personas."""
    hidden: HiddenAnswers | None
    """Where refused answers can be read; None without known answers."""
    vectors: tuple[VectorQuality, ...]
    """How well each vector is determined."""


def finding(
    effects: PersonaEffects,
    geometry: PersonaGeometry | None,
    refused: Interval,
    *,
    status: Status,
    reference: str,
) -> str:
    """The study's finding in one or two plain sentences.

    ``reference`` names the refusal vector whose geometry is told: fixed beforehand, since the
    best of several would be no finding.
    """
    if status == "nothing_to_study":
        return (
            f"The model refuses {refused.estimate:.0%} of the harmful requests: there is no "
            "refusal for a persona to move, so there is nothing to study."
        )
    personas = [e for e in effects.effects if e.kind == "persona"]
    by_prompt = [e for e in personas if e.treatment == "prompt"]
    by_vector = [e for e in personas if e.treatment in ("plus", "minus")]
    text = (
        f"{sum(e.claim for e in by_prompt)} of {len(by_prompt)} personas move refusal as a prompt "
        f"beyond the control persona, and {sum(e.claim for e in by_vector)} of {len(by_vector)} "
        "persona steerings do, after correction for all of them."
    )
    told = [
        fit
        for fit in (() if geometry is None else geometry.fits)
        if (fit.reference, fit.treatment) == (reference, "prompt")
    ]
    if not told:
        return text
    (fit,) = told
    return (
        f"{text} Cosine with {fit.reference} and effect as a prompt: r = "
        f"{fit.pearson.estimate:.2f} [{fit.pearson.low:.2f}, {fit.pearson.high:.2f}] over "
        f"{fit.n} personas at layer {fit.layer}, p ≤ {fit.p_over_layers:.4f} over all layers."
    )
