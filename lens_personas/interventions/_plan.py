"""Plans: interventions in order, their key, and the edits they become on one model."""

import hashlib
import json
from collections.abc import Sequence

from lens_personas.hooks import Edit, Site, make_hook
from lens_personas.interventions._intervention import Intervention
from lens_personas.models import ModelCard

Plan = tuple[Intervention, ...]
"""Interventions that act together; at one place the first acts first."""


def plan_to_json(plan: Sequence[Intervention]) -> str:
    """Canonical JSON array of a plan, in its order."""
    return "[" + ",".join(intervention.to_json() for intervention in plan) + "]"


def plan_from_json(text: str) -> Plan:
    """The plan that `plan_to_json` wrote.

    Raises:
        ValueError: If it is no array, or an intervention in it is malformed.
    """
    items = json.loads(text)
    if not isinstance(items, list):
        raise ValueError(f"expected a JSON array of interventions, got {type(items).__name__}")
    return tuple(Intervention.from_json(json.dumps(item)) for item in items)


def plan_key(plan: Sequence[Intervention]) -> str:
    """SHA-256 of the plan's canonical JSON; the order of a plan counts."""
    return hashlib.sha256(plan_to_json(plan).encode()).hexdigest()


def compile_plan(interventions: Sequence[Intervention], *, card: ModelCard) -> tuple[Edit, ...]:
    """Edits for ``run_batch``, ``generate`` and the rest, in the plan's order.

    Raises:
        ValueError: If the model lacks a layer, an edit at the site would not do there what it
            says, the vector has another width, or the op is not known or lacks a parameter.
    """
    return tuple(edit for each in interventions for edit in _edits(each, card))


def check_place(site: Site, layers: Sequence[int], *, card: ModelCard) -> None:
    """Hold a place against what the model can do.

    Raises:
        ValueError: If an edit there is impossible or would not do what it says.
    """
    beyond = [layer for layer in layers if not 0 <= layer < card.n_layers]
    if beyond:
        raise ValueError(
            f"expected layers from 0 to {card.n_layers - 1} of {card.model_id}, got {beyond}"
        )
    if not site.has_d_model:
        raise ValueError(
            f"expected a site of width d_model, got {site}; edit attn_out or a residual site"
        )
    if site is Site.RESID_MID and not card.edits_resid_mid:
        raise ValueError(
            f"expected a site whose edits reach the residual stream, got resid_mid: on the "
            f"{card.backend} backend of {card.model_id} it is read alone; "
            "use attn_out or resid_post of the layer"
        )
    if site in (Site.ATTN_OUT, Site.MLP_OUT) and not card.residual_identity_holds:
        raise ValueError(
            f"expected a residual site, got {site}: in {card.model_id} it is not what is added "
            f"to the residual stream (relative error {card.residual_identity_error:.1e} of "
            "resid_post = resid_pre + attn_out + mlp_out); use resid_pre or resid_post"
        )


def check_width(width: int, *, card: ModelCard) -> None:
    """Hold a vector's width against the model's.

    Raises:
        ValueError: If they differ.
    """
    if width != card.d_model:
        raise ValueError(
            f"expected a vector of width {card.d_model} for {card.model_id}, got width {width}; "
            "a vector belongs to the model it was fitted on"
        )


def _edits(intervention: Intervention, card: ModelCard) -> list[Edit]:
    check_place(intervention.site, intervention.layers, card=card)
    if intervention.vector is not None:
        check_width(len(intervention.vector), card=card)
    hook = make_hook(
        intervention.op,
        vector=intervention.vector,
        dose=intervention.dose,
        params=intervention.params,
    )
    return [
        Edit(site=intervention.site, layer=layer, hook=hook, scope=intervention.scope)
        for layer in intervention.layers
    ]
