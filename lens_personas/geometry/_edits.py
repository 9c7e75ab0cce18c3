"""Edits of an activation along a direction: calculated in float32, returned in its own type.

In bfloat16 a projection would leave ten times more of the component. No function writes to
its input. ``unit`` has norm 1: make it with `unit_vector`.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.geometry._directions import matched, projection, working_dtype


def project_out(
    activation: Float[Tensor, "batch pos d_model"], unit: Float[Tensor, " d_model"]
) -> Float[Tensor, "batch pos d_model"]:
    """Activation without its component along ``unit``; the sign of ``unit`` has no effect.

    Directional ablation of Arditi et al. (https://arxiv.org/abs/2406.11717).
    """
    return _add_along(activation, unit, -projection(activation, unit))


def project_out_rows(
    rows: Float[Tensor, "row d_model"], unit: Float[Tensor, " d_model"]
) -> Float[Tensor, "row d_model"]:
    """Rows, each without its component along ``unit``.

    On a matrix that writes to the residual stream by rows (``W_E``, ``W_out``, one head's
    ``W_O``) this is the weight edit of Arditi et al. (https://arxiv.org/abs/2406.11717).
    """
    return project_out(rows[None], unit)[0]


def set_projection(
    activation: Float[Tensor, "batch pos d_model"], unit: Float[Tensor, " d_model"], value: float
) -> Float[Tensor, "batch pos d_model"]:
    """Activation whose component along ``unit`` is ``value``, in units of the activation."""
    return _add_along(activation, unit, value - projection(activation, unit))


def cap_projection(
    activation: Float[Tensor, "batch pos d_model"],
    unit: Float[Tensor, " d_model"],
    threshold: float,
) -> Float[Tensor, "batch pos d_model"]:
    """Activation whose component along ``unit`` is at most ``threshold``.

    One-sided: a component below the threshold, however negative, keeps its value. To hold it
    from below, cap along ``-unit`` at ``-threshold``. Activation capping of
    https://arxiv.org/abs/2601.10387.
    """
    return _add_along(activation, unit, -torch.relu(projection(activation, unit) - threshold))


def affine_edit(
    activation: Float[Tensor, "batch pos d_model"],
    unit: Float[Tensor, " d_model"],
    reference: Float[Tensor, " d_model"],
    dose: float,
) -> Float[Tensor, "batch pos d_model"]:
    """Activation whose component along ``unit`` is that of ``reference``, plus ``dose``.

    Affine concept editing, ``h - proj(h) + proj(reference) + dose * unit``, of
    https://arxiv.org/abs/2411.09003; ``reference`` is the mean of the side without the concept.
    """
    level = matched(unit, activation) @ matched(reference, activation) + dose
    return _add_along(activation, unit, level - projection(activation, unit))


def add_vector(
    activation: Float[Tensor, "batch pos d_model"], vector: Float[Tensor, " d_model"], dose: float
) -> Float[Tensor, "batch pos d_model"]:
    """Activation plus ``dose`` times ``vector``; the vector's length counts."""
    wide = activation.to(working_dtype(activation))
    return (wide + dose * matched(vector, activation)).to(activation.dtype)


def add_row_vectors(
    activation: Float[Tensor, "batch pos d_model"],
    vectors: Float[Tensor, "batch d_model"],
    doses: Float[Tensor, " batch"],
) -> Float[Tensor, "batch pos d_model"]:
    """Activation plus, in each row of the batch, that row's dose times that row's vector."""
    wide = activation.to(working_dtype(activation))
    steps = matched(doses, activation)[:, None] * matched(vectors, activation)
    return (wide + steps[:, None]).to(activation.dtype)


def _add_along(
    activation: Float[Tensor, "batch pos d_model"],
    unit: Float[Tensor, " d_model"],
    amount: Float[Tensor, "batch pos"],
) -> Float[Tensor, "batch pos d_model"]:
    wide = activation.to(amount.dtype)
    return (wide + amount[..., None] * matched(unit, activation)).to(activation.dtype)
