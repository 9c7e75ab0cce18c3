"""The part on invariance: how far refusal differs between users, and between groups of them."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analyses._cells import Cell
from analyses._contents import Contents
from analyses._part import Core, Part, PartPlan
from analyses._workbench import Workbench
from analyses.persona_invariance import (
    PersonaInvariance,
    invariance_claims,
    persona_invariance,
)


def cells(plan: PartPlan) -> tuple[Cell, ...]:
    """None: the scores of the study are enough."""
    return ()


def evaluate(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> pd.DataFrame:
    """Nothing: there are no cells.

    Raises:
        KeyError: Always.
    """
    raise KeyError(f"no cell of the part on invariance is to be computed, got {spec['step']!r}")


def assemble(core: Core, contents: Contents) -> PersonaInvariance | None:
    """Spread over users and groups; None where no refusal score was had."""
    data = core.plan.outline.data
    return persona_invariance(
        core.scores,
        order=[persona.name for persona in data.personas],
        axes={p.name: p.demographic for p in data.personas if p.demographic is not None},
        control=data.control.name,
        rng=core.plan.outline.rng("invariance"),
    )


PART = Part(
    name="invariance",
    doing="comparing users",
    cells=cells,
    evaluate=evaluate,
    assemble=assemble,
    claims=invariance_claims,
)
"""The part."""
