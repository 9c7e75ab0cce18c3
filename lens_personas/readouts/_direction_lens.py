"""Which tokens a direction of the residual stream writes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.geometry import unit_vector
from lens_personas.models import LensModel


@dataclass(frozen=True, kw_only=True)
class TokenWeight:
    """One token that a direction makes more or less likely."""

    token_id: int
    """The token."""
    token: str
    """The token as text."""
    weight: float
    """Change of its logit for one unit of normalised residual along the direction."""


@dataclass(frozen=True, kw_only=True)
class TokenWeights:
    """Tokens that a direction writes, and those that its opposite does."""

    top: tuple[TokenWeight, ...]
    """Largest weights, the largest first."""
    bottom: tuple[TokenWeight, ...]
    """Smallest weights, the smallest first."""


@torch.no_grad()
def lens_of_direction(
    model: LensModel, direction: Float[Tensor, " d_model"], *, k: int = 10
) -> TokenWeights:
    """Tokens whose logits rise and fall most along ``direction``; its length has no effect.

    The weight is the unit direction through the final norm's gain (and centring, where the
    norm centres) and the unembedding, *without* the norm's data-dependent scale and without
    any bias: the logit's slope per unit of normalised residual. Models with folded norms
    show the same numbers. It is taken as half the difference between the logits of the
    direction and of its opposite, so that it needs no access to the weights; a soft cap on
    logits shrinks large weights and keeps their order.

    Raises:
        ValueError: If ``direction`` has no finite, positive norm, or ``k`` is not between 1
            and the vocabulary's size.
    """
    if not 1 <= k <= model.card.d_vocab:
        raise ValueError(f"expected k from 1 to {model.card.d_vocab} tokens, got {k}")
    weights = _weights(model, unit_vector(direction.float()))
    order = weights.argsort(descending=True, stable=True)
    return TokenWeights(
        top=tuple(_token(model, weights, int(i)) for i in order[:k]),
        bottom=tuple(_token(model, weights, int(i)) for i in order.flip(0)[:k]),
    )


def _weights(model: LensModel, unit: Float[Tensor, " d_model"]) -> Float[Tensor, " d_vocab"]:
    # At a root mean square of 1 the norm's scale is 1, up to its epsilon.
    length = unit.numel() ** 0.5
    both = torch.stack([unit, -unit]) * length
    logits = model.logits(both.to(model.device, getattr(torch, model.card.dtype))).float().cpu()
    weights: Tensor = (logits[0] - logits[1]) / (2 * length)
    return weights


def _token(model: LensModel, weights: Float[Tensor, " d_vocab"], token_id: int) -> TokenWeight:
    return TokenWeight(
        token_id=token_id,
        token=str(model.tokenizer.decode([token_id])),
        weight=float(weights[token_id]),
    )
