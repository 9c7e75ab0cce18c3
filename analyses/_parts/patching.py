"""The part on where the difference between two users is carried: one state swapped at a time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analyses._cells import Cell
from analyses._contents import Contents
from analyses._part import Core, Part, PartPlan, Passes
from analyses._parts._patching_pairs import null_couples, patch_requests, persona_couples
from analyses._parts._patching_runs import (
    OTHER_METRICS,
    grids_of,
    kinds_of,
    patched,
    slots_of,
    with_nulls,
)
from analyses._patching_types import CoupleEffect, Metric, PatchedGrid, PersonaPatching
from analyses._shards import Tensors
from analyses._workbench import Workbench
from analyses.patching import metric_grid, patch_table, patching_claims, strongest_route
from lens_personas.statistics import null_range, paired_bootstrap

Spec = Mapping[str, Any]


def cells(plan: PartPlan) -> tuple[Cell, ...]:
    """Every kind both ways, the strongest heads by position, and residuals by other metrics."""
    grids = grid_cells(plan)
    tokens = plan.needs("tokens")
    at = [
        plan.cell(
            "patching",
            "head_at",
            (*tokens, each),
            tensors=True,
            kind="head_at",
            way="denoise",
            metric="refusal",
        )
        for each in grids
        if (each.spec["kind"], each.spec["way"]) == ("head", "denoise")
    ]
    others = [_cell(plan, "resid_pre", "denoise", metric) for metric in OTHER_METRICS]
    return (*grids, *at, *others)


def grid_cells(plan: PartPlan, ways: Sequence[str] = ("denoise", "noise")) -> tuple[Cell, ...]:
    """Grids of the refusal score."""
    return tuple(
        _cell(plan, kind, way, "refusal") for kind in kinds_of(plan.outline) for way in ways
    )


def evaluate(work: Workbench, spec: Spec, inputs: Contents) -> Tensors:
    """What a cell of the part computes."""
    return patched(work, spec, inputs)


def assemble(core: Core, contents: Contents) -> PersonaPatching | None:
    """The part's result; None where no two users could be paired or no token tells a refusal."""
    grids, read = grids_of(contents)
    if not grids:
        return None
    outline, slots = core.plan.outline, slots_of(read[0])
    rng = outline.rng("patching")
    by_kind = {(grid.kind, grid.way, grid.metric): grid for grid in grids}
    plain = by_kind["resid_pre", "denoise", "refusal"]
    # The residual of the last layers is all but the answer itself.
    early = {"resid_pre": outline.choosable}
    routes = [
        strongest_route(grids, kind, slots, layers=early.get(kind), rng=rng)
        for kind in dict.fromkeys(grid.kind for grid in grids)
    ]
    found = tuple(route for route in routes if route is not None)
    strongest = next((route for route in found if route.kind == "resid_pre"), None)
    about = read[0].about
    return PersonaPatching(
        n=len(about["prompt_ids"]),
        control=outline.data.control.name,
        couples=_couples(about["couples"], plain, rng),
        total=paired_bootstrap(plain.whole, rng=rng),
        n_nulls=len(plain.null),
        null_range=null_range(plain.null_whole, symmetric=True),
        n_statements=outline.config.patch_statements,
        slots=slots,
        by_cell=patch_table(grids, slots, rng=rng),
        routes=found,
        metrics=tuple(
            metric_grid(plain, grid, strongest, slots, rng=rng)
            for grid in grids
            if grid.metric != "refusal"
        ),
        left_out=tuple(about["left_out"]),
        by_request=_by_request(about, plain),
    )


def passes(work: Workbench, spec: Spec) -> Passes:
    """What a cell puts through the model, at most: a row resumes at its layer and position."""
    couples = (*persona_couples(work), *(null_couples(work) if with_nulls(spec) else ()))
    prompts = [
        work.say(request, name)
        for couple in couples
        for name in couple
        for request in patch_requests(work)
    ]
    # Rows that start at every layer run half the depth on average.
    depth = (work.card.n_layers + 1) // 2
    if spec["kind"] == "head":
        return Passes(prompts=prompts * (1 + depth * work.card.n_heads // 2))
    longest = max((len(prompt.ids) for prompt in prompts), default=0)
    layers = work.config.patch_heads if spec["kind"] == "head_at" else depth
    return Passes(prompts=prompts * (1 + layers * longest // 2))


def _cell(plan: PartPlan, kind: str, way: str, metric: Metric) -> Cell:
    return plan.cell(
        "patching", "grid", plan.needs("tokens"), tensors=True, kind=kind, way=way, metric=metric
    )


def _couples(
    names: Sequence[Sequence[str]], plain: PatchedGrid, rng: np.random.Generator
) -> tuple[CoupleEffect, ...]:
    return tuple(
        CoupleEffect(first=one, second=other, total=paired_bootstrap(whole, rng=rng))
        for (one, other), whole in zip(names, plain.first - plain.second, strict=True)
    )


def _by_request(about: Mapping[str, Any], plain: PatchedGrid) -> pd.DataFrame:
    rows = [
        (one, other, prompt_id, plain.first[c, r], plain.second[c, r])
        for c, (one, other) in enumerate(about["couples"])
        for r, prompt_id in enumerate(about["prompt_ids"])
    ]
    return pd.DataFrame(
        rows, columns=["first", "second", "prompt_id", "first_score", "second_score"]
    )


PART = Part(
    name="patching",
    doing="swapping states between two users",
    cells=cells,
    evaluate=evaluate,
    assemble=assemble,
    claims=patching_claims,
    passes=passes,
)
