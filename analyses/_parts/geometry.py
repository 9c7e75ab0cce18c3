"""The part on angles: bands and ceilings of cosines, independence, and what they predict."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from analyses._cells import Cell
from analyses._contents import Contents
from analyses._part import Core, Part, PartPlan, Passes
from analyses._parts._geometry_contrasts import (
    NAMES_A_CELL,
    bands,
    families,
    family_contrast,
    family_names,
    family_vectors,
    vector_sets,
    yes_no,
)
from analyses._parts._geometry_independence import (
    WAYS,
    independence_layers,
    independence_of,
    independence_requests,
    shifts,
)
from analyses._parts._geometry_predictors import predictors
from analyses._parts._geometry_readings import readings, shift_prompts
from analyses._shards import Tensors
from analyses._vectors import REFUSAL_NAMES
from analyses._workbench import Workbench
from analyses.vector_geometry import VectorGeometry, cosine_set, geometry_claims, persona_angles

Spec = Mapping[str, Any]


def cells(plan: PartPlan) -> tuple[Cell, ...]:
    """Vectors of answering yes; bands, a few vectors a cell; independence; simple readings."""
    outline = plan.outline
    answers, vectors = plan.needs("answers"), plan.needs("vector")
    asked = families(outline)
    yes = (plan.cell("geometry", "yes-no", tensors=True),) if "questions" in asked else ()
    chunks = [
        plan.cell(
            "geometry",
            "bands",
            (*yes, *answers, *vectors),
            tensors=True,
            family=family,
            names=list(names[first : first + NAMES_A_CELL]),
        )
        for family in asked
        for names in [family_names(outline, family)]
        for first in range(0, len(names), NAMES_A_CELL)
    ]
    bench = plan.needs("tokens", "norms", "vector")
    at = layer_of(plan)
    return (
        *yes,
        *chunks,
        plan.cell("geometry", "shifts", bench, tensors=True, at=at),
        plan.cell("geometry", "readings", bench, tensors=True),
    )


def layer_of(plan: PartPlan) -> int:
    """Layer whose directions are removed: the parts' own, or the nearest one that was studied."""
    return min(plan.outline.layers, key=lambda layer: abs(layer - plan.layer))


def evaluate(work: Workbench, spec: Spec, inputs: Contents) -> Tensors:
    """What a cell of the part computes."""
    steps = {"yes-no": yes_no, "bands": bands, "shifts": shifts, "readings": readings}
    return steps[spec["step"]](work, spec, inputs)


def assemble(core: Core, contents: Contents) -> VectorGeometry | None:
    """The part's result; None with fewer than 3 personas."""
    outline = core.plan.outline
    groups = {persona.name: persona.group for persona in outline.data.personas}
    if len(groups) < 3:
        return None
    generator = torch.Generator().manual_seed(outline.config.seed)
    sets = [
        found for family in families(outline) for found in vector_sets(outline, family, contents)
    ]
    small = [
        f"{name} (from {spec['family']})"
        for spec, found in contents.part_tensors("geometry", "bands")
        for name in found.about["small"]
    ]
    removed, by_layer, n_requests = _independence(core, contents, groups)
    fits, random = predictors(core, contents, layer_of(core.plan))
    return VectorGeometry(
        n=len(groups),
        layer=layer_of(core.plan),
        reference=REFUSAL_NAMES[1],
        cosines=tuple(cosine_set(found) for found in sets),
        by_layer=pd.concat(
            [persona_angles(found, groups, generator=generator) for found in sets],
            ignore_index=True,
        ),
        yes_share=_yes_share(core, contents),
        independence=removed,
        independence_by_layer=by_layer,
        n_independence=n_requests,
        predictors=fits,
        random_references=random,
        small=tuple(dict.fromkeys(small)),
    )


def passes(work: Workbench, spec: Spec) -> Passes:
    """What a cell puts through the model, at most."""
    if spec["step"] == "shifts":
        n = len(work.data.personas) + 2 + work.config.n_nulls
        return Passes(prompts=[work.plain[r.prompt_id] for r in independence_requests(work)] * n)
    if spec["step"] == "readings":
        return Passes(prompts=shift_prompts(work))
    names = spec.get("names") or family_names(work, "questions")
    family = spec.get("family", "questions")
    found = [family_contrast(work, family, name, {}) for name in names]
    return Passes(prompts=[prompt for each in found for prompt in (*each.to, *each.from_)])


def _independence(
    core: Core, contents: Contents, groups: Mapping[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    outline = core.plan.outline
    ((_, found),) = contents.part_tensors("geometry", "shifts")
    names, rng = found.about["names"], outline.rng("independence")
    control = names.index(outline.data.control.name)
    removed, by_layer = [], []
    for way in WAYS:
        shift = found.tensors[way].numpy()
        null = found.tensors[f"{way} null"].numpy()
        each = np.broadcast_to(null.mean(axis=2), (len(null), len(names)))
        removed.append(independence_of(shift, each, names, groups, way=way, rng=rng))
        by_layer.append(independence_layers(shift, null, outline.layers, control=control, way=way))
    return (
        pd.concat(removed, ignore_index=True),
        pd.concat(by_layer, ignore_index=True),
        int(found.about["n"]),
    )


def _yes_share(core: Core, contents: Contents) -> pd.DataFrame:
    """Squared cosine of the personas' vectors with the direction of saying yes."""
    rows = []
    for family in families(core.plan.outline):
        vectors, yes = family_vectors(core.plan.outline, family, contents)
        if yes is None:
            continue
        names = family_names(core.plan.outline, family)
        personas = [at for at, name in enumerate(names) if name in core.plan.outline.data.texts]
        units = torch.nn.functional.normalize(vectors[personas].double(), dim=-1)
        share = (units * torch.nn.functional.normalize(yes.double(), dim=-1)).sum(-1) ** 2
        rows += [
            {
                "family": family,
                "layer": layer,
                "mean": float(share[:, at].mean()),
                "least": float(share[:, at].min()),
                "greatest": float(share[:, at].max()),
            }
            for at, layer in enumerate(core.plan.outline.layers)
        ]
    return pd.DataFrame(rows, columns=["family", "layer", "mean", "least", "greatest"])


PART = Part(
    name="geometry",
    doing="measuring angles",
    cells=cells,
    evaluate=evaluate,
    assemble=assemble,
    claims=geometry_claims,
    passes=passes,
)
