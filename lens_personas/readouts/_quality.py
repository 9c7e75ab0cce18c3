"""How likely given answers are: known targets, and generated text under the plain model."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import Edit
from lens_personas.models import DEFAULT_TOKEN_BUDGET, LensModel, Prompt, answer_log_probs


def target_log_prob(
    model: LensModel,
    prompts: Sequence[Prompt],
    *,
    edits: Sequence[Edit] = (),
    mean: bool = False,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> Float[Tensor, " prompt"]:
    """Log-probability (nats) of each prompt's teacher-forced answer; ``mean`` for a token's.

    The sum is the log-probability of the whole answer, so longer answers score lower;
    the mean compares answers of unequal length.

    Raises:
        ValueError: If there is no prompt, one was rendered without an answer, or an edit
            does not fit the model.
    """
    _check_any(prompts)
    tokens = answer_log_probs(model, prompts, edits=edits, token_budget=token_budget)
    return torch.stack([each.mean() if mean else each.sum() for each in tokens])


def perplexity(
    model: LensModel, prompts: Sequence[Prompt], *, token_budget: int = DEFAULT_TOKEN_BUDGET
) -> Float[Tensor, " prompt"]:
    """Perplexity of each prompt's answer under the model without any edit, at least 1.

    Render each answer that was generated under steering with the plain prompt: what
    steering broke then shows as a high value. Looping text has a *low* perplexity, so
    read it beside the share of degenerate texts.

    Raises:
        ValueError: If there is no prompt, or one was rendered without an answer.
    """
    return target_log_prob(model, prompts, mean=True, token_budget=token_budget).neg().exp()


def _check_any(prompts: Sequence[Prompt]) -> None:
    if not prompts:
        raise ValueError("expected at least one prompt with an answer, got none")
