"""What a head would write along one direction if it read another: its value and output weights."""

from collections.abc import Sequence

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from lens_personas.geometry import unit_vector
from lens_personas.models import (
    LensModel,
    attention_reads,
    head_weights,
    value_weights,
    written_by_heads,
)


@torch.no_grad()
def ov_projection(
    model: LensModel,
    read: Float[Tensor, "layer d_model"],
    write: Float[Tensor, " d_model"],
    *,
    layers: Sequence[int] | None = None,
) -> Float[Tensor, "layer head"]:
    """What every head writes along ``write`` when it looks at nothing but ``read``.

    ``LN(read) W_V W_O · write``: the head attends wholly to one token whose residual *is* the
    direction ``read`` (normalised by the block's own norm to its usual length), and ``write`` is
    a unit vector. The unit is that of the residual stream; neither direction's length has an
    effect, the sign of both has. Biases are left out. No prompt is run, so it says what a head
    could carry, and `head_writes` what it does: whether it looks there, and at a residual that
    is mostly something else, is another matter.

    Args:
        model: The model.
        read: Direction in the residual that each layer's attention reads (``resid_pre``), one a
            layer, such as a persona vector.
        write: Direction that is written along, such as the refusal direction.
        layers: Blocks; None for all.

    Raises:
        ValueError: If there is not one ``read`` a layer, a direction has no finite, positive
            norm, a layer does not exist, or its attention has no weights by head.
    """
    chosen = tuple(range(model.card.n_layers)) if layers is None else tuple(layers)
    if len(read) != len(chosen):
        raise ValueError(
            f"expected one direction to read for each of {len(chosen)} layers, got {len(read)}; "
            "repeat one direction with expand, or give its layers"
        )
    unit = unit_vector(write.float())
    rows = [
        _of_layer(model, layer, unit_vector(each.float()), unit)
        for layer, each in zip(chosen, read, strict=True)
    ]
    return torch.stack(rows)


def _of_layer(
    model: LensModel,
    layer: int,
    read: Float[Tensor, " d_model"],
    write: Float[Tensor, " d_model"],
) -> Float[Tensor, " head"]:
    seen = attention_reads(model, layer, read[None])[0]
    w_v = value_weights(model, layer).to(seen.device).float()
    values = einsum(seen, w_v, "d_model, head d_model d_head -> head d_head")
    written = written_by_heads(values[None], head_weights(model, layer))[0]
    return (written @ write.to(written.device)).cpu()
