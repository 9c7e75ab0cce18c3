"""Factories of hooks that treat every position alike: add, ablate, set, cap, affine, replace."""

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.geometry import (
    add_vector,
    affine_edit,
    cap_projection,
    project_out,
    set_projection,
    unit_vector,
)
from lens_personas.hooks._checks import checked_number, checked_vector, fitted
from lens_personas.hooks._protocol import HookFn
from lens_personas.hooks._registry import register_op


@register_op("add")
def add_direction(vector: Float[Tensor, " d_model"], *, dose: float = 1.0) -> HookFn:
    """Hook that adds ``dose`` times ``vector`` (activation addition, steering).

    The length of ``vector`` counts: ``dose`` is in multiples of it. A negative dose steers
    the other way. As in https://arxiv.org/abs/2312.06681.

    Raises:
        ValueError: If ``vector`` has no finite, positive norm, or ``dose`` is not finite.
    """
    kept = checked_vector(vector, name="vector")
    amount = checked_number(dose, name="dose")

    def add(
        activation: Float[Tensor, "batch pos d_model"], /, *, hook: object
    ) -> Float[Tensor, "batch pos d_model"]:
        return add_vector(activation, fitted(kept, activation), amount)

    return add


@register_op("ablate")
def ablate_direction(direction: Float[Tensor, " d_model"]) -> HookFn:
    """Hook that removes the component along ``direction``.

    Directional ablation of Arditi et al. (https://arxiv.org/abs/2406.11717). Neither the
    length nor the sign of ``direction`` has an effect; done in float32 whatever the dtype.

    Raises:
        ValueError: If ``direction`` has no finite, positive norm.
    """
    unit = unit_vector(checked_vector(direction, name="direction"))

    def ablate(
        activation: Float[Tensor, "batch pos d_model"], /, *, hook: object
    ) -> Float[Tensor, "batch pos d_model"]:
        return project_out(activation, fitted(unit, activation))

    return ablate


@register_op("set_projection")
def set_projection_to(direction: Float[Tensor, " d_model"], value: float) -> HookFn:
    """Hook that sets the projection on ``direction`` to ``value``, the rest kept (clamping).

    ``value`` is in units of the activation along the unit vector of ``direction``, whose
    length has no effect and whose sign does.

    Raises:
        ValueError: If ``direction`` has no finite, positive norm, or ``value`` is not finite.
    """
    unit = unit_vector(checked_vector(direction, name="direction"))
    target = checked_number(value, name="value")

    def set_to(
        activation: Float[Tensor, "batch pos d_model"], /, *, hook: object
    ) -> Float[Tensor, "batch pos d_model"]:
        return set_projection(activation, fitted(unit, activation), target)

    return set_to


@register_op("cap_projection")
def cap_projection_at(direction: Float[Tensor, " d_model"], threshold: float) -> HookFn:
    """Hook that lowers projections on ``direction`` above ``threshold`` to it: one-sided.

    Projections below ``threshold`` stay as they are, however negative; to hold them up from
    below, cap the opposite direction at ``-threshold``. ``h - relu(<h, v> - threshold) v``
    with ``v`` of length 1, as in https://arxiv.org/abs/2601.10387.

    Raises:
        ValueError: If ``direction`` has no finite, positive norm, or ``threshold`` is not finite.
    """
    unit = unit_vector(checked_vector(direction, name="direction"))
    highest = checked_number(threshold, name="threshold")

    def cap(
        activation: Float[Tensor, "batch pos d_model"], /, *, hook: object
    ) -> Float[Tensor, "batch pos d_model"]:
        return cap_projection(activation, fitted(unit, activation), highest)

    return cap


@register_op("affine")
def affine(
    direction: Float[Tensor, " d_model"], reference: Float[Tensor, " d_model"], dose: float = 0.0
) -> HookFn:
    """Hook that gives the component along ``direction`` the reference's, plus ``dose`` units.

    Affine concept editing, ``h - proj(h) + proj(reference) + dose * v`` with ``v`` of length
    1 (https://arxiv.org/abs/2411.09003). ``reference`` is a mean activation, such as that of
    harmless prompts, where the concept is absent; a zero reference makes it an ablation.

    Raises:
        ValueError: If ``direction`` has no finite, positive norm, ``reference`` is not finite,
            their widths differ, or ``dose`` is not finite.
    """
    unit = unit_vector(checked_vector(direction, name="direction"))
    origin = _checked_reference(reference, width=len(unit))
    amount = checked_number(dose, name="dose")

    def edit(
        activation: Float[Tensor, "batch pos d_model"], /, *, hook: object
    ) -> Float[Tensor, "batch pos d_model"]:
        fit = fitted(unit, activation)
        return affine_edit(activation, fit, fitted(origin, activation), amount)

    return edit


@register_op("replace")
def replace_by(vector: Float[Tensor, " d_model"]) -> HookFn:
    """Hook that puts ``vector`` in place of the activation (a state patch, mean ablation).

    Raises:
        ValueError: If ``vector`` has no finite, positive norm.
    """
    state = checked_vector(vector, name="vector")

    def replace(
        activation: Float[Tensor, "batch pos d_model"], /, *, hook: object
    ) -> Float[Tensor, "batch pos d_model"]:
        return _filled(activation, fitted(state, activation))

    return replace


def _filled(
    activation: Float[Tensor, "batch pos d_model"], state: Float[Tensor, " d_model"]
) -> Float[Tensor, "batch pos d_model"]:
    return state.to(activation.dtype).expand_as(activation)


def _checked_reference(
    reference: Float[Tensor, " reference"], *, width: int
) -> Float[Tensor, " reference"]:
    if reference.shape != (width,):
        raise ValueError(
            f"expected a reference of the direction's width {width}, "
            f"got shape {tuple(reference.shape)}; take both from one site and model"
        )
    if not torch.isfinite(reference).all():
        raise ValueError(
            "expected a reference with finite values, got some that are NaN or infinite"
        )
    return reference.clone()
