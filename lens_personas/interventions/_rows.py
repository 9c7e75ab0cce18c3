"""Many arms in one batch: a plan of its own for each row."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.hooks import (
    Edit,
    HookFn,
    PassHooks,
    Scope,
    Site,
    TokenLayout,
    add_row_directions,
    compile_edits,
)
from lens_personas.interventions._plan import (
    Plan,
    check_place,
    check_width,
    compile_plan,
    plan_key,
)
from lens_personas.models import ModelCard


@dataclass(frozen=True, kw_only=True)
class RowPlan:
    """One plan for each prompt of a call; rows do not touch each other."""

    plans: tuple[Plan, ...]
    """Plan of prompt 0, 1, …; ``()`` leaves a row as it is."""

    def key(self) -> str:
        """SHA-256 of the rows' plan keys, in hexadecimal; the order of the rows counts."""
        keys = ",".join(plan_key(plan) for plan in self.plans)
        return hashlib.sha256(keys.encode()).hexdigest()


def compile_row_plan(row_plan: RowPlan, *, card: ModelCard) -> tuple[Edit, ...]:
    """Edits that give each row its own plan, whatever batches the rows fall into.

    Raises:
        ValueError: If a plan does not suit the model (see `compile_plan`).
    """
    keys = [plan_key(plan) for plan in row_plan.plans]
    compiled = {
        key: compile_plan(plan, card=card)
        for key, plan in dict(zip(keys, row_plan.plans, strict=True)).items()
    }
    places = dict.fromkeys((e.site, e.layer) for edits in compiled.values() for e in edits)
    return tuple(
        Edit(
            site=site,
            layer=layer,
            hook=_hooks_by_row([_at(compiled[key], site, layer) for key in keys]),
            per_pass=True,
        )
        for site, layer in places
    )


def per_row_additions(
    vectors: Float[Tensor, "row d_model"],
    doses: Float[Tensor, " row"],
    *,
    site: Site,
    layer: int,
    scope: Scope = "all",
    card: ModelCard | None = None,
) -> Edit:
    """Edit that adds to each row its own dose of its own vector: the fast form of a row plan.

    A dose is in multiples of its vector. With ``card`` the place and width are checked now.

    Raises:
        ValueError: If a value is not finite, counts or widths disagree, or the model has no
            such place.
    """
    if card is not None:
        check_place(site, (layer,), card=card)
        check_width(vectors.shape[1], card=card)
    hook = add_row_directions(vectors, doses)
    return Edit(site=site, layer=layer, hook=hook, scope=scope, per_row=True)


def _at(edits: Sequence[Edit], site: Site, layer: int) -> tuple[Edit, ...]:
    return tuple(edit for edit in edits if (edit.site, edit.layer) == (site, layer))


def _hooks_by_row(edits_of: Sequence[tuple[Edit, ...]]) -> PassHooks:
    def make(rows: Sequence[int], layout: TokenLayout, /) -> HookFn:
        _check_rows(rows, len(edits_of))
        groups: dict[tuple[Edit, ...], list[int]] = {}
        for at, row in enumerate(rows):
            groups.setdefault(edits_of[row], []).append(at)
        return _on_row_groups(
            [_group_hook(edits, at, rows, layout) for edits, at in groups.items() if edits]
        )

    return make


def _group_hook(
    edits: tuple[Edit, ...], at: list[int], rows: Sequence[int], layout: TokenLayout
) -> tuple[Int[Tensor, " chosen"], HookFn]:
    index = torch.tensor(at, device=layout.positions.device)
    hooks = compile_edits(edits, layout.select(index), [rows[i] for i in at])
    (hook,) = hooks.values()
    return index, hook


def _on_row_groups(groups: Sequence[tuple[Int[Tensor, " _"], HookFn]]) -> HookFn:
    def edit(
        activation: Float[Tensor, "batch pos d_model"], /, *, hook: object
    ) -> Float[Tensor, "batch pos d_model"]:
        for index, each in groups:
            at = index.to(activation.device)
            activation = _with_rows(activation, at, each(activation[at], hook=hook))
        return activation

    return edit


def _with_rows(
    activation: Float[Tensor, "batch pos d_model"],
    index: Int[Tensor, " chosen"],
    edited: Float[Tensor, "chosen pos d_model"],
) -> Float[Tensor, "batch pos d_model"]:
    return activation.index_copy(0, index, edited)


def _check_rows(rows: Sequence[int], n_plans: int) -> None:
    beyond = [row for row in rows if not 0 <= row < n_plans]
    if beyond:
        raise ValueError(
            f"expected one plan for each prompt, got {n_plans} and prompts {beyond}; "
            "give () for a row that is to be left alone"
        )
