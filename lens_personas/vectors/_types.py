"""A direction in the residual stream, and where it comes from."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import Site


@dataclass(frozen=True, kw_only=True)
class VectorProvenance:
    """What a vector was fitted on; None where that is not known."""

    model_id: str | None
    """Model it was fitted on."""
    revision: str | None
    """Hub revision of the model."""
    fingerprint: str | None
    """Hash of the model's config and parameters."""
    n_layers: int | None
    """Number of blocks of the model."""
    tokenizer_hash: str | None
    """Hash of its vocabulary."""
    chat_template_hash: str | None
    """Hash of its chat template; None also where it has none."""
    transformer_lens_version: str | None
    """Version of TransformerLens that ran it."""
    backend: str | None
    """TransformerLens class that ran it."""
    weight_processing: str | None
    """What was done to the weights after reading."""
    dtype: str | None
    """Parameter dtype while reading."""
    span_rule: str | None
    """Where in the prompts the activations were read."""
    seed: int | None
    """Seed of the draws that made the prompts; None where nothing was drawn."""
    data_hash: str | None
    """Hash of the prompts of both sides."""
    package_version: str | None
    """Version of this package, or of the tool that wrote the vector."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SteeringVector:
    """One direction a layer, from ``from_label`` to ``to_label``.

    Adding it moves an activation towards ``to_label``. Unless ``normalised``, its length is the
    distance between the two means; compare it with ``resid_norms``.

    Raises:
        ValueError: If the layers do not fit the tensors, occur twice, or a number is not finite.
    """

    name: str
    """What it is, in a word."""
    vectors: Float[Tensor, "layer d_model"]
    """The direction at each layer, float32, on the CPU."""
    layers: tuple[int, ...]
    """Block of each row, counted from 0."""
    site: Site
    """Point of the block where it was read and is meant to act."""
    from_label: str
    """What it points away from."""
    to_label: str
    """What it points to."""
    method: str
    """How it was fitted."""
    n_from: int | None
    """Prompts on the side it points away from; None where not known."""
    n_to: int | None
    """Prompts on the side it points to; None where not known."""
    resid_norms: Float[Tensor, " layer"]
    """Mean residual norm over the prompts' positions at each layer; NaN where not known."""
    normalised: bool
    """Whether every row was scaled to norm 1."""
    provenance: VectorProvenance
    """What it was fitted on."""

    def __post_init__(self) -> None:
        if len(self.layers) != len(self.vectors) or len(set(self.layers)) != len(self.layers):
            raise ValueError(
                f"expected one layer for each of {len(self.vectors)} rows and none twice, "
                f"got {list(self.layers)}"
            )
        if not bool(torch.isfinite(self.vectors).all()):
            bad = (~torch.isfinite(self.vectors)).any(dim=1).nonzero()[:, 0]
            raise ValueError(
                f"expected finite numbers in vector {self.name!r}, got NaN or infinity at layers "
                f"{[self.layers[int(row)] for row in bad]}; float16 overflows: use another dtype"
            )

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.vectors.shape[1]

    @property
    def norms(self) -> Float[Tensor, " layer"]:
        """Length of the vector at each layer."""
        norms: Tensor = torch.linalg.vector_norm(self.vectors, dim=-1)
        return norms

    def at(self, layer: int) -> Float[Tensor, " d_model"]:
        """The direction at one layer.

        Raises:
            ValueError: If the vector has no such layer.
        """
        return self.vectors[self._row(layer)]

    def resid_norm_at(self, layer: int) -> float:
        """Mean residual norm at one layer: the unit of a dose.

        Raises:
            ValueError: If the vector has no such layer.
        """
        return float(self.resid_norms[self._row(layer)])

    def _row(self, layer: int) -> int:
        if layer not in self.layers:
            raise ValueError(
                f"expected one of the layers {list(self.layers)} of vector {self.name!r}, "
                f"got {layer}; fit it there as well"
            )
        return self.layers.index(layer)
