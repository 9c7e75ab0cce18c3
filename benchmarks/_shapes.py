"""The models that are measured: Llama shapes with random weights."""

from dataclasses import dataclass
from typing import Literal

DType = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A Llama-shaped model; every head has its own keys and values."""

    n_layers: int
    """Blocks."""
    d_model: int
    """Width of the residual stream."""
    n_heads: int
    """Attention heads in a block."""
    d_mlp: int
    """Width of the gated MLP."""
    d_vocab: int
    """Rows of the unembedding."""
    n_ctx: int = 512
    """Longest context."""
    dtype: DType = "float32"
    """Parameter dtype."""

    @property
    def name(self) -> str:
        """The shape in words."""
        return f"{self.n_layers} layers × {self.d_model}, {self.d_vocab} tokens, {self.dtype}"

    @property
    def weight_bytes(self) -> int:
        """Bytes that one decoding step has to read: every weight but the embedding's."""
        block = 4 * self.d_model**2 + 3 * self.d_model * self.d_mlp
        width = 4 if self.dtype == "float32" else 2
        return width * (self.n_layers * block + self.d_vocab * self.d_model)


QUICK = Shape(n_layers=6, d_model=512, n_heads=8, d_mlp=1408, d_vocab=16_000)
FULL = Shape(n_layers=12, d_model=768, n_heads=12, d_mlp=2048, d_vocab=32_000)
LLAMA_7B = Shape(
    n_layers=32, d_model=4096, n_heads=32, d_mlp=11_008, d_vocab=32_000, dtype="bfloat16"
)
