"""The part on whether gradients foretell patches, and which edges they find."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from analyses._attribution_types import PersonaAttribution
from analyses._cells import Cell
from analyses._contents import Contents
from analyses._part import Core, Part, PartPlan, Passes
from analyses._parts._attribution_runs import (
    METHODS,
    RANDOM_RANKINGS,
    curve,
    curve_requests,
    edges,
    foretold,
    foretold_grids,
)
from analyses._parts._patching_pairs import patch_requests, persona_couples
from analyses._parts._patching_runs import grids_of, kinds_of, slots_of
from analyses._parts.patching import grid_cells
from analyses._shards import Content, Tensors
from analyses._workbench import Workbench
from analyses.attribution import agreement, attribution_claims, cell_table, edge_table
from lens_personas.statistics import faithfulness_curve

Spec = Mapping[str, Any]

_TOP_CELLS, _TOP_EDGES = 10, 20
_SIZES = 8
"""About as many sizes of circuits are run."""
_PASSES = {"plain": 4, "integrated": 24}
"""Forward passes a prompt, about, a backward one counted as two; of integrated grids by layer."""


def cells(plan: PartPlan) -> tuple[Cell, ...]:
    """The real grids, which the part on patching has as well; the same foretold; edges."""
    tokens, kinds = plan.needs("tokens"), kinds_of(plan.outline)
    real = grid_cells(plan, ("denoise",))
    grids = [
        plan.cell("attribution", "foretold", tokens, tensors=True, kind=kind, method=method)
        for kind in kinds
        for method in METHODS
    ]
    if "head" not in kinds:
        return (*real, *grids)
    ranked = plan.cell("attribution", "edges", tokens, tensors=True)
    return (*real, *grids, ranked, plan.cell("attribution", "curve", (*tokens, ranked)))


def evaluate(work: Workbench, spec: Spec, inputs: Contents) -> Content:
    """What a cell of the part computes."""
    if spec["step"] == "curve":
        return curve(work, spec, inputs)
    return (edges if spec["step"] == "edges" else foretold)(work, spec, inputs)


def assemble(core: Core, contents: Contents) -> PersonaAttribution | None:
    """The part's result; None where no two users could be paired or no token tells a refusal."""
    grids = foretold_grids(contents)
    if not grids:
        return None
    outline = core.plan.outline
    rng = outline.rng("attribution")
    _, read = grids_of(contents)
    about, slots = read[0].about, slots_of(read[0])
    ranked = [found for _, found in contents.part_tensors("attribution", "edges") if found.tensors]
    tables = [table for _, table in contents.part("attribution", "curve") if len(table)]
    names = [tuple(each) for each in ranked[0].about["names"]] if ranked else []
    _, apart = curve_requests(outline)
    return PersonaAttribution(
        n=len(about["prompt_ids"]),
        couples=tuple((one, other) for one, other in about["couples"]),
        slots=slots,
        agreements=tuple(agreement(grid, top=_TOP_CELLS, rng=rng) for grid in grids),
        by_cell=cell_table(grids, slots),
        edges=edge_table(*_edge_values(ranked), names, top=_TOP_EDGES, rng=rng),
        n_edges=len(names),
        curve=faithfulness_curve(tables[0], rng=rng) if tables else None,
        n_curve=int(tables[0]["cluster"].nunique()) if tables else 0,
        curve_apart=apart,
    )


def _edge_values(
    ranked: Sequence[Tensors],
) -> tuple[Float[np.ndarray, "couple request edge"], Float[np.ndarray, "couple request"]]:
    """What edges carry, and the whole; of no edge where they are not defined."""
    if not ranked:
        return np.zeros((1, 1, 0)), np.zeros((1, 1))
    found = ranked[0].tensors
    return found["values"].double().numpy(), found["whole"].double().numpy()


def passes(work: Workbench, spec: Spec) -> Passes:
    """What a cell puts through the model, about: a backward pass counts as two."""
    on_curve = spec["step"] == "curve"
    requests = curve_requests(work)[0] if on_curve else patch_requests(work)
    prompts = [
        work.say(request, name)
        for couple in persona_couples(work)
        for name in couple
        for request in requests
    ]
    if on_curve:
        return Passes(prompts=prompts * (_SIZES * 2 * (1 + RANDOM_RANKINGS)))
    if spec["step"] == "edges":
        return Passes(prompts=prompts * _PASSES["integrated"])
    many = work.card.n_layers if spec["method"] == "integrated" else 1
    return Passes(prompts=prompts * (_PASSES[spec["method"]] * many))


PART = Part(
    name="attribution",
    doing="foretelling patches from gradients",
    cells=cells,
    evaluate=evaluate,
    assemble=assemble,
    claims=attribution_claims,
    passes=passes,
)
