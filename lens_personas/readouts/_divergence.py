"""How far an edit moves the next-token distribution."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.geometry import next_token_kl
from lens_personas.hooks import Edit, HookFn
from lens_personas.models import DEFAULT_TOKEN_BUDGET, LensModel, Prompt, map_last_logits

PROMPTS_AT_ONCE = 64
"""Prompts whose logits are held at a time: memory does not grow with their number."""


def last_position_kl(
    base_logits: Float[Tensor, "batch d_vocab"], steered_logits: Float[Tensor, "batch d_vocab"]
) -> Float[Tensor, " batch"]:
    """KL(base ‖ steered) of the two next-token distributions in nats, 0 or more.

    Give the logits of one position: casting those of all positions to float64 costs
    thirty times as much. Computed from log-softmax, with nothing added inside logarithms.
    A token that the base never gives adds nothing.
    """
    return next_token_kl(base_logits, steered_logits)


def edit_kl(
    model: LensModel,
    prompts: Sequence[Prompt],
    edits: Sequence[Edit],
    *,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> Float[Tensor, " prompt"]:
    """KL(base ‖ edited) in nats at the last token of each prompt: an edit's side effect.

    Raises:
        ValueError: If there is no prompt, or an edit does not fit the model.
    """
    if not prompts:
        raise ValueError("expected at least one prompt, got none")
    kept = []
    for start in range(0, len(prompts), PROMPTS_AT_ONCE):
        group = prompts[start : start + PROMPTS_AT_ONCE]
        base = map_last_logits(model, group, _same, token_budget=token_budget)
        moved = [_from_row(edit, start) for edit in edits]
        steered = map_last_logits(model, group, _same, edits=moved, token_budget=token_budget)
        kept.append(last_position_kl(base, steered))
    return torch.cat(kept)


def _same(logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, "batch d_vocab"]:
    return logits


def _from_row(edit: Edit, start: int) -> Edit:
    """The edit for a group of prompts of which the first one is row ``start`` of the call."""
    if not edit.per_row:
        return edit

    def for_group(rows: Sequence[int]) -> HookFn:
        return edit.for_rows([row + start for row in rows])

    return replace(edit, hook=for_group)
