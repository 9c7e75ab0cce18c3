"""Interventions as data: hashed, stored, sent, and compiled to edits on a given model."""

from lens_personas.interventions._direction_race import Racing
from lens_personas.interventions._direction_rule import (
    DirectionRule,
    DirectionTable,
    select_place,
)
from lens_personas.interventions._direction_search import (
    DirectionSearch,
    NoDirection,
    SelectedDirection,
    search_direction,
)
from lens_personas.interventions._head_grid import HeadGrid, head_grid
from lens_personas.interventions._intervention import Intervention
from lens_personas.interventions._patch_grid import PatchGrid, patch_grid
from lens_personas.interventions._plan import (
    Plan,
    compile_plan,
    plan_from_json,
    plan_key,
    plan_to_json,
)
from lens_personas.interventions._recipes import ablate_everywhere, relative_dose
from lens_personas.interventions._rows import RowPlan, compile_row_plan, per_row_additions
from lens_personas.interventions._steering import SteeringSweep, steering_sweep
from lens_personas.interventions._sweep import sweep
from lens_personas.interventions._sweep_plan import DEFAULT_SWEEP_BUDGET, SweepPlan, plan_sweep
from lens_personas.interventions._sweep_types import Arm, ByCell, Cell, LastTokens, Reduce

__all__ = [
    "DEFAULT_SWEEP_BUDGET",
    "Arm",
    "ByCell",
    "Cell",
    "DirectionRule",
    "DirectionSearch",
    "DirectionTable",
    "HeadGrid",
    "Intervention",
    "LastTokens",
    "NoDirection",
    "PatchGrid",
    "Plan",
    "Racing",
    "Reduce",
    "RowPlan",
    "SelectedDirection",
    "SteeringSweep",
    "SweepPlan",
    "ablate_everywhere",
    "compile_plan",
    "compile_row_plan",
    "head_grid",
    "patch_grid",
    "per_row_additions",
    "plan_from_json",
    "plan_key",
    "plan_sweep",
    "plan_to_json",
    "relative_dose",
    "search_direction",
    "select_place",
    "steering_sweep",
    "sweep",
]
