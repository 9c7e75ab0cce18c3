"""Does a persona's vector make the model see such a user?"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analyses._cell_plan import random_names
from analyses._cells import Cell
from analyses._contents import Contents
from analyses._part import Core, Part, PartPlan, Passes
from analyses._parts._manipulation_answers import (
    Row,
    Rows,
    ask_said,
    ask_steered,
    battery,
    said_rows,
    steered_rows,
)
from analyses._parts._manipulation_questions import opponents
from analyses._workbench import Workbench
from analyses.answers_about_users import CHECKED, Asked, ChoiceForm
from analyses.manipulation_check import (
    ManipulationCheck,
    manipulation_check,
    manipulation_claims,
)


def _cells(plan: PartPlan) -> tuple[Cell, ...]:
    needs = plan.needs("tokens", "norms", "vector")
    said = plan.cell("manipulation", "said", needs)
    judged = plan.cell(
        "manipulation", "steered", needs, scope=CHECKED, layer=plan.layer, width="whole"
    )
    beside = plan.cell(
        "manipulation", "steered", needs, scope="user", layer=plan.layer, width="sampled"
    )
    curves = tuple(
        plan.cell("manipulation", "steered", needs, scope=scope, layer=layer, width="curve")
        for scope in (CHECKED, "user")
        for layer in plan.outline.layers
        if layer != plan.layer
    )
    return (said, judged, beside, *curves)


def _evaluate(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> pd.DataFrame:
    ask = ask_said if spec["step"] == "said" else ask_steered
    return ask(work, spec, inputs)


def _assemble(core: Core, contents: Contents) -> ManipulationCheck | None:
    outline = core.plan.outline
    tables = [
        table for step in ("said", "steered") for _, table in contents.part("manipulation", step)
    ]
    known = [table for table in tables if len(table)]
    if not known:
        return None
    answers = pd.concat(known, ignore_index=True)
    form: ChoiceForm = "listed" if (answers["form"] == "choice").any() else "paired questions"
    asked = Asked(
        groups={persona.name: persona.group for persona in outline.data.personas},
        against=opponents(outline),
        control=outline.data.control.name,
        random=random_names(outline.config.n_nulls),
        neutral=[text.name for text in outline.data.nulls],
        choice_form=form,
    )
    return manipulation_check(
        answers, asked, layer=core.plan.layer, rng=outline.rng("manipulation")
    )


def _passes(work: Workbench, spec: Mapping[str, Any]) -> Passes:
    found = battery(work)
    if found is None:
        return Passes()
    if spec["step"] == "said":
        alone = [found.prompt(ask, None) for ask in found.asks]
        said = [found.prompt(ask, found.text(name)) for name, ask in said_rows(Rows(found))]
        return Passes(prompts=[*alone, *said])
    rows: list[Row] = steered_rows(Rows(found), spec["width"])
    prompts = {ask: found.prompt(ask, None) for _, ask in rows}
    return Passes(prompts=[prompts[ask] for _, ask in rows for _ in range(2)])


PART = Part[ManipulationCheck](
    name="manipulation",
    doing="asking who the user is",
    cells=_cells,
    evaluate=_evaluate,
    assemble=_assemble,
    claims=manipulation_claims,
    passes=_passes,
)
"""Manipulation check with its signed gate, and a forced choice between two users."""
