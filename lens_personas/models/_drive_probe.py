"""Whether a model's blocks, driven one by one, give what a whole pass gives."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.models._drive import BlockDriver, unchecked_driver
from lens_personas.models._types import LensModel

# What blocks raise when they are called in a way they do not expect.
_NOT_DRIVEN = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


@torch.no_grad()
def driving_error(model: LensModel, tokens: Int[Tensor, "1 pos"]) -> float:
    """Largest relative error of the last residual when blocks are driven; infinite where not.

    Driven as the engine does it: one row padded on both sides, the first half's keys and
    values kept for the second half, the last block at the last real token alone.
    """
    n = tokens.shape[1]
    if n < 4:
        return float("inf")
    whole = torch.arange(n, device=tokens.device)
    inner = whole - 1
    inner[[0, -1]] = -1
    positions = torch.stack([whole, inner])
    both = tokens.expand(2, -1)
    last_layer = model.card.n_layers - 1
    true = model.run(both, positions, hooks={}, cache=None, last_layer=last_layer)
    at = positions.argmax(dim=1)
    rows = torch.arange(2, device=at.device)
    try:
        found = _driven(unchecked_driver(model), both, positions, n // 2, last_layer)
    except _NOT_DRIVEN:
        return float("inf")
    expected = true[rows, at].float()
    error = (found.float() - expected).norm(dim=-1) / expected.norm(dim=-1).clamp_min(1e-12)
    return float(error.max())


def _driven(
    driver: BlockDriver,
    tokens: Int[Tensor, "batch pos"],
    positions: Int[Tensor, "batch pos"],
    half: int,
    last_layer: int,
) -> Float[Tensor, "batch d_model"]:
    n, rows = tokens.shape[1], torch.arange(len(tokens), device=tokens.device)
    resid = driver.embed(tokens, positions)
    first, second = resid[:, :half], resid[:, half:]
    frame_first, frame_second = (
        driver.frame(positions[:, :half], half),
        driver.frame(positions, n - half),
    )
    for layer in range(last_layer):
        ran = driver.block(layer, first, frame_first, keep=True)
        second = driver.block(layer, second, frame_second, past=ran.keys_values).resid
        first = ran.resid
    known = driver.keys_values(last_layer, first, frame_first).joined(
        driver.keys_values(last_layer, second, frame_second)
    )
    at = positions.argmax(dim=1)
    # In the second half of both rows lies their last real token.
    return driver.last(last_layer, second[rows, at - half], known, positions, at)
