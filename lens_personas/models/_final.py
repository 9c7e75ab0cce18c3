"""Final norm and unembedding as a linear map of the residual, the norm's scale held."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.models._backends import beside
from lens_personas.models._types import LensModel

_TOLERANCE = {"float32": 1e-4, "float64": 1e-6}
_LOW_PRECISION_TOLERANCE = 3e-2
# Tokens whose columns of the unembedding are taken to float32 together.
_PIECE = 16384


@dataclass(frozen=True, kw_only=True)
class FrozenFinal:
    """What some weighted sums of logits are of the residuals: ``directions · resid + bias``.

    Exact at the residuals themselves. Of another residual it is what the logits would be if
    its norm's scale were theirs.
    """

    scale: Float[Tensor, " row"]
    """What the final norm divides each residual by; 1 where there is no norm."""
    directions: Float[Tensor, "row d_model"]
    """Slope of each row's weighted sum of logits, by what a part adds to the residual."""
    bias: Float[Tensor, " row"]
    """What the sum is where the residual is zero: the biases of unembedding and final norm."""


@torch.no_grad()
def frozen_final(
    model: LensModel, resid: Float[Tensor, "row d_model"], weights: Float[Tensor, "row d_vocab"]
) -> FrozenFinal:
    """The linear map from ``resid_post`` of the last block to ``Σ weights · logits``, by row.

    The norm is looked at from outside: ``gain * resid / scale + bias``, with the mean taken off
    first where it centres; so a gain that is stored as its distance from 1, or folded into the
    unembedding, needs no word of ours. The map is held against the model's own logits.

    Raises:
        ValueError: If the logits are capped or scaled after the unembedding, the final norm is
            of no such form, or the map does not give the model's own logits.
    """
    _check_linear(model)
    resid = resid.float()
    norm = _norm(model, resid)
    unembedded = _unembed(model, weights)
    directions = norm.gain * unembedded / norm.scale[:, None]
    if norm.centres:
        directions = directions - directions.mean(dim=1, keepdim=True)
    b_u = model.wrapped.unembed.b_U.to(resid.device).float()
    found = FrozenFinal(
        scale=norm.scale, directions=directions, bias=unembedded @ norm.bias + weights @ b_u
    )
    _check_map(model, resid, weights, found)
    return found


@dataclass(frozen=True, kw_only=True)
class _Norm:
    """The final norm at some residuals."""

    gain: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"]
    centres: bool
    scale: Float[Tensor, " row"]


def _check_linear(model: LensModel) -> None:
    cap = getattr(model.wrapped.cfg, "output_logits_soft_cap", None)
    if cap is not None and cap > 0:
        raise ValueError(
            f"expected logits that are linear in the normalised residual, {model.card.model_id} "
            f"caps them at {cap:g}: they have no exact shares; attribute by patching instead"
        )
    if not model.card.lens_is_exact:
        raise ValueError(
            f"expected final norm and unembedding to give the logits of {model.card.model_id}, "
            "they do not (card.lens_is_exact): something else is done to them, such as scaling"
        )


def _norm(model: LensModel, resid: Float[Tensor, "row d_model"]) -> _Norm:
    """Gain, bias and scale, from what the norm makes of probes and of the residuals."""
    flat = torch.ones_like(resid[:1])
    # Of mean 0 and, up to the norm's epsilon, of scale 1: what comes out is the gain.
    probe = flat.clone()
    probe[:, 1::2] = -1
    probe = probe - probe.mean()
    probes = torch.cat([torch.zeros_like(flat), flat, probe])
    normed = _normed(model, torch.cat([probes, resid]))
    bias = normed[0]
    gain = (normed[2] - bias) / probe[0]
    centres = bool((normed[1] - bias).norm() < 1e-2 * gain.norm())
    inner = resid - resid.mean(dim=1, keepdim=True) if centres else resid
    scaled = normed[3:] - bias
    # Exact whatever the epsilon: the scale by which the gain's part has to be divided.
    scale = ((gain * inner) ** 2).sum(dim=1) / (gain * inner * scaled).sum(dim=1)
    error = float((gain * inner / scale[:, None] - scaled).norm() / scaled.norm())
    if not error <= _tolerance(model):
        raise ValueError(
            f"expected a final norm that divides by one number and multiplies by a gain, that of "
            f"{model.card.model_id} ({model.card.architecture}) is off by {error:.1%}; its logits "
            "have no exact shares: attribute by patching instead"
        )
    return _Norm(gain=gain, bias=bias, centres=centres, scale=scale)


def _normed(model: LensModel, resid: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
    norm: Any = getattr(model.wrapped, "ln_final", None)
    # HookedTransformer has the module in name only where there is no norm.
    if norm is None or model.wrapped.cfg.normalization_type is None:
        return resid
    given = resid[None].to(getattr(torch, model.card.dtype))
    normed: Tensor = norm(beside(norm, given))[0]
    return normed.to(resid.device).float()


def _unembed(
    model: LensModel, weights: Float[Tensor, "row d_vocab"]
) -> Float[Tensor, "row d_model"]:
    matrix = model.wrapped.unembed.W_U
    out = torch.zeros(len(weights), len(matrix), device=weights.device)
    for start in range(0, weights.shape[1], _PIECE):
        piece = matrix[:, start : start + _PIECE].to(weights.device).float()
        out += weights[:, start : start + _PIECE].float() @ piece.T
    return out


def _check_map(
    model: LensModel,
    resid: Float[Tensor, "row d_model"],
    weights: Float[Tensor, "row d_vocab"],
    found: FrozenFinal,
) -> None:
    logits = model.logits(resid.to(getattr(torch, model.card.dtype))).float()
    own = (weights * logits).sum(dim=1)
    error = ((found.directions * resid).sum(dim=1) + found.bias - own).abs()
    size = (weights * logits).abs().sum(dim=1).clamp_min(1.0)
    if not bool((error <= _tolerance(model) * size).all()):
        raise ValueError(
            f"expected final norm and unembedding of {model.card.model_id} to give its logits, "
            f"they are off by up to {float(error.max()):.2g}; attribute by patching instead"
        )


def _tolerance(model: LensModel) -> float:
    return _TOLERANCE.get(model.card.dtype, _LOW_PRECISION_TOLERANCE)
