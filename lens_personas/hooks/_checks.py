"""What factories demand of their parameters, and hooks of an activation's width."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def checked_vector(vector: Float[Tensor, " d_model"], *, name: str) -> Float[Tensor, " d_model"]:
    """Own copy of ``vector``, so that later writes to the caller's tensor change nothing.

    Raises:
        ValueError: Unless it is one-dimensional, floating point, finite and longer than zero.
    """
    if vector.ndim != 1:
        raise ValueError(
            f"expected {name} of one dimension [d_model], got shape {tuple(vector.shape)}; "
            "choose one layer or row of it"
        )
    _check_finite(vector, name)
    if not vector.any():
        raise ValueError(
            f"expected {name} of positive norm, got zeros of width {len(vector)}; "
            "a control without effect is dose 0"
        )
    return vector.clone()


def checked_rows(
    vectors: Float[Tensor, "row d_model"], *, name: str
) -> Float[Tensor, "row d_model"]:
    """Own copy of one vector a row.

    Raises:
        ValueError: Unless it is two-dimensional, floating point and finite.
    """
    if vectors.ndim != 2:
        raise ValueError(
            f"expected {name} of two dimensions [row, d_model], got shape {tuple(vectors.shape)}"
        )
    _check_finite(vectors, name)
    return vectors.clone()


def checked_number(number: float, *, name: str) -> float:
    """The number as a float.

    Raises:
        ValueError: Unless it is finite.
    """
    if not math.isfinite(number):
        raise ValueError(f"expected a finite {name}, got {number}")
    return float(number)


def fitted(
    vector: Float[Tensor, "*rows width"], activation: Float[Tensor, "batch pos d_model"]
) -> Float[Tensor, "*rows width"]:
    """``vector`` on the activation's device, its width held against the activation's.

    Raises:
        ValueError: If the widths differ; a width of 1 would otherwise broadcast unseen.
    """
    if vector.shape[-1] != activation.shape[-1]:
        raise ValueError(
            f"expected a vector of the activation's width {activation.shape[-1]}, "
            f"got width {vector.shape[-1]}; was it fitted on another model?"
        )
    return vector.to(activation.device)


def _check_finite(vector: Float[Tensor, "..."], name: str) -> None:
    if not vector.is_floating_point():
        raise ValueError(f"expected {name} in floating point, got {vector.dtype}; call .float()")
    if not torch.isfinite(vector).all():
        bad = int((~torch.isfinite(vector)).sum())
        raise ValueError(f"expected {name} with finite values, got {bad} that are NaN or infinite")
