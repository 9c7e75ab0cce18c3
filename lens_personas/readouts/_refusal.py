"""How strongly the model is about to refuse, from the first token of its answer."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens_personas.hooks import Edit
from lens_personas.models import DEFAULT_TOKEN_BUDGET, LensModel, Prompt, map_last_logits
from lens_personas.readouts._refusal_tokens import RefusalTokens


def refusal_score(
    logits: Float[Tensor, "batch d_vocab"], token_ids: Int[Tensor, " token"]
) -> Float[Tensor, " batch"]:
    """Log-odds (nats, float32) that the next token is one of ``token_ids``.

    ``log p - log(1 - p)`` with p the summed probability of the set, as in Arditi et al.
    (https://arxiv.org/abs/2406.11717, section 2.3). Their code adds 1e-6 inside both
    logarithms, which bounds the score; this one is exact. A token named twice counts once.

    >>> refusal_score(torch.zeros(1, 4), torch.tensor([0, 2]))
    tensor([0.])

    Raises:
        ValueError: If the set is empty, holds the whole vocabulary, or names a token
            outside of it.
    """
    chosen = _members(token_ids, logits.shape[1]).to(logits.device)
    exact = logits.float()
    return exact[:, chosen].logsumexp(dim=1) - exact[:, ~chosen].logsumexp(dim=1)


def score_refusal(
    model: LensModel,
    prompts: Sequence[Prompt],
    tokens: RefusalTokens,
    *,
    edits: Sequence[Edit] = (),
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> Float[Tensor, " prompt"]:
    """Refusal score (nats) at the last token of each prompt; above 0, refusing is likelier.

    Persona text can change a refusal's opening word, so report a judge's labels beside it.

    Raises:
        ValueError: If there is no prompt, a refusal token is not in the vocabulary, or an
            edit does not fit the model.
    """
    token_ids = torch.tensor(tokens.token_ids, dtype=torch.long)

    def score(logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, "batch 1"]:
        return refusal_score(logits, token_ids)[:, None]

    return map_last_logits(model, prompts, score, edits=edits, token_budget=token_budget)[:, 0]


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
