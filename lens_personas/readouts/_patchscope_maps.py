"""What a state goes through on its way from its own layer into another prompt's."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from lens_personas.readouts._patchscope_sources import ScopeSources


@runtime_checkable
class StateMap(Protocol):
    """Function of states on their way; each row must count for itself."""

    def __call__(
        self, states: Float[Tensor, "row d_model"], /, *, source_layer: int, target_layer: int
    ) -> Float[Tensor, "row d_model"]:
        """The states as they are put in, one for each."""
        ...


def keep_states(
    states: Float[Tensor, "row d_model"], /, *, source_layer: int, target_layer: int
) -> Float[Tensor, "row d_model"]:
    """The states as they are: the plain Patchscope."""
    return states


def centred_states(reference: ScopeSources, scale: float) -> StateMap:
    """Map that takes a state's deviation from a mean ``scale`` times: ``mean + k (h - mean)``.

    What all states share (position, template) stays once, what tells them apart is louder.
    The mean of each layer is that of ``reference``: take other prompts than those that are
    tested, or the same for all arms that are compared. 1 changes nothing, 0 gives the mean.

    Raises:
        ValueError: If ``scale`` is not finite. When called: if the layer was not read.
    """
    if not torch.isfinite(torch.tensor(scale)):
        raise ValueError(f"expected a finite scale, got {scale}")
    means = {layer: reference.at(layer).double().mean(dim=0).float() for layer in reference.layers}

    def centre(
        states: Float[Tensor, "row d_model"], /, *, source_layer: int, target_layer: int
    ) -> Float[Tensor, "row d_model"]:
        if source_layer not in means:
            raise ValueError(
                f"expected a layer among {tuple(means)}, got {source_layer}; read it as well"
            )
        return _from_mean(states, means[source_layer].to(states), scale)

    return centre


def norm_matched_states(norms: Mapping[int, float]) -> StateMap:
    """Map that gives a state the norm usual at the target layer, its direction kept.

    Args:
        norms: Norm by target layer, positive.

    Raises:
        ValueError: If a norm is not positive. When called: if the target layer has none.
    """
    kept = dict(norms)
    if any(not norm > 0 for norm in kept.values()):
        raise ValueError(f"expected positive norms, got {kept}")

    def match(
        states: Float[Tensor, "row d_model"], /, *, source_layer: int, target_layer: int
    ) -> Float[Tensor, "row d_model"]:
        if target_layer not in kept:
            raise ValueError(f"expected a norm of target layer {target_layer}, got {sorted(kept)}")
        return kept[target_layer] * torch.nn.functional.normalize(states, dim=-1)

    return match


def translated_states(
    weights: Mapping[tuple[int, int], Float[Tensor, "out d_model"]],
    biases: Mapping[tuple[int, int], Float[Tensor, " d_model"]],
) -> StateMap:
    """Map by an affine translator for each pair of source and target layer: ``W h + b``.

    Raises:
        ValueError: If the two name other pairs. When called: if a pair has no translator.
    """
    matrices, offsets = dict(weights), dict(biases)
    if set(matrices) != set(offsets):
        raise ValueError("expected a weight and a bias for the same pairs of layers")

    def translate(
        states: Float[Tensor, "row d_model"], /, *, source_layer: int, target_layer: int
    ) -> Float[Tensor, "row d_model"]:
        pair = (source_layer, target_layer)
        if pair not in matrices:
            raise ValueError(f"expected a translator of layers {pair}, got {sorted(matrices)}")
        return _affine(states, matrices[pair].to(states), offsets[pair].to(states))

    return translate


def _from_mean(
    states: Float[Tensor, "row d_model"], mean: Float[Tensor, " d_model"], scale: float
) -> Float[Tensor, "row d_model"]:
    return mean + scale * (states - mean)


def _affine(
    states: Float[Tensor, "row d_model"],
    weight: Float[Tensor, "d_model d_model"],
    bias: Float[Tensor, " d_model"],
) -> Float[Tensor, "row d_model"]:
    return einsum(weight, states, "out d_model, row d_model -> row out") + bias
