"""Interventions as data: hashed, stored, sent, and compiled to edits on a given model."""

from lens_personas.interventions._attribution_edges import EdgeScores, edge_attribution
from lens_personas.interventions._attribution_grid import AttributionGrid, attribution_grid
from lens_personas.interventions._attribution_heads import HeadAttribution, head_attribution
from lens_personas.interventions._attribution_path import AttributionMethod, metric_gradients
from lens_personas.interventions._attribution_verify import (
    Attribution,
    Patched,
    Verification,
    VerifiedCell,
    patch_top,
    verify_top,
)
from lens_personas.interventions._circuit_draws import RandomCircuits, random_ranking
from lens_personas.interventions._circuit_edges import complement_of, edges_of, model_graph
from lens_personas.interventions._circuit_run import DEFAULT_CIRCUIT_BUDGET, run_circuits
from lens_personas.interventions._circuit_types import Edge, ModelGraph, Node, NodeKind
from lens_personas.interventions._circuit_values import circuit_values, faithfulness
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
from lens_personas.interventions._edge_patch import patch_edges
from lens_personas.interventions._grid_frame import grid_frame
from lens_personas.interventions._head_grid import HeadGrid, head_grid
from lens_personas.interventions._intervention import Intervention
from lens_personas.interventions._metrics import (
    answer_metric,
    by_pair,
    clean_kl_metric,
    margin_metric,
    refusal_metric,
)
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
from lens_personas.interventions._swapped_pairs import LeftOut, SwappedPairs, swapped_pairs
from lens_personas.interventions._sweep import sweep
from lens_personas.interventions._sweep_plan import DEFAULT_SWEEP_BUDGET, SweepPlan, plan_sweep
from lens_personas.interventions._sweep_types import Arm, ByCell, Cell, LastTokens, Reduce

__all__ = [
    "DEFAULT_CIRCUIT_BUDGET",
    "DEFAULT_SWEEP_BUDGET",
    "Arm",
    "Attribution",
    "AttributionGrid",
    "AttributionMethod",
    "ByCell",
    "Cell",
    "DirectionRule",
    "DirectionSearch",
    "DirectionTable",
    "Edge",
    "EdgeScores",
    "HeadAttribution",
    "HeadGrid",
    "Intervention",
    "LastTokens",
    "LeftOut",
    "ModelGraph",
    "NoDirection",
    "Node",
    "NodeKind",
    "PatchGrid",
    "Patched",
    "Plan",
    "Racing",
    "RandomCircuits",
    "Reduce",
    "RowPlan",
    "SelectedDirection",
    "SteeringSweep",
    "SwappedPairs",
    "SweepPlan",
    "Verification",
    "VerifiedCell",
    "ablate_everywhere",
    "answer_metric",
    "attribution_grid",
    "by_pair",
    "circuit_values",
    "clean_kl_metric",
    "compile_plan",
    "compile_row_plan",
    "complement_of",
    "edge_attribution",
    "edges_of",
    "faithfulness",
    "grid_frame",
    "head_attribution",
    "head_grid",
    "margin_metric",
    "metric_gradients",
    "model_graph",
    "patch_edges",
    "patch_grid",
    "patch_top",
    "per_row_additions",
    "plan_from_json",
    "plan_key",
    "plan_sweep",
    "plan_to_json",
    "random_ranking",
    "refusal_metric",
    "relative_dose",
    "run_circuits",
    "search_direction",
    "select_place",
    "steering_sweep",
    "swapped_pairs",
    "sweep",
    "verify_top",
]
