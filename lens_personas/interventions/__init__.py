"""Interventions as data: hashed, stored, sent, and compiled to edits on a given model."""

from lens_personas.interventions._intervention import Intervention
from lens_personas.interventions._plan import (
    Plan,
    compile_plan,
    plan_from_json,
    plan_key,
    plan_to_json,
)
from lens_personas.interventions._recipes import ablate_everywhere, relative_dose
from lens_personas.interventions._rows import RowPlan, compile_row_plan, per_row_additions

__all__ = [
    "Intervention",
    "Plan",
    "RowPlan",
    "ablate_everywhere",
    "compile_plan",
    "compile_row_plan",
    "per_row_additions",
    "plan_from_json",
    "plan_key",
    "plan_to_json",
    "relative_dose",
]
