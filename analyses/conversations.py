"""What goes on inside a conversation: token by token, layer by layer, head by head."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lens_personas.readouts import AttentionPatterns, LensTable

_FULL = 255


@dataclass(frozen=True, kw_only=True)
class Transcripts:
    """Some conversations, each numbered. They hold the user's text."""

    conversations: pd.DataFrame
    """One row each: ``conversation, prompt_id, request`` (its text), ``harmful, persona, group,
    treatment, n_tokens``, the refusal ``score`` in nats (NaN where no token tells a refusal), the
    ``answer`` and its ``label``. Alone, a request has the treatment ``baseline`` and the persona
    ``""``."""
    tokens: pd.DataFrame
    """One row a token: ``conversation, position, token, role``, and ``projection`` on the refusal
    direction in units of the layer's mean residual norm; of a long prompt the last ones."""
    lens: pd.DataFrame
    """What the layers would say next: ``conversation, layer, position, rank`` (0 is the likeliest
    token), ``token, log_prob`` in nats."""
    attention: pd.DataFrame
    """``conversation, layer, n_heads, n_tokens, weights``; see :func:`unpack_attention`."""


@dataclass(frozen=True, kw_only=True)
class Conversations:
    """A few requests, asked by nobody in particular and by a few personas, to be looked into."""

    n: int
    """Conversations."""
    control: str
    """Name of the control persona."""
    steered_at: int
    """Block whose output is steered."""
    projected_at: int
    """Block whose output is projected on the refusal direction, after the steering."""
    direction: str
    """Name of the refusal vector."""
    lens_is_exact: bool
    """Whether the lens of the last layer is the model's own output."""
    by_request: Transcripts
    """The conversations."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """One conversation, as it is looked into."""

    tokens: tuple[str, ...]
    """Its tokens."""
    projection: Float[Tensor, " pos"]
    """Of each on the refusal direction, in mean residual norms."""
    lens: LensTable
    """What the layers would say next, at its last tokens."""
    attention: AttentionPatterns | None
    """Where the heads look; None where that was too large to keep."""


def open_conversation(
    found: Conversations,
    number: int,
    *,
    show: Callable[[str, str], str] = lambda token, role: token,
) -> Opened:
    """One conversation.

    Args:
        found: All.
        number: Which one.
        show: What is shown of a token in the turn of a role (``lens`` for what a layer would say).

    Raises:
        ValueError: If there is no such conversation.
    """
    every = found.by_request
    tokens = _of(every.tokens, number).sort_values("position")
    if tokens.empty:
        raise ValueError(
            f"expected one of {len(every.conversations)} conversations, got number {number}"
        )
    shown = tuple(map(show, tokens["token"], tokens["role"]))
    name = f"conversation {number}"
    return Opened(
        tokens=shown,
        projection=torch.tensor(tokens["projection"].to_numpy(np.float32)),
        lens=_lens(name, shown, _of(every.lens, number), found.lens_is_exact, show),
        attention=_attention(name, shown, _of(every.attention, number)),
    )


def _of(table: pd.DataFrame, number: int) -> pd.DataFrame:
    return table[table["conversation"] == number]


def _lens(
    name: str,
    tokens: tuple[str, ...],
    table: pd.DataFrame,
    is_exact: bool,
    show: Callable[[str, str], str],
) -> LensTable:
    table = table.sort_values(["layer", "position", "rank"])
    layers, positions = (sorted(set(table[each])) for each in ("layer", "position"))
    codes, words = pd.factorize(table["token"])
    shape = (len(layers), len(positions), -1)
    return LensTable(
        prompt_id=name,
        tokens=tokens[-len(positions) :],
        layers=tuple(layers),
        ids=torch.tensor(codes).reshape(shape),
        tokens_of={code: show(str(word), "lens") for code, word in enumerate(words)},
        log_probs=torch.tensor(table["log_prob"].to_numpy(np.float32)).reshape(shape),
        is_exact=is_exact,
    )


def _attention(name: str, tokens: tuple[str, ...], table: pd.DataFrame) -> AttentionPatterns | None:
    if table.empty:
        return None
    rows = table.sort_values("layer").to_dict(orient="records")
    packed = [unpack_attention(r["weights"], r["n_heads"], r["n_tokens"]) for r in rows]
    return AttentionPatterns(
        prompt_id=name,
        tokens=tokens,
        layers=tuple(int(row["layer"]) for row in rows),
        patterns=torch.stack(packed),
    )


def quantised(
    patterns: Float[Tensor, "layer head dest src"],
) -> UInt8[Tensor, "layer head dest src"]:
    """Shares of attention as bytes: 255 times the square root, to keep small ones apart."""
    return (patterns.sqrt() * _FULL).round().to(torch.uint8)


def pack_attention(patterns: UInt8[Tensor, "head dest src"]) -> bytes:
    """A layer's attention, compressed."""
    return zlib.compress(patterns.contiguous().numpy().tobytes())


def unpack_attention(weights: bytes, n_heads: int, n_tokens: int) -> Float[Tensor, "head dest src"]:
    """What :func:`pack_attention` packed, as shares from 0 to 1; off by .004 at most."""
    flat = np.frombuffer(zlib.decompress(weights), dtype=np.uint8).astype(np.float32) / _FULL
    return torch.from_numpy(flat.reshape(n_heads, n_tokens, n_tokens) ** 2)
