"""What a block costs, by its weights."""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from lens_personas.models import LensModel


class Work(NamedTuple):
    """Work of some columns in some blocks."""

    columns: int
    """Columns run, counted once a block."""
    flops: float
    """Floating-point operations."""


@dataclass(frozen=True, kw_only=True)
class BlockCost:
    """Sizes that say what running some columns costs."""

    n_layers: int
    """Blocks of the model."""
    weights: int
    """Weights that a column meets in a block."""
    kv_weights: int
    """Those of them that make keys and values."""
    unembedding: float
    """Operations that turn one residual into logits."""
    column_bytes: int
    """Memory of one column's residual."""
    kv_bytes: int
    """Memory of one column's keys and values in one block."""

    def row(self, columns: int, join: int, stop: int | None = None) -> Work:
        """A row of ``columns`` in blocks ``join`` to ``stop``, the last of all for one column."""
        end = self.n_layers if stop is None else stop
        if join >= end:
            return Work(0, 0.0)
        blocks, trimmed = end - join, end == self.n_layers
        met = columns * blocks * self.weights
        spared = (columns - 1) * (self.weights - self.kv_weights) if trimmed else 0
        return Work(columns * blocks, 2.0 * (met - spared))


def block_cost(model: LensModel) -> BlockCost:
    """Cost of the model's blocks, taken from block 0."""
    cfg, card = model.wrapped.cfg, model.card
    weights = sum(p.numel() for p in model.wrapped.blocks[0].parameters() if p.ndim > 1)
    kv_width = 2 * (getattr(cfg, "n_key_value_heads", None) or card.n_heads) * cfg.d_head
    size = getattr(torch, card.dtype).itemsize
    return BlockCost(
        n_layers=card.n_layers,
        weights=weights,
        kv_weights=card.d_model * kv_width,
        unembedding=2.0 * card.d_model * card.d_vocab,
        column_bytes=card.d_model * size,
        kv_bytes=kv_width * size,
    )
