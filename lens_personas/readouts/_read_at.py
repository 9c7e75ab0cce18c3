"""One position of each prompt from which a head looks or a token is written."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lens_personas.models import Prompt, TokenBatch
from lens_personas.readouts._lens import LensPosition, position_of

ReadPosition = LensPosition | Literal["user_end"]
"""As for the lens; or the last token of the last user turn: the request's end."""

SourceTokens = str | Sequence[tuple[int, int]] | Bool[Tensor, "prompt pos"]
"""Tokens looked at: a part of each prompt by name (a key of ``spans``: ``system``, a mark), first
and one-past-last position in each, or a mask by position."""


def read_position(prompt: Prompt, at: ReadPosition) -> int:
    """The position, counted from 0.

    Raises:
        ValueError: If the prompt has no such position.
    """
    if at != "user_end":
        return position_of(prompt, at)
    end = prompt.spans.get("user", (0, 0))[1]
    if not end:
        raise ValueError(
            f"expected a user turn in prompt {prompt.prompt_id!r}, it has none; render it from "
            "turns, or read at another position"
        )
    return end - 1


def columns_at(batch: TokenBatch, positions: Sequence[int]) -> Int[Tensor, " batch"]:
    """Column of each row's position, of ``positions`` by prompt."""
    wanted = torch.tensor([positions[row] for row in batch.rows], device=batch.tokens.device)
    return (batch.layout.positions == wanted[:, None]).int().argmax(dim=1)


def source_mask(
    prompts: Sequence[Prompt], source: SourceTokens, positions: Sequence[int]
) -> Bool[Tensor, "prompt longest"]:
    """Tokens looked at, by position in each prompt; those after ``positions`` are left out.

    Raises:
        ValueError: If there is not one row a prompt, or a prompt has no such token to look at.
    """
    longest = max(len(prompt.ids) for prompt in prompts)
    mask = torch.zeros(len(prompts), longest, dtype=torch.bool)
    if isinstance(source, str):
        source = [prompt.spans.get(source, (0, 0)) for prompt in prompts]
    if len(source) != len(prompts):
        raise ValueError(
            f"expected source tokens for each of {len(prompts)} prompts, got {len(source)} rows"
        )
    for row, (prompt, at) in enumerate(zip(prompts, positions, strict=True)):
        if isinstance(source, Tensor):
            width = min(source.shape[1], len(prompt.ids))
            mask[row, :width] = source[row, :width].cpu()
        else:
            mask[row, slice(*source[row])] = True
        mask[row, at + 1 :] = False
        if not bool(mask[row].any()):
            raise ValueError(
                f"expected prompt {prompt.prompt_id!r} to hold source tokens up to position {at}, "
                "from which it is read, it has none there; check the span or the position"
            )
    return mask


def in_columns(mask: Bool[Tensor, "prompt pos"], batch: TokenBatch) -> Bool[Tensor, "batch column"]:
    """The mask by column of the batch; padding is never in it."""
    positions = batch.layout.positions.cpu()
    rows = mask[list(batch.rows)]
    return rows.gather(1, positions.clamp(min=0)) & (positions >= 0)
