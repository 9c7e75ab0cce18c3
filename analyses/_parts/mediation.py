"""The part on what carries the effect: readings under every text, and patches of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from analyses._cells import Cell
from analyses._contents import Contents
from analyses._part import Core, Part, PartPlan, Passes
from analyses._parts._mediation_movement import (
    layer_rows,
    mediator_values,
    movement,
    request_rows,
)
from analyses._parts._mediation_patches import (
    PERSONAS_A_CELL,
    WAYS,
    held_layers,
    key_of,
    patches,
)
from analyses._parts._mediation_runs import (
    directions,
    fit_requests,
    mediation_requests,
    persona_names,
    readings,
    text_names,
)
from analyses._shards import Tensors
from analyses._vectors import REFUSAL_NAMES
from analyses._workbench import Workbench
from analyses.mediation import (
    Changes,
    PersonaMediation,
    mediation_claims,
    mediation_path,
    side_contrast,
)

Spec = Mapping[str, Any]


def cells(plan: PartPlan) -> tuple[Cell, ...]:
    """Directions, readings of them, then patches, a few personas a cell."""
    needs = (*plan.needs("tokens"), *plan.needs("vector", names=[REFUSAL_NAMES[1]]))
    fitted = plan.cell("mediation", "directions", needs, tensors=True)
    read = plan.cell("mediation", "readings", (*needs, fitted), tensors=True)
    names = persona_names(plan.outline)[:-1]
    return (
        fitted,
        read,
        *(
            plan.cell(
                "mediation",
                "patches",
                (*needs, fitted, read),
                tensors=True,
                names=list(names[first : first + PERSONAS_A_CELL]),
            )
            for first in range(0, len(names), PERSONAS_A_CELL)
        ),
    )


def evaluate(work: Workbench, spec: Spec, inputs: Contents) -> Tensors:
    """What a cell of the part computes."""
    steps = {"directions": directions, "readings": readings, "patches": patches}
    return steps[spec["step"]](work, spec, inputs)


def assemble(core: Core, contents: Contents) -> PersonaMediation | None:
    """The part's result; None where no token tells a refusal."""
    scores = _scores(contents)
    if scores is None or not all(torch.isfinite(each).all() for each in scores.values()):
        return None
    outline = core.plan.outline
    ((_, read),) = contents.part_tensors("mediation", "readings")
    ((_, fitted),) = contents.part_tensors("mediation", "directions")
    held = held_layers(outline)
    separation = fitted.tensors["separation"][: len(held)]
    values = mediator_values(
        core, contents, harm_at=int(separation.argmax()), refusal_at=len(held) - 1
    )
    changes = _changes(core, scores, values)
    rng = outline.rng("mediation")
    found = [side_contrast(changes, each, rng=rng) for each in values]
    return PersonaMediation(
        n=len(read.about["prompt_ids"]),
        control=outline.data.control.name,
        layers=held,
        refusal_layer=held[-1],
        harm_layer=held[int(separation.argmax())],
        charity=_asked(fitted),
        paths=tuple(mediation_path(each, rng=rng) for each in changes),
        contrasts=tuple(each for each in found if each is not None),
        by_layer=layer_rows(core, scores, rng),
        movement=movement(core, contents, rng),
        by_request=request_rows(changes, read.about["prompt_ids"]),
    )


def passes(work: Workbench, spec: Spec) -> Passes:
    """What a cell puts through the model, at most.

    A patch at the last token runs that token alone above the prompts, which is not counted.
    """
    names = persona_names(work)
    if spec["step"] == "directions":
        plain = [work.plain[request.prompt_id] for request in work.data.split.vector]
        texts = [work.say(request, name) for name in names for request in fit_requests(work)]
        return Passes(prompts=[*plain, *texts, *texts])
    read = spec["step"] == "readings"
    named = text_names(work) if read else (*spec["names"], names[-1])
    texts = [work.say(request, name) for name in named for request in mediation_requests(work)]
    return Passes(prompts=texts * (3 if read else 1))


def _scores(contents: Contents) -> dict[str, Float[torch.Tensor, "persona request"]] | None:
    """Scores of every patch, all personas in order; None where there are none."""
    parts = [found.tensors for _, found in contents.part_tensors("mediation", "patches")]
    if not parts or "base" not in parts[0]:
        return None
    return {
        key: parts[0][key][None] if key == "control" else torch.cat([part[key] for part in parts])
        for key in parts[0]
    }


def _changes(
    core: Core,
    scores: Mapping[str, Float[torch.Tensor, "_ request"]],
    values: Mapping[str, Float[np.ndarray, "persona request"]],
) -> list[Changes]:
    """Every persona against the control, through each mediator."""
    outline = core.plan.outline
    groups = {persona.name: persona.group for persona in outline.data.personas}
    table = {key: each.double().numpy() for key, each in scores.items()}
    base, control = table["base"], table["control"]
    total = base - control
    out = []
    for mediator, moved in values.items():
        draws = sum(key.startswith(f"{mediator}/{WAYS[1]}/") for key in table) - 1
        removed, put_in = (
            np.stack([table[key_of(mediator, way, draw=d)] for d in range(-1, draws)])
            for way in WAYS
        )
        removed, put_in = base - removed, put_in - control
        for at, name in enumerate(persona_names(outline)[:-1]):
            out.append(
                Changes(
                    persona=name,
                    group=groups[name],
                    mediator=mediator,
                    total=total[at],
                    moved=moved[at],
                    removed=removed[0, at],
                    put_in=put_in[0, at],
                    random=(removed[1:, at] + put_in[1:, at]) / 2.0,
                )
            )
    return out


def _asked(fitted: Tensors) -> str:
    words = str(fitted.about["charity"])
    if not words:
        return "not asked: the model cannot tell the two words apart"
    if "charity" not in fitted.tensors:
        return f"asked by “{words}”, but the reading never differs: it has no direction"
    return f"asked by “{words}”"


PART = Part(
    name="mediation",
    doing="patching what may carry the effect",
    cells=cells,
    evaluate=evaluate,
    assemble=assemble,
    claims=mediation_claims,
    passes=passes,
)
