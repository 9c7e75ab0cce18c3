"""The part on categories: what each persona does by what is asked for."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analyses._arms import ArmRows, score_arms
from analyses._bench import bench
from analyses._cell_plan import is_answered, study_arms
from analyses._cells import Cell
from analyses._contents import Contents
from analyses._part import Core, Part, PartPlan, Passes
from analyses._workbench import Workbench
from analyses.request_categories import RequestCategories, category_claims, request_categories
from analyses.scores import Treatment

Spec = Mapping[str, Any]

_TREATMENTS: tuple[Treatment, ...] = ("prompt", "plus", "minus")


def cells(plan: PartPlan) -> tuple[Cell, ...]:
    """Scores on harmless requests, where no answers are written, which would give them."""
    if plan.outline.config.write_answers or not plan.outline.harmless:
        return ()
    arms = study_arms(plan.outline)
    return tuple(
        plan.cell(
            "categories",
            "harmless",
            plan.needs("tokens") if layer < 0 else plan.needs("tokens", "norms", "vector"),
            treatment=treatment,
            layer=layer,
            names=[
                name.persona
                for name in arms[treatment]
                if name.kind in ("persona", "control")
                and is_answered(name, treatment, layer, plan.chosen)
            ],
        )
        for treatment in _TREATMENTS
        for layer in sorted(
            {
                plan.chosen[name.persona, treatment]
                for name in arms[treatment]
                if name.kind in ("persona", "control")
            }
        )
    )


def evaluate(work: Workbench, spec: Spec, inputs: Contents) -> pd.DataFrame:
    """Scores of the named arms on harmless requests."""
    arms = [
        ArmRows(
            name=name,
            treatment=spec["treatment"],
            layer=spec["layer"],
            split="test",
            requests=work.harmless,
        )
        for name in study_arms(work)[spec["treatment"]]
        if name.persona in spec["names"]
    ]
    return score_arms(bench(work, inputs), arms, work.say, answers=False)


def assemble(core: Core, contents: Contents) -> RequestCategories | None:
    """Effects by category; None where no refusal score was had."""
    outline = core.plan.outline
    more = [table for _, table in contents.part("categories", "harmless")]
    scores = core.scores
    if more:
        tables = [table.astype({"label": object}) for table in (scores, *more)]
        scores = pd.concat(tables, ignore_index=True)
    return request_categories(
        scores,
        categories={r.prompt_id: r.category for r in outline.data.split.test},
        chosen=core.plan.chosen,
        control=outline.data.control.name,
        rng=outline.rng("categories"),
        alpha=outline.config.alpha,
    )


def passes(work: Workbench, spec: Spec) -> Passes:
    """Every named arm on every harmless request."""
    text = spec["treatment"] == "prompt"
    return Passes(
        prompts=[
            work.say(request, name) if text else work.plain[request.prompt_id]
            for name in spec["names"]
            for request in work.harmless
        ]
    )


PART = Part(
    name="categories",
    doing="scoring harmless requests",
    cells=cells,
    evaluate=evaluate,
    assemble=assemble,
    claims=category_claims,
    passes=passes,
)
"""The part."""
