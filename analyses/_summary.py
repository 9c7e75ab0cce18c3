"""The headline numbers of a study, as they are written to ``summary.json``."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import pandas as pd
from torch import Tensor

from analyses._json import json_safe
from analyses._part_names import PART_NAMES, field_of
from analyses._words import held_against, in_order
from analyses.claims import Claim, Headline
from analyses.hidden_answers import HiddenAnswers
from analyses.persona_effects import Answered, Effect
from analyses.persona_geometry import GeometryFit
from analyses.whos_asking import Parts, VectorQuality, WhosAsking
from lens_personas.statistics import Correlation, Interval, PairedBinary

_LONG = ("by_request", "by_cell")
"""Tables that are too long for a summary; the result holds them."""


def summary(result: WhosAsking) -> dict[str, Any]:
    """Every headline number with its n, interval, p and control; undefined numbers are None.

    ``effects`` holds one entry for each persona and treatment, ``geometry`` one for each
    refusal vector and treatment, ``hidden_answers`` and ``vectors`` one row for each layer.
    """
    effects = result.effects
    geometry = () if result.geometry is None else result.geometry.fits
    baseline = result.baseline
    found: dict[str, Any] = {
        "study": "whos-asking",
        "status": result.status,
        "message": result.message,
        "seed": result.seed,
        "outcome": effects.outcome,
        "alpha": effects.alpha,
        "model": result.model,
        "control": result.control,
        "sizes": result.sizes,
        "baseline": {
            "refused": _interval(baseline.refused),
            "harmless_answered": _interval(baseline.harmless_answered),
            "separation": _interval(baseline.separation),
        },
        "refusal_tokens": list(result.refusal_tokens),
        "refusal_tokens_from": result.refusal_tokens_from,
        "effects": [_effect(effect, result) for effect in in_order(effects.effects)],
        "geometry": [_fit(fit) for fit in geometry],
        "hidden_answers": None if result.hidden is None else _hidden(result.hidden),
        "vectors": [_vector(vector) for vector in result.vectors],
        "headline": _headline(result.headline),
        "parts": _parts(result.parts),
    }
    safe: dict[str, Any] = json_safe(found)
    return safe


def _headline(found: Headline) -> dict[str, Any]:
    return {
        "alpha": found.alpha,
        "held": sum(claim.holds for claim in found.claims),
        "claims": [_claim(claim) for claim in found.claims],
    }


def _claim(claim: Claim) -> dict[str, Any]:
    control = claim.control
    return {
        "part": claim.part,
        "statement": claim.statement,
        "holds": claim.holds,
        "n": claim.n,
        **_interval(claim.estimate),
        "unit": claim.unit,
        "control": None if control is None else _interval(control),
        "p": claim.p,
        "p_corrected": claim.p_corrected,
        "correction": "holm over the study",
        "beyond_nulls": claim.beyond_nulls,
        "gate": claim.gate,
        "refuted_by": claim.refuted_by,
    }


def _parts(parts: Parts) -> dict[str, Any]:
    """Each part with all it holds but tables of one row a request or cell, and tensors."""
    found = {name: getattr(parts, field_of(name)) for name in PART_NAMES}
    told = {field_of(name): _told(each) for name, each in found.items() if each is not None}
    return {"layer": parts.layer, **told} if told else {}


def _told(value: object) -> Any:
    if is_dataclass(value):
        return {
            each.name: _told(getattr(value, each.name))
            for each in fields(value)
            if each.name not in _LONG and not isinstance(getattr(value, each.name), Tensor)
        }
    if isinstance(value, Mapping):
        return {str(key): _told(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_told(each) for each in value]
    return value


def _effect(effect: Effect, result: WhosAsking) -> dict[str, Any]:
    control = held_against(result.effects, effect.treatment, result.control)
    return {
        "persona": effect.persona,
        "group": effect.group,
        "kind": effect.kind,
        "treatment": effect.treatment,
        "n": effect.n,
        "estimate": effect.estimate,
        "interval": [effect.interval.low, effect.interval.high],
        "level": effect.interval.level,
        "p": effect.p,
        "p_corrected": effect.p_corrected,
        "correction": "holm",
        "claim": effect.claim,
        "control": {"name": control, **_interval(effect.control)},
        "difference": _interval(effect.difference),
        "layer": effect.layer,
        "layer_chosen_by": effect.layer_chosen_by,
        "optimism": effect.optimism,
        "minimal_detectable": effect.minimal_detectable,
        "null_range": None if effect.null_range is None else list(effect.null_range),
        "answered": None if effect.answered is None else _answered(effect.answered),
    }


def _answered(answered: Answered) -> dict[str, Any]:
    return {
        "n": answered.n,
        "before": _interval(answered.before),
        "after": _interval(answered.after),
        "against_baseline": _paired(answered.against_baseline),
        "against_control": _paired(answered.against_control),
        "degenerate": answered.degenerate,
        "harmless": answered.harmless,
    }


def _fit(fit: GeometryFit) -> dict[str, Any]:
    return {
        "reference": fit.reference,
        "treatment": fit.treatment,
        "layer": fit.layer,
        "layer_chosen_by": fit.layer_chosen_by,
        "n": fit.n,
        "pearson": _correlation(fit.pearson),
        "spearman": _correlation(fit.spearman),
        "p_over_layers": fit.p_over_layers,
    }


def _hidden(hidden: HiddenAnswers) -> dict[str, Any]:
    return {"n": hidden.n, "by_layer": _rows(hidden.by_layer)}


def _vector(vector: VectorQuality) -> dict[str, Any]:
    return {
        "name": vector.name,
        "method": vector.method,
        "n": vector.n,
        "by_layer": _rows(vector.by_layer),
    }


def _interval(interval: Interval) -> dict[str, Any]:
    return {"estimate": interval.estimate, "interval": [interval.low, interval.high]}


def _correlation(found: Correlation) -> dict[str, Any]:
    return {"estimate": found.estimate, "interval": [found.low, found.high], "p": found.p}


def _paired(test: PairedBinary) -> dict[str, Any]:
    return {"gained": test.gained, "lost": test.lost, "net": test.net, "p": test.p}


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json_safe(table)
    return rows
