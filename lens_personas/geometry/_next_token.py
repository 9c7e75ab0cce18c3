"""Distributions of the next token: the odds of a set of tokens, and how far two lie apart."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def set_log_odds(
    logits: Float[Tensor, "batch d_vocab"], token_ids: Int[Tensor, " token"]
) -> Float[Tensor, " batch"]:
    """Log-odds (nats, float32) that the next token is one of ``token_ids``.

    ``log p - log(1 - p)`` with p the summed probability of the set; exact, nothing is added
    inside the logarithms. A token named twice counts once.

    >>> set_log_odds(torch.zeros(1, 4), torch.tensor([0, 2]))
    tensor([0.])

    Raises:
        ValueError: If the set is empty, holds the whole vocabulary, or names a token
            outside of it.
    """
    chosen = _members(token_ids, logits.shape[1]).to(logits.device)
    exact = logits.float()
    return exact[:, chosen].logsumexp(dim=1) - exact[:, ~chosen].logsumexp(dim=1)


def next_token_kl(
    base_logits: Float[Tensor, "batch d_vocab"], other_logits: Float[Tensor, "batch d_vocab"]
) -> Float[Tensor, " batch"]:
    """KL(base ‖ other) of two next-token distributions in nats, 0 or more.

    From log-softmax in float64, with nothing added inside logarithms. A token that the base
    never gives adds nothing.
    """
    base = base_logits.double().log_softmax(dim=-1)
    other = other_logits.double().log_softmax(dim=-1)
    probability = base.exp()
    terms = torch.where(probability > 0, probability * (base - other), 0.0)
    # Rounding can leave -1e-17.
    return terms.sum(dim=-1).clamp_min(0).float()


def _members(token_ids: Int[Tensor, " token"], d_vocab: int) -> Bool[Tensor, " d_vocab"]:
    ids = token_ids.cpu().long()
    if len(ids) == 0:
        raise ValueError("expected at least one refusal token, got none; derive them first")
    if int(ids.min()) < 0 or int(ids.max()) >= d_vocab:
        raise ValueError(
            f"expected refusal tokens from 0 to {d_vocab - 1}, got {sorted(set(ids.tolist()))}; "
            "derive them with this model's own tokenizer"
        )
    chosen = torch.zeros(d_vocab, dtype=torch.bool)
    chosen[ids] = True
    if bool(chosen.all()):
        raise ValueError(
            f"expected refusal tokens to leave some of the {d_vocab} tokens out, got all of them; "
            "the odds against the whole vocabulary are not defined"
        )
    return chosen
