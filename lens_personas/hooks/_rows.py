"""Factories of hooks that treat each row of a batch in its own way, for ``Edit(per_row=True)``."""

from collections.abc import Sequence

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from lens_personas.geometry import add_row_vectors, unit_vector
from lens_personas.hooks._checks import checked_rows, checked_vector, fitted
from lens_personas.hooks._protocol import HookFn, RowHooks


def add_row_directions(
    vectors: Float[Tensor, "row d_model"], doses: Float[Tensor, " row"]
) -> RowHooks:
    """Maker of hooks that add to each row its own dose of its own vector.

    Rows are numbered as in the whole list of prompts, so one call can hold many arms of an
    experiment. The length of a vector counts; a row of zeros, or a dose of 0, is a control.

    Raises:
        ValueError: If a value is not finite, or there is not one dose a vector.
    """
    kept = checked_rows(vectors, name="vectors")
    amounts = _checked_doses(doses, n_rows=len(kept))

    def make(rows: Sequence[int], /) -> HookFn:
        index = row_index(rows, n_rows=len(kept))
        chosen, chosen_amounts = kept[index], amounts[index]

        def add(
            activation: Float[Tensor, "batch pos d_model"], /, *, hook: object
        ) -> Float[Tensor, "batch pos d_model"]:
            fit = _fitted_rows(chosen, activation)
            return add_row_vectors(activation, fit, chosen_amounts.to(activation.device))

        return add

    return make


def ablate_row_directions(directions: Float[Tensor, "row d_model"]) -> RowHooks:
    """Maker of hooks that remove from each row the component along its own direction.

    Neither length nor sign of a direction has an effect; done in float32 whatever the dtype.

    Raises:
        ValueError: If a direction has no finite, positive norm.
    """
    kept = checked_rows(directions, name="directions")
    zeros = (~kept.any(dim=1)).nonzero()[:, 0].tolist()
    if zeros or not len(kept):
        raise ValueError(f"expected directions of positive norm, got zeros in rows {zeros}")
    units = torch.stack([unit_vector(direction) for direction in kept])

    def make(rows: Sequence[int], /) -> HookFn:
        chosen = units[row_index(rows, n_rows=len(units))]

        def ablate(
            activation: Float[Tensor, "batch pos d_model"], /, *, hook: object
        ) -> Float[Tensor, "batch pos d_model"]:
            return _project_out_rows(activation, _fitted_rows(chosen, activation))

        return ablate

    return make


def replace_row_states(states: Float[Tensor, "row d_model"]) -> RowHooks:
    """Maker of hooks that put each row's own state at every position in scope.

    With the scope of a placeholder's positions this is the patch of Patchscopes
    (https://arxiv.org/abs/2401.06102).

    Raises:
        ValueError: If a value is not finite.
    """
    kept = checked_rows(states, name="states")

    def make(rows: Sequence[int], /) -> HookFn:
        chosen = kept[row_index(rows, n_rows=len(kept))]

        def replace(
            activation: Float[Tensor, "batch pos d_model"], /, *, hook: object
        ) -> Float[Tensor, "batch pos d_model"]:
            return _filled_rows(activation, _fitted_rows(chosen, activation))

        return replace

    return make


def set_row_projections(
    direction: Float[Tensor, " d_model"], values: Float[Tensor, " row"]
) -> RowHooks:
    """Maker of hooks that set the projection on ``direction`` to each row's own value.

    Values are in units of the activation along the unit vector; the length of the direction has
    no effect, its sign does.

    Raises:
        ValueError: If the direction has no finite, positive norm, or a value is not finite.
    """
    unit = unit_vector(checked_vector(direction, name="direction"))
    targets = _checked_doses(values, n_rows=len(values))

    def make(rows: Sequence[int], /) -> HookFn:
        chosen = targets[row_index(rows, n_rows=len(targets))]

        def set_to(
            activation: Float[Tensor, "batch pos d_model"], /, *, hook: object
        ) -> Float[Tensor, "batch pos d_model"]:
            if len(chosen) != len(activation):
                raise ValueError(
                    f"expected a batch of the {len(chosen)} rows the hook was made for, "
                    f"got {len(activation)}; repeat the row numbers where the batch is expanded"
                )
            fit = fitted(unit, activation)
            return _with_row_projections(activation, fit, chosen.to(activation.device))

        return set_to

    return make


def row_index(rows: Sequence[int], *, n_rows: int) -> list[int]:
    """The row numbers as an index.

    Raises:
        ValueError: If a row has nothing given for it.
    """
    beyond = [row for row in rows if not 0 <= row < n_rows]
    if beyond:
        raise ValueError(
            f"expected one vector for each prompt, got {n_rows} and prompts {beyond}; "
            "give as many rows as there are prompts in the call"
        )
    return list(rows)


def _fitted_rows(
    vectors: Float[Tensor, "rows width"], activation: Float[Tensor, "batch pos d_model"]
) -> Float[Tensor, "batch d_model"]:
    if len(vectors) != len(activation):
        raise ValueError(
            f"expected a batch of the {len(vectors)} rows the hook was made for, "
            f"got {len(activation)}; repeat the row numbers where the batch is expanded"
        )
    return fitted(vectors, activation)


def _project_out_rows(
    activation: Float[Tensor, "batch pos d_model"], units: Float[Tensor, "batch d_model"]
) -> Float[Tensor, "batch pos d_model"]:
    # In bfloat16 the projection would leave ten times more of the component.
    exact = activation.to(torch.promote_types(activation.dtype, torch.float32))
    units = units.to(exact.dtype)
    along = einsum(exact, units, "batch pos d_model, batch d_model -> batch pos")
    removed = einsum(along, units, "batch pos, batch d_model -> batch pos d_model")
    return (exact - removed).to(activation.dtype)


def _with_row_projections(
    activation: Float[Tensor, "batch pos d_model"],
    unit: Float[Tensor, " d_model"],
    values: Float[Tensor, " batch"],
) -> Float[Tensor, "batch pos d_model"]:
    # In float32 for the reason above.
    exact = activation.to(torch.promote_types(activation.dtype, torch.float32))
    unit = unit.to(exact.dtype)
    added = values.to(exact.dtype)[:, None] - exact @ unit
    return (exact + added[..., None] * unit).to(activation.dtype)


def _filled_rows(
    activation: Float[Tensor, "batch pos d_model"], states: Float[Tensor, "batch d_model"]
) -> Float[Tensor, "batch pos d_model"]:
    return states.to(activation.dtype)[:, None, :].expand_as(activation)


def _checked_doses(doses: Float[Tensor, " doses"], *, n_rows: int) -> Float[Tensor, " doses"]:
    if doses.shape != (n_rows,):
        raise ValueError(
            f"expected one dose for each of the {n_rows} vectors, got shape {tuple(doses.shape)}"
        )
    if not torch.isfinite(doses).all():
        raise ValueError("expected finite doses, got some that are NaN or infinite")
    return doses.clone()
