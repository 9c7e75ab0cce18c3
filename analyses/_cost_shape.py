"""A model's shape from its Hugging Face ``config.json`` alone: parameters and products."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


class CostError(ValueError):
    """A cost cannot be counted; the text says what was expected and what to do."""


@dataclass(frozen=True, kw_only=True)
class _Family:
    """What the blocks of a ``model_type`` hold beside their matrices."""

    gated: bool = True
    """Whether the MLP has a third matrix, the gate."""
    norms: int = 2
    """Norms of width ``d_model`` in a block."""
    norm_bias: bool = False
    """Whether norms have a bias too."""
    head_norms: int = 0
    """Norms of width ``d_head`` in a block."""
    qkv_bias: bool | None = None
    """Bias of queries, keys and values; None: as the config's ``attention_bias`` says."""
    out_bias: bool | None = None
    """Bias of the attention's output; None: as the config's ``attention_bias`` says."""
    attention_bias: bool = False
    """What ``attention_bias`` is where the config is silent."""
    mlp_bias: bool | None = False
    """Bias of the MLP's matrices; None: as the config's ``mlp_bias`` says."""
    tied: bool = False
    """Whether the unembedding is the embedding where the config is silent."""
    positions: bool = False
    """Whether positions are embedded by a table."""
    n_kv_heads: int | None = None
    """Heads of keys and values where the config is silent; None: as many as of queries."""
    d_head: int | None = None
    """Width of a head where the config is silent; None: ``d_model`` over the heads."""


_GEMMA = _Family(tied=True, d_head=256, n_kv_heads=16)
_FAMILIES = {
    "llama": _Family(mlp_bias=None),
    "mistral": _Family(qkv_bias=False, out_bias=False, n_kv_heads=8),
    "phi3": _Family(qkv_bias=False, out_bias=False),
    "qwen2": _Family(qkv_bias=True, out_bias=False, n_kv_heads=32),
    "qwen3": _Family(head_norms=2, d_head=128, n_kv_heads=32),
    "gemma": _GEMMA,
    "gemma2": replace(_GEMMA, norms=4, n_kv_heads=4),
    "gemma3_text": replace(_GEMMA, norms=4, head_norms=2, n_kv_heads=4),
    "gpt2": _Family(
        gated=False,
        norm_bias=True,
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        tied=True,
        positions=True,
    ),
    "gpt_neox": _Family(gated=False, norm_bias=True, attention_bias=True, mlp_bias=True),
}
# The same field under the names that the families give it.
_NAMES = {
    "d_model": ("hidden_size", "n_embd"),
    "n_layers": ("num_hidden_layers", "n_layer"),
    "n_heads": ("num_attention_heads", "n_head"),
    "d_mlp": ("intermediate_size", "n_inner"),
    "d_vocab": ("vocab_size",),
    "n_ctx": ("max_position_embeddings", "n_positions"),
}
# Keys of models with parts that are not counted here.
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a decoder-only model costs hangs on."""

    model_type: str
    """Hugging Face name of the architecture."""
    n_layers: int
    """Number of blocks."""
    d_model: int
    """Width of the residual stream."""
    n_heads: int
    """Attention heads in a block."""
    n_kv_heads: int
    """Heads of keys and values in a block."""
    d_head: int
    """Width of a head."""
    d_mlp: int
    """Width of the MLP."""
    d_vocab: int
    """Rows of the unembedding."""
    n_ctx: int
    """Longest context in tokens."""
    mlp_matrices: int
    """Matrices in an MLP: 2, or 3 with a gate."""
    block_vectors: int
    """Parameters of a block that are no matrix: norms and biases."""
    outer_vectors: int
    """Parameters outside the blocks that are neither embedding nor unembedding: the final norm
    and a table of positions."""
    tied: bool
    """Whether embedding and unembedding are one matrix."""

    @property
    def qkv_matrix(self) -> int:
        """Entries of the matrices that make a block's queries, keys and values."""
        return self.d_model * (self.n_heads + 2 * self.n_kv_heads) * self.d_head

    @property
    def block_matrix(self) -> int:
        """Entries of all matrices of a block."""
        output = self.d_model * self.n_heads * self.d_head
        return self.qkv_matrix + output + self.mlp_matrices * self.d_model * self.d_mlp

    @property
    def n_parameters(self) -> int:
        """All parameters; a tied matrix counts once."""
        blocks = self.n_layers * (self.block_matrix + self.block_vectors)
        embeddings = self.d_vocab * self.d_model * (1 if self.tied else 2)
        return blocks + embeddings + self.outer_vectors

    def kv_bytes(self, tokens: int, bytes_each: int) -> int:
        """Bytes of the keys and values of that many tokens, all blocks."""
        return 2 * self.n_layers * self.n_kv_heads * self.d_head * tokens * bytes_each


def read_shape(path: Path) -> Shape:
    """The shape in a ``config.json``, or in the one of a folder.

    Raises:
        CostError: If there is no such file, it is no JSON object, or it cannot be counted.
    """
    file = path / "config.json" if path.is_dir() else path
    if not file.is_file():
        raise CostError(
            f"expected a Hugging Face config.json or its folder, found none at {str(path)!r}"
        )
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CostError(f"expected JSON in {str(file)!r}: {error}") from error
    if not isinstance(found, dict):
        raise CostError(f"expected a JSON object in {str(file)!r}, got {type(found).__name__}")
    return shape_of(found)


def shape_of(config: Mapping[str, Any]) -> Shape:
    """The shape that a config's fields give.

    Raises:
        CostError: If the architecture is not known here, has experts, or a field is missing.
    """
    family, model_type = _family(config), str(config["model_type"])
    d_model, n_layers, n_heads, d_vocab, n_ctx = (
        _field(config, name) for name in ("d_model", "n_layers", "n_heads", "d_vocab", "n_ctx")
    )
    # GPT-2 leaves it out where it is four times the width.
    wide = 4 * d_model if family.positions else None
    d_mlp = _field(config, "d_mlp", wide)
    # The two families without a gate have no groups of heads, whatever their config says.
    grouped = config.get("num_key_value_heads") or family.n_kv_heads if family.gated else None
    n_kv_heads = int(grouped or n_heads)
    d_head = int(config.get("head_dim") or family.d_head or d_model // n_heads)
    shape = Shape(
        model_type=model_type,
        n_layers=n_layers,
        d_model=d_model,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        d_head=d_head,
        d_mlp=d_mlp,
        d_vocab=d_vocab,
        n_ctx=n_ctx,
        mlp_matrices=3 if family.gated else 2,
        block_vectors=0,
        outer_vectors=d_model * (1 + family.norm_bias) + family.positions * n_ctx * d_model,
        tied=bool(config.get("tie_word_embeddings", family.tied)),
    )
    return _with_vectors(shape, family, config)


def _with_vectors(shape: Shape, family: _Family, config: Mapping[str, Any]) -> Shape:
    asked = bool(config.get("attention_bias", family.attention_bias))
    qkv = asked if family.qkv_bias is None else family.qkv_bias
    out = asked if family.out_bias is None else family.out_bias
    mlp = bool(config.get("mlp_bias", False)) if family.mlp_bias is None else family.mlp_bias
    vectors = (
        family.norms * shape.d_model * (1 + family.norm_bias)
        + family.head_norms * shape.d_head
        + qkv * (shape.n_heads + 2 * shape.n_kv_heads) * shape.d_head
        + out * shape.d_model
        + mlp * ((shape.mlp_matrices - 1) * shape.d_mlp + shape.d_model)
    )
    return replace(shape, block_vectors=vectors)


def _family(config: Mapping[str, Any]) -> _Family:
    model_type = config.get("model_type")
    experts = [key for key in _EXPERTS if config.get(key)]
    if model_type not in _FAMILIES or experts:
        got = f"{experts[0]} in a {model_type!r} config" if experts else f"{model_type!r}"
        raise CostError(
            f"expected model_type among {', '.join(_FAMILIES)}, without experts, got {got}; "
            "its parameters cannot be counted from the config"
        )
    return _FAMILIES[str(model_type)]


def _field(config: Mapping[str, Any], name: str, default: int | None = None) -> int:
    for key in _NAMES[name]:
        value = config.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        if value is not None:
            raise CostError(f"expected a whole number above 0 for {key!r}, got {value!r}")
    if default is None:
        raise CostError(
            f"expected {' or '.join(map(repr, _NAMES[name]))} in the config, found neither; "
            "give the model's own config.json"
        )
    return default
