"""Which heads look at what is said of the user, and what each part writes to the refusal."""

from collections.abc import Mapping
from typing import Any

from analyses._bench import bench
from analyses._contents import Contents
from analyses._parts._persona_circuit_pairs import (
    SIDES,
    SPAN,
    control_couples,
    requests_of,
    swaps,
    tested_couples,
)
from analyses._shards import Tensors
from analyses._vectors import REFUSAL_NAMES
from analyses._workbench import Workbench
from lens_personas.readouts import LogOdds, attention_mass, head_writes, logit_attribution

Spec = Mapping[str, Any]


def head_readings(work: Workbench, spec: Spec, inputs: Contents) -> Tensors:
    """Attention to what is said of the user, and what heads carry from there along refusal.

    ``mass, control_mass, written`` [row, layer, head]: under a user's text, and under the
    control's in its place. Written is in lengths of the refusal direction: 1 is as far as a
    harmful request lies from a harmless one. No tensor where texts do not match, or the model
    shows no attention.
    """
    direction = bench(work, inputs).vectors[REFUSAL_NAMES[1]][work.layers.index(read_layer(work))]
    kinds = [
        (side, swaps(work, inputs, control_couples(work, at), requests_of(work, "test")))
        for at, side in enumerate(SIDES)
    ]
    if not all(len(pairs) for _, pairs in kinds) or not bool(direction.any()):
        return Tensors(tensors={}, about={})
    persona = [prompt for _, pairs in kinds for prompt in pairs.clean]
    control = [prompt for _, pairs in kinds for prompt in pairs.corrupted]
    budget = work.config.token_budget
    mass, control_mass = (
        attention_mass(work.model, prompts, SPAN, token_budget=budget).values
        for prompts in (persona, control)
    )
    written = head_writes(work.model, persona, direction, SPAN, token_budget=budget).values
    return Tensors(
        tensors={
            "mass": mass,
            "control_mass": control_mass,
            "written": written / direction.norm(),
        },
        about={
            "prompt_ids": [prompt.prompt_id for prompt in persona],
            "sides": [side for side, pairs in kinds for _ in range(len(pairs))],
        },
    )


def direct_shares(work: Workbench, spec: Spec, inputs: Contents) -> Tensors:
    """What each part adds to the score by itself: ``values`` [pair, component], first less second.

    Each run's shares add up to its score at its own scale of the final norm, so their difference
    adds up to the difference of the scores, but for ``rest`` [pair]: what the spread over the
    tokens adds, and biases. No tensor where no two texts match.
    """
    tokens, _ = inputs.tokens
    pairs = swaps(work, inputs, tested_couples(work), requests_of(work, "test"))
    if tokens is None or not len(pairs):
        return Tensors(tensors={}, about={})
    target = LogOdds(token_ids=tuple(tokens.token_ids))
    clean, corrupted = (
        logit_attribution(work.model, prompts, target, token_budget=work.config.token_budget)
        for prompts in (pairs.clean, pairs.corrupted)
    )
    values = clean.values - corrupted.values
    return Tensors(
        tensors={
            "values": values,
            "rest": clean.total - corrupted.total - values.sum(dim=1),
        },
        about={
            "prompt_ids": list(pairs.prompt_ids),
            "components": [[each.name, each.layer, each.head] for each in clean.components],
        },
    )


def read_layer(work: Workbench) -> int:
    """Layer whose refusal direction is written along: the last one that can be chosen."""
    return work.choosable[-1]
