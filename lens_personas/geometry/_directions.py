"""Directions: their unit vector, the component of an activation along them, random ones."""

import torch
from jaxtyping import Float
from torch import Tensor


def unit_vector(direction: Float[Tensor, " d_model"]) -> Float[Tensor, " d_model"]:
    """Vector of norm 1 along ``direction``, in float32, or float64 if that is given.

    Half precision is widened because a bfloat16 vector cannot hold norm 1 to better than .4 %.

    Raises:
        ValueError: If ``direction`` has no finite, positive norm.
    """
    wide = direction.to(working_dtype(direction))
    peak = wide.abs().amax() if wide.numel() else wide.sum()
    if not (torch.isfinite(peak) and peak > 0):
        raise ValueError(
            f"expected a direction with a finite, positive norm, got largest entry "
            f"{peak.item()} in {tuple(direction.shape)}; check for an empty side or equal means"
        )
    # Dividing by the largest entry first keeps the squares from over- and underflowing.
    scaled = wide / peak
    unit: Tensor = scaled / scaled.norm()
    return unit


def projection(
    activation: Float[Tensor, "batch pos d_model"], unit: Float[Tensor, " d_model"]
) -> Float[Tensor, "batch pos"]:
    """Signed length of ``activation`` along ``unit`` (norm 1), in float32 or wider."""
    return activation.to(working_dtype(activation)) @ matched(unit, activation)


def random_directions(
    n: int, d_model: int, *, generator: torch.Generator
) -> Float[Tensor, "n d_model"]:
    """Unit vectors drawn evenly from the sphere, in float32 on the generator's device.

    Raises:
        ValueError: If ``n`` is negative or ``d_model`` is not positive.
    """
    if n < 0 or d_model < 1:
        raise ValueError(f"expected n >= 0 and d_model >= 1, got n={n} and d_model={d_model}")
    draw = torch.randn(n, d_model, generator=generator, device=generator.device)
    return torch.nn.functional.normalize(draw, dim=-1)


def working_dtype(tensor: Float[Tensor, "..."]) -> torch.dtype:
    """Type to calculate in: float32, or float64 where the tensor has that."""
    return torch.promote_types(tensor.dtype, torch.float32)


def matched(
    vectors: Float[Tensor, "*shape"], activation: Float[Tensor, "..."]
) -> Float[Tensor, "*shape"]:
    """``vectors`` on the device of ``activation``, in the type to calculate in."""
    return vectors.to(device=activation.device, dtype=working_dtype(activation))
