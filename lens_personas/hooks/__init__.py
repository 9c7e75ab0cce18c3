"""Typed hooks: pure functions of one activation, where they act, and how they combine.

A factory checks its parameters once and gives a hook; an :class:`Edit` puts the hook at a
place and a scope of positions; :func:`register_op` makes a factory known by name everywhere.
"""

from lens_personas.hooks._edit import Edit, at_positions, compile_edits, in_order
from lens_personas.hooks._factories import (
    ablate_direction,
    add_direction,
    affine,
    cap_projection_at,
    replace_by,
    set_projection_to,
)
from lens_personas.hooks._patch import Align, patch_positions
from lens_personas.hooks._positions import NamedScope, Scope, TokenLayout, scope_mask, span_mask
from lens_personas.hooks._protocol import HookFn, PassHooks, RowHooks
from lens_personas.hooks._registry import (
    OpFactory,
    ParamValue,
    known_ops,
    make_hook,
    op,
    register_op,
)
from lens_personas.hooks._rows import (
    ablate_row_directions,
    add_row_directions,
    replace_row_states,
    set_row_projections,
)
from lens_personas.hooks._site import Site

__all__ = [
    "Align",
    "Edit",
    "HookFn",
    "NamedScope",
    "OpFactory",
    "ParamValue",
    "PassHooks",
    "RowHooks",
    "Scope",
    "Site",
    "TokenLayout",
    "ablate_direction",
    "ablate_row_directions",
    "add_direction",
    "add_row_directions",
    "affine",
    "at_positions",
    "cap_projection_at",
    "compile_edits",
    "in_order",
    "known_ops",
    "make_hook",
    "op",
    "patch_positions",
    "register_op",
    "replace_by",
    "replace_row_states",
    "scope_mask",
    "set_projection_to",
    "set_row_projections",
    "span_mask",
]
