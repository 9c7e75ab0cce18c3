"""Angles between vectors: cosines, what remains without a direction, effective rank."""

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.geometry._directions import working_dtype


def cosine(
    first: Float[Tensor, " d_model"], second: Float[Tensor, " d_model"]
) -> Float[Tensor, ""]:
    """Cosine of the angle between two vectors, in [-1, 1]; NaN where one is zero."""
    return cosine_by_layer(first[None], second[None])[0]


def cosine_by_layer(
    first: Float[Tensor, "layer d_model"], second: Float[Tensor, "layer d_model"]
) -> Float[Tensor, " layer"]:
    """Cosine between the two vectors of each layer, in [-1, 1]; NaN where one is zero."""
    cosines = (_unit_rows(first) * _unit_rows(second)).sum(dim=-1).clamp(-1.0, 1.0)
    return cosines.to(working_dtype(first))


def cosine_matrix(vectors: Float[Tensor, "vector d_model"]) -> Float[Tensor, "vector vector"]:
    """Cosine of every vector with every other, in [-1, 1]; NaN in the rows of a zero vector."""
    units = _unit_rows(vectors)
    return (units @ units.T).clamp(-1.0, 1.0).to(working_dtype(vectors))


def remove_direction_by_layer(
    vectors: Float[Tensor, "layer d_model"], directions: Float[Tensor, "layer d_model"]
) -> Float[Tensor, "layer d_model"]:
    """Each layer's vector without its component along that layer's direction.

    The length and sign of a direction have no effect.

    Raises:
        ValueError: If a layer's direction has no finite, positive norm.
    """
    units = _unit_rows(directions)
    bad = (~torch.isfinite(units)).any(dim=-1).nonzero().flatten().tolist()
    if bad:
        raise ValueError(
            f"expected directions with a finite, positive norm, got none at layers {bad}; "
            "leave these layers out"
        )
    wide = vectors.double()
    along = (wide * units).sum(dim=-1, keepdim=True)
    return (wide - along * units).to(working_dtype(vectors))


def effective_rank(vectors: Float[Tensor, "vector d_model"]) -> float:
    """Number of dimensions the directions of ``vectors`` take up, from 1 to their number.

    Exponential of the entropy of the singular values of the unit vectors, not centred (Roy and
    Vetterli, https://ieeexplore.ieee.org/document/7098875). NaN if a vector is zero.
    """
    units = _unit_rows(vectors)
    if not len(units) or not bool(torch.isfinite(units).all()):
        return float("nan")
    shares = torch.linalg.svdvals(units)
    return float(torch.special.entr(shares / shares.sum()).sum().exp())


def representational_shift(
    clean: Float[Tensor, "layer d_model"],
    ablated: Float[Tensor, "layer d_model"],
    directions: Float[Tensor, "layer d_model"],
) -> float:
    """Mean over layers of the change of cosine with ``directions`` that an ablation makes.

    0 if what was ablated is independent of the directions. RepInd of
    https://arxiv.org/abs/2502.17420, for one activation a layer.
    """
    change = cosine_by_layer(clean, directions) - cosine_by_layer(ablated, directions)
    return float(change.double().abs().mean())


def _unit_rows(vectors: Float[Tensor, "vector d_model"]) -> Float[Tensor, "vector d_model"]:
    # Not torch.nn.functional.cosine_similarity: its eps calls a short vector orthogonal.
    wide = vectors.double()
    scaled = wide / wide.abs().amax(dim=-1, keepdim=True)
    units: Tensor = scaled / scaled.norm(dim=-1, keepdim=True)
    return units
