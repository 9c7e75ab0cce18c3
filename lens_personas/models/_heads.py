"""What each attention head reads and writes with, alike on both backends."""

from dataclasses import dataclass
from typing import Any

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from lens_personas.models._backends import beside
from lens_personas.models._types import LensModel

_TOLERANCE = {"float32": 1e-3, "float64": 1e-6}
_LOW_PRECISION_TOLERANCE = 3e-2


@dataclass(frozen=True, kw_only=True)
class HeadWeights:
    """What one layer's heads write with, in the model's own dtype."""

    w_o: Float[Tensor, "head d_head d_model"]
    """From a head's mixed values to what it writes."""
    b_o: Float[Tensor, " d_model"]
    """Written by the layer's attention beside its heads; zeros where the model has none."""


@torch.no_grad()
def head_weights(model: LensModel, layer: int) -> HeadWeights:
    """What the heads of ``layer`` write with, on the device where it lies.

    Raises:
        ValueError: If there is no such layer, or its attention has no such weights.
    """
    attention = _attention(model, layer)
    w_o = _weight(model, layer, attention, "W_O")
    b_o = getattr(attention, "b_O", None)
    return HeadWeights(w_o=w_o, b_o=w_o.new_zeros(w_o.shape[2]) if b_o is None else b_o)


@torch.no_grad()
def value_weights(model: LensModel, layer: int) -> Float[Tensor, "head d_model d_head"]:
    """What each head of ``layer`` takes its values with, from the normalised residual.

    Where several heads share their keys and values, these are repeated.

    Raises:
        ValueError: If there is no such layer, or its attention has no such weights.
    """
    shared = _weight(model, layer, _attention(model, layer), "W_V")
    return per_head(shared, model.card.n_heads)


def per_head(shared: Float[Tensor, "group *rest"], n_heads: int) -> Float[Tensor, "head *rest"]:
    """One entry a head, of which neighbours share one (grouped queries)."""
    return shared.repeat_interleave(n_heads // len(shared), dim=0)


def written_by_heads(
    z: Float[Tensor, "row head d_head"], weights: HeadWeights
) -> Float[Tensor, "row head d_model"]:
    """What each head writes to the residual stream, without the layer's bias."""
    w_o = weights.w_o.to(z.device).float()
    return einsum(z.float(), w_o, "row head d_head, head d_head d_model -> row head d_model")


@torch.no_grad()
def attention_reads(
    model: LensModel, layer: int, directions: Float[Tensor, "row d_model"]
) -> Float[Tensor, "row d_model"]:
    """What the attention of ``layer`` sees of a residual that is each direction alone.

    The block's own norm gives it the usual length, whatever its own; the norm's bias is left out.

    Raises:
        ValueError: If there is no such layer, or its attention has no norm of its own before it.
    """
    _attention(model, layer)
    norm = getattr(model.wrapped.blocks[layer], "ln1", None)
    if norm is None or model.wrapped.cfg.normalization_type is None:
        raise ValueError(
            f"expected a norm before the attention of layer {layer}, {model.card.model_id} "
            f"({model.card.architecture}) has none: what it sees has no usual length"
        )
    length = directions.shape[1] ** 0.5 / directions.norm(dim=1, keepdim=True)
    given = torch.cat([directions * length, torch.zeros_like(directions[:1])])
    normed = norm(beside(norm, given[None].to(getattr(torch, model.card.dtype))))[0].float()
    seen: Tensor = normed[:-1] - normed[-1]
    return seen.to(directions.device)


def check_heads_add_up(
    model: LensModel,
    layer: int,
    written: Float[Tensor, "row head d_model"],
    attn_out: Float[Tensor, "row d_model"],
    bias: Float[Tensor, " d_model"],
) -> None:
    """Refuse a layer whose heads do not add up to what its attention writes.

    A norm after the attention (Gemma-2 and -3, OLMo-2) scales their sum: no head then has a
    share of its own.

    Raises:
        ValueError: If they do not.
    """
    total = written.sum(dim=1) + bias.to(written.device).float()
    error = float((total - attn_out.float()).norm() / attn_out.float().norm().clamp_min(1e-12))
    if not error <= _tolerance(model):
        raise ValueError(
            f"expected the heads of layer {layer} to add up to attn_out, they are off by "
            f"{error:.1%} of its norm; {model.card.model_id} ({model.card.architecture}) does "
            "something to their sum, such as a norm: use attn_out as a whole"
        )


def check_values_mix(
    model: LensModel,
    layer: int,
    mixed: Float[Tensor, "row head"],
    own: Float[Tensor, "row head"],
) -> None:
    """Refuse a layer whose heads do not mix their values by the attention pattern alone.

    Raises:
        ValueError: If what pattern and values give is not the heads' ``own``.
    """
    error = float((mixed - own).norm() / own.norm().clamp_min(1e-6))
    if not error <= _tolerance(model):
        raise ValueError(
            f"expected the heads of layer {layer} to mix their values by the attention pattern, "
            f"they are off by {error:.1%}; {model.card.model_id} ({model.card.architecture}) does "
            "something else, such as gating: patch its heads instead"
        )


def _tolerance(model: LensModel) -> float:
    return _TOLERANCE.get(model.card.dtype, _LOW_PRECISION_TOLERANCE)


def _attention(model: LensModel, layer: int) -> Any:
    if not 0 <= layer < model.card.n_layers:
        raise ValueError(
            f"expected a layer from 0 to {model.card.n_layers - 1}, got {layer}: "
            f"{model.card.model_id} has {model.card.n_layers} layers"
        )
    return getattr(model.wrapped.blocks[layer], "attn", None)


def _weight(model: LensModel, layer: int, attention: Any, name: str) -> Tensor:
    weight = getattr(attention, name, None)
    if not isinstance(weight, Tensor) or weight.ndim != 3:
        raise ValueError(
            f"expected the attention of layer {layer} to have {name} by head, "
            f"{model.card.model_id} ({model.card.architecture}) has none; its heads cannot be told "
            "apart: use attn_out as a whole"
        )
    return weight
