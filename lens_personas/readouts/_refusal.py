"""How strongly the model is about to refuse, from the first token of its answer."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.geometry import set_log_odds
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
    return set_log_odds(logits, token_ids)


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
