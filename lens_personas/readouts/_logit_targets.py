"""Scores of the next token whose shares can be told: sums of logits with weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LogOdds:
    """Log-odds (nats) of a set of tokens: the refusal score, with the refusal tokens."""

    token_ids: tuple[int, ...]
    """The set; a token named twice counts once."""


@dataclass(frozen=True, kw_only=True)
class LogProb:
    """Log-probability (nats) of one token: that with which a known answer begins, say."""

    token_ids: tuple[int, ...]
    """One token a prompt, or one for all."""


@dataclass(frozen=True, kw_only=True)
class LogitDifference:
    """Mean logit of some tokens less the mean logit of others."""

    plus: tuple[tuple[int, ...], ...]
    """Tokens that count for, one set a prompt, or one for all."""
    minus: tuple[tuple[int, ...], ...]
    """Tokens that count against, likewise."""


LogitTarget = LogOdds | LogProb | LogitDifference
"""What a share is of."""


@dataclass(frozen=True, kw_only=True)
class LinearTarget:
    """A target at given logits: ``Σ weights · logits + entropy``, exactly."""

    weights: Float[Tensor, "row d_vocab"]
    """Weight of each logit; they add up to 0 in each row."""
    entropy: Float[Tensor, " row"]
    """What the spread within the sets adds, in nats; 0 where every set has one token."""
    total: Float[Tensor, " row"]
    """The target itself."""


def check_target(target: LogitTarget, *, n_prompts: int, d_vocab: int) -> None:
    """Refuse a target that does not fit the prompts or the vocabulary.

    Raises:
        ValueError: Naming what does not fit.
    """
    sets = _token_sets(target)
    for name, each in sets.items():
        if len(each) not in (1, n_prompts):
            raise ValueError(
                f"expected {name} for each of {n_prompts} prompts, or for all, got {len(each)}"
            )
        ids = [token_id for row in each for token_id in row]
        if not all(each) or min(ids) < 0 or max(ids) >= d_vocab:
            raise ValueError(
                f"expected at least one token in {name}, from 0 to {d_vocab - 1}, got "
                f"{list(each)[:3]}; take the ids from this model's own tokenizer"
            )
        if isinstance(target, LogOdds) and len(set(ids)) == d_vocab:
            raise ValueError(
                f"expected {name} to leave some of the {d_vocab} tokens out, got all of them"
            )


def linear_target(
    target: LogitTarget, logits: Float[Tensor, "row d_vocab"], rows: Sequence[int]
) -> LinearTarget:
    """The target at these logits, of the prompts numbered ``rows``.

    A log-sum-exp is the softmax-weighted mean of its logits plus the entropy of those weights,
    ``lse(R) = Σ_R w (l - log w)``, so log-odds and log-probabilities are linear at the logits'
    own weights, up to that entropy.
    """
    masks = {name: _mask(each, logits, rows) for name, each in _token_sets(target).items()}
    if isinstance(target, LogitDifference):
        plus, minus = (each / each.sum(dim=1, keepdim=True) for each in masks.values())
        weights = plus - minus
        none = logits.new_zeros(len(logits))
        return LinearTarget(weights=weights, entropy=none, total=(weights * logits).sum(dim=1))
    (chosen,) = masks.values()
    others = ~chosen if isinstance(target, LogOdds) else torch.ones_like(chosen)
    plus, h_plus = _spread(logits, chosen)
    minus, h_minus = _spread(logits, others)
    return LinearTarget(
        weights=plus - minus,
        entropy=h_plus - h_minus,
        total=_pooled(logits, chosen).logsumexp(dim=1) - _pooled(logits, others).logsumexp(dim=1),
    )


def _token_sets(target: LogitTarget) -> dict[str, Sequence[Sequence[int]]]:
    if isinstance(target, LogitDifference):
        return {"the tokens for": target.plus, "the tokens against": target.minus}
    if isinstance(target, LogProb):
        return {"one token": [[token_id] for token_id in target.token_ids]}
    return {"the set": [target.token_ids]}


def _mask(
    sets: Sequence[Sequence[int]], logits: Float[Tensor, "row d_vocab"], rows: Sequence[int]
) -> Bool[Tensor, "row d_vocab"]:
    mask = torch.zeros_like(logits, dtype=torch.bool)
    for at, row in enumerate(rows):
        mask[at, list(sets[row if len(sets) > 1 else 0])] = True
    return mask


def _spread(
    logits: Float[Tensor, "row d_vocab"], chosen: Bool[Tensor, "row d_vocab"]
) -> tuple[Float[Tensor, "row d_vocab"], Float[Tensor, " row"]]:
    """Softmax within the set, and its entropy."""
    log_w = _pooled(logits, chosen).log_softmax(dim=1)
    weights = log_w.exp()
    return weights, -(weights * log_w.masked_fill(~chosen, 0)).sum(dim=1)


def _pooled(
    logits: Float[Tensor, "row d_vocab"], chosen: Bool[Tensor, "row d_vocab"]
) -> Float[Tensor, "row d_vocab"]:
    return logits.masked_fill(~chosen, -torch.inf)
