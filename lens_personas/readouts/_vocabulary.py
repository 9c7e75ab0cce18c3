"""Next-token distributions of many residuals, a piece of the vocabulary at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

LogitsOf = Callable[[Tensor, slice | Tensor], Tensor]
"""Logits of rows of residuals, ``[row, chosen]``, for some entries of the vocabulary."""

_LOW: Final = 2**32 - 1


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """What to give of a distribution besides the asked tokens."""

    top_k: int = 0
    """Number of the most likely tokens."""
    entropy: bool = False
    """Whether to give the entropy."""
    kl_to_final: bool = False
    """Whether to give KL(last layer ‖ this layer)."""


@dataclass(frozen=True, kw_only=True)
class Distributions:
    """What is kept of next-token distributions; nothing of it grows with the vocabulary."""

    log_prob: Float[Tensor, "layer read token"]
    """Log-probability of the asked tokens in nats."""
    rank: Int[Tensor, "layer read token"]
    """Tokens before each: 0 is the top; of equal logits the lower id comes first."""
    top_ids: Int[Tensor, "layer read top"]
    """Most likely tokens, the first one first; of equal logits the lower id."""
    top_log_prob: Float[Tensor, "layer read top"]
    """Their log-probabilities in nats."""
    entropy: Float[Tensor, "layer read"] | None
    """Entropy in nats; None unless asked for."""
    kl_to_final: Float[Tensor, "layer read"] | None
    """KL(last layer ‖ this layer) in nats; None unless asked for."""


@torch.no_grad()
def distributions(
    logits_of: LogitsOf,
    resid: Float[Tensor, "layer read d_model"],
    token_ids: Int[Tensor, "read token"],
    shapes: Shapes,
    *,
    final: int,
    d_vocab: int,
    vocab_chunk: int,
) -> Distributions:
    """``resid`` through the final norm and the unembedding, ``vocab_chunk`` tokens at a time.

    One pass, in which sums run along under the largest logit so far
    (https://arxiv.org/abs/1805.02867). Pieces are float32 and sums over them float64
    whatever the model's dtype. ``final`` is the model's last layer on the ``layer`` axis.
    """
    own = _own_logits(logits_of, resid, token_ids, vocab_chunk)
    rank = torch.zeros(own.shape, dtype=torch.long, device=own.device)
    sums = _Sums(resid, final if shapes.kl_to_final else None)
    top = _Top(resid, shapes.top_k)
    for start in range(0, d_vocab, vocab_chunk):
        piece = slice(start, min(start + vocab_chunk, d_vocab))
        logits = _logits(logits_of, resid, piece)
        _put(logits, own, token_ids, start)
        rank += n_before(logits, own, token_ids, start)
        top.add(logits, start)
        sums.add(logits, entropy=shapes.entropy)
    log_total = sums.log_total()[..., None]
    return Distributions(
        log_prob=(own - log_total).float(),
        rank=rank,
        top_ids=top.ids,
        top_log_prob=(top.logits - log_total).float(),
        entropy=sums.entropy().float() if shapes.entropy else None,
        kl_to_final=sums.kl_to_final().float() if shapes.kl_to_final else None,
    )


def n_before(
    logits: Float[Tensor, "layer read chunk"],
    own: Float[Tensor, "layer read token"],
    token_ids: Int[Tensor, "read token"],
    start: int,
) -> Int[Tensor, "layer read token"]:
    """Tokens of the piece that begins at ``start`` which come before each asked one.

    Of equal logits the lower id comes first.
    """
    ids = torch.arange(start, start + logits.shape[-1], device=logits.device)
    before = torch.empty(own.shape, dtype=torch.long, device=own.device)
    for column in range(token_ids.shape[1]):
        mine, token = own[..., column, None], token_ids[:, column, None]
        # "Not below or equal" counts NaN as before, so that broken logits never look top-1.
        above = logits.shape[-1] - (logits <= mine).sum(dim=-1)
        before[..., column] = above + ((logits == mine) & (ids < token)).sum(dim=-1)
    return before


class _Sums:
    """Sums over the vocabulary so far, each under the largest logit so far."""

    def __init__(self, resid: Float[Tensor, "layer read d_model"], final: int | None) -> None:
        # The one kind of device that has no float64.
        exact = torch.float32 if resid.device.type == "mps" else torch.float64
        self._final = final
        self._largest = torch.full(resid.shape[:2], -torch.inf, dtype=exact, device=resid.device)
        self._total = torch.zeros_like(self._largest)
        self._weighted = torch.zeros_like(self._largest)
        self._cross = torch.zeros_like(self._largest)

    def add(self, logits: Float[Tensor, "layer read chunk"], *, entropy: bool) -> None:
        """Count one piece in."""
        largest = torch.maximum(self._largest, logits.amax(dim=-1))
        scale = (self._largest - largest).exp()
        share = (logits - largest[..., None].to(logits.dtype)).exp_()
        self._largest = largest
        self._total = self._total * scale + share.sum(dim=-1)
        if entropy:
            self._weighted = self._weighted * scale + (share * logits).sum(dim=-1)
        if self._final is not None:
            apart = logits[self._final] - logits
            cross = apart.mul_(share[self._final]).sum(dim=-1)
            self._cross = self._cross * scale[self._final] + cross

    def log_total(self) -> Float[Tensor, "layer read"]:
        """Logarithm of the sum of exp(logit)."""
        return self._largest + self._total.log()

    def entropy(self) -> Float[Tensor, "layer read"]:
        """Entropy in nats."""
        # Rounding can leave -1e-9.
        return (self.log_total() - self._weighted / self._total).clamp_min(0)

    def kl_to_final(self) -> Float[Tensor, "layer read"]:
        """KL(final ‖ layer) in nats."""
        assert self._final is not None
        log_total = self.log_total()
        gap = self._cross / self._total[self._final] - log_total[self._final] + log_total
        return gap.clamp_min(0)


class _Top:
    """The ``k`` most likely tokens so far, as integers that sort by logit and then by id."""

    def __init__(self, resid: Float[Tensor, "layer read d_model"], k: int) -> None:
        self._k = k
        self._keys = torch.empty(*resid.shape[:2], 0, dtype=torch.long, device=resid.device)

    def add(self, logits: Float[Tensor, "layer read chunk"], start: int) -> None:
        """Let one piece compete."""
        if not self._k:
            return
        ids = torch.arange(start, start + logits.shape[-1], device=logits.device)
        # Adding zero gives both zeros one bit pattern.
        keys = (_flipped((logits + 0.0).view(torch.int32)).long() << 32) + (_LOW - ids)
        known = torch.cat([self._keys, keys], dim=-1)
        self._keys = known.topk(min(self._k, known.shape[-1]), dim=-1).values

    @property
    def ids(self) -> Int[Tensor, "layer read top"]:
        """The tokens, the most likely first."""
        return _LOW - (self._keys & _LOW)

    @property
    def logits(self) -> Float[Tensor, "layer read top"]:
        """Their logits."""
        return _flipped((self._keys >> 32).int()).view(torch.float32)


def _flipped(bits: Int[Tensor, "*any"]) -> Int[Tensor, "*any"]:
    """Bits of a float as an integer of the same order, and back."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def _logits(
    logits_of: LogitsOf, resid: Float[Tensor, "layer read d_model"], tokens: slice | Tensor
) -> Float[Tensor, "layer read chunk"]:
    rows = rearrange(resid, "layer read d_model -> (layer read) d_model")
    logits = logits_of(rows, tokens).float()
    return rearrange(logits, "(layer read) chunk -> layer read chunk", layer=len(resid))


def _own_logits(
    logits_of: LogitsOf,
    resid: Float[Tensor, "layer read d_model"],
    token_ids: Int[Tensor, "read token"],
    vocab_chunk: int,
) -> Float[Tensor, "layer read token"]:
    """Logits of the asked tokens, from their columns of the unembedding alone."""
    own = resid.new_empty(len(resid), *token_ids.shape, dtype=torch.float32)
    asked, place = token_ids.unique(return_inverse=True)
    for start in range(0, len(asked), vocab_chunk):
        piece = asked[start : start + vocab_chunk]
        logits = _logits(logits_of, resid, piece)
        read, token = ((place >= start) & (place < start + len(piece))).nonzero().unbind(dim=1)
        own[:, read, token] = logits[:, read, place[read, token] - start]
    return own


def _put(
    logits: Float[Tensor, "layer read chunk"],
    own: Float[Tensor, "layer read token"],
    token_ids: Int[Tensor, "read token"],
    start: int,
) -> None:
    """Give the asked tokens the logits already known, which another product can round apart."""
    inside = (token_ids >= start) & (token_ids < start + logits.shape[-1])
    read, token = inside.nonzero().unbind(dim=1)
    logits[:, read, token_ids[read, token] - start] = own[:, read, token]
