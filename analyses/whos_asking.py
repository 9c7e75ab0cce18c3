"""Who's asking? Personas, refusal and the answers behind it, as one result."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import pandas as pd

from analyses._attribution_types import PersonaAttribution
from analyses._patching_types import PersonaPatching
from analyses.claims import Claim, Headline, headline
from analyses.conversations import Conversations
from analyses.dose_response import DoseResponse
from analyses.early_decoding import EarlyDecoding
from analyses.hidden_answers import HiddenAnswers
from analyses.layer_test import LayerTest
from analyses.manipulation_check import ManipulationCheck, gates
from analyses.mediation import PersonaMediation
from analyses.patchscopes import PatchscopeReadings
from analyses.persona_circuit import PersonaCircuit
from analyses.persona_effects import Effect, PersonaEffects, beyond_nulls
from analyses.persona_geometry import PersonaGeometry
from analyses.persona_invariance import PersonaInvariance
from analyses.request_categories import RequestCategories
from analyses.scores import Treatment
from analyses.vector_geometry import VectorGeometry
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
class Parts:
    """What was studied beside the effects; None if not asked for, or not possible with the data."""

    layer: int = -1
    """Block at which parts steer every persona; -1 where there are none."""
    layers: LayerTest | None = None
    """Test over all layers, and windows of them."""
    categories: RequestCategories | None = None
    """By what is asked for."""
    invariance: PersonaInvariance | None = None
    """Spread of refusal over users, and between groups of them."""
    manipulation: ManipulationCheck | None = None
    """Whether vectors make the model see such a user."""
    geometry: VectorGeometry | None = None
    """Angles between vectors."""
    dose_response: DoseResponse | None = None
    """Lengths of texts and vectors, and their side effects."""
    early_decoding: EarlyDecoding | None = None
    """What early layers would say."""
    patchscopes: PatchscopeReadings | None = None
    """How the model reads the request by its own account."""
    mediation: PersonaMediation | None = None
    """What carries the effect."""
    patching: PersonaPatching | None = None
    """Which states carry the difference between two users."""
    attribution: PersonaAttribution | None = None
    """How far gradients foretell that."""
    persona_circuit: PersonaCircuit | None = None
    """The circuit that carries it."""
    conversations: Conversations | None = None
    """A few conversations to be looked into."""


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
    headline: Headline
    """What the whole study claims, corrected over everything that was tried."""
    parts: Parts = Parts()
    """What else was studied."""


_DONE: Final[dict[Treatment, str]] = {
    "prompt": "as a text before the request",
    "plus": "by its vector added",
    "minus": "by its vector subtracted",
    "ablate": "by its direction removed",
}


def effect_claims(effects: PersonaEffects) -> tuple[Claim, ...]:
    """What the table of effects would claim: one statement for each persona and treatment."""
    return tuple(_effect_claim(e) for e in effects.effects if e.kind == "persona")


def _effect_claim(effect: Effect) -> Claim:
    by_score = effect.outcome == "refusal_score"
    return Claim(
        part="effects",
        statement=f"{effect.persona} moves refusal {_DONE[effect.treatment]}",
        refuted_by="no difference from the control persona on the same requests, or one that "
        "neutral texts or random directions of the same length make as well",
        n=effect.n,
        estimate=effect.interval,
        unit="nats of refusal log-odds" if by_score else "of the share answered",
        control=effect.control,
        p=effect.p,
        beyond_nulls=beyond_nulls(effect),
        persona=effect.persona,
        vector=effect.treatment != "prompt",
    )


def study_headline(
    effects: PersonaEffects,
    claims: Sequence[Claim],
    parts: Parts,
    *,
    claimable: bool,
    groups_of_people: Collection[str] = (),
) -> Headline:
    """Claims on the effects and those of the parts, together.

    Where the manipulation check was made, a persona that fails it is in no headline. Nor is one
    that stands for a group of people: such groups are tested together, and never ranked.

    Args:
        effects: What each persona does.
        claims: What the parts would claim.
        parts: What else was studied.
        claimable: Whether anything may be claimed at all.
        groups_of_people: Names of personas that stand for a socio-demographic group.
    """
    check = parts.manipulation
    candidates = (*effect_claims(effects), *claims)
    return headline(
        [claim for claim in candidates if claim.persona not in groups_of_people],
        gates=None if check is None else gates(check),
        alpha=effects.alpha,
        claimable=claimable,
    )


def finding(
    effects: PersonaEffects,
    geometry: PersonaGeometry | None,
    refused: Interval,
    *,
    status: Status,
    reference: str,
    claimed: Headline | None = None,
) -> str:
    """The study's finding in one or two plain sentences.

    With ``claimed``, of a study of several parts, what holds after correction over all of them.
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
    prompts, vectors = sum(e.claim for e in by_prompt), sum(e.claim for e in by_vector)
    if claimed is not None:
        held = [claim.vector for claim in claimed.held if claim.part == "effects"]
        prompts, vectors = held.count(False), held.count(True)
    text = (
        f"{prompts} of {len(by_prompt)} personas move refusal as a prompt "
        f"beyond the control persona, and {vectors} of {len(by_vector)} "
        f"persona steerings do, after correction for all of them{_and_gated(claimed)}."
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


def _and_gated(claimed: Headline | None) -> str:
    """What the correction covered, where there was more than the effects."""
    if claimed is None:
        return ""
    checked = any(claim.gate is not None for claim in claimed.claims)
    failed = sum(claim.gated_out(claimed.alpha) for claim in claimed.claims)
    gated = f"; {failed} more claims fail the manipulation check and do not count"
    return f" and for {len(claimed.claims)} claims in all{gated if checked else ''}"
