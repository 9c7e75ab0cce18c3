"""Two vectors side by side."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.geometry import cosine_by_layer
from lens_personas.vectors._types import SteeringVector


@dataclass(frozen=True, kw_only=True, eq=False)
class VectorComparison:
    """Cosine of two vectors at each layer they share."""

    names: tuple[str, str]
    """Names of the two vectors."""
    layers: tuple[int, ...]
    """Layers both have, ascending."""
    cosines: Float[Tensor, " layer"]
    """Cosine at each layer, in [-1, 1]; NaN where a vector is zero."""
    norms: Float[Tensor, "vector layer"]
    """Length of either vector at each layer."""

    def rows(self) -> tuple[tuple[int, float, float, float], ...]:
        """Layer, cosine, length of the first and of the second, for a table."""
        return tuple(
            (layer, float(self.cosines[at]), float(self.norms[0, at]), float(self.norms[1, at]))
            for at, layer in enumerate(self.layers)
        )


def compare_vectors(a: SteeringVector, b: SteeringVector) -> VectorComparison:
    """Cosine by layer of two vectors, which may be of two models of one width.

    Raises:
        ValueError: If site or width differ, or no layer is shared.
    """
    layers = sorted(set(a.layers) & set(b.layers))
    if a.site is not b.site or a.d_model != b.d_model or not layers:
        raise ValueError(
            f"expected vectors of one site and width with a layer in common, got {a.name!r} at "
            f"{a.site.value}, width {a.d_model}, layers {list(a.layers)}, and {b.name!r} at "
            f"{b.site.value}, width {b.d_model}, layers {list(b.layers)}"
        )
    mine, theirs = (v.vectors[[v.layers.index(layer) for layer in layers]] for v in (a, b))
    return VectorComparison(
        names=(a.name, b.name),
        layers=tuple(layers),
        cosines=cosine_by_layer(mine, theirs),
        norms=torch.stack([mine.norm(dim=-1), theirs.norm(dim=-1)]),
    )
