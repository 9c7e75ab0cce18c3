"""Which positions an edit touches, in a whole pass and in a cached step alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

NamedScope = Literal["all", "prompt", "system", "user", "last_prompt", "generated"]
"""Positions by name; ``generated`` begins at the last prompt token, whose output is answered."""

Scope = NamedScope | tuple[int, ...]
"""A named scope, or explicit positions: counted from 0 at the row's first token, or from -1
backwards at the last prompt token."""


@dataclass(frozen=True, kw_only=True)
class TokenLayout:
    """Where the tokens of a batch lie, independent of padding and of caching."""

    positions: Int[Tensor, "batch pos"]
    """Position of each column in its row, counted from 0; -1 at padding."""
    prompt_length: Int[Tensor, " batch"]
    """Number of prompt tokens, before any answer, in each row."""
    spans: Mapping[str, Int[Tensor, "batch 2"]]
    """First and one-past-last position of each named part, ``(0, 0)`` where a row lacks it."""

    def window(self, start: int, stop: int) -> "TokenLayout":
        """Layout of the columns ``start`` to ``stop`` alone; positions stay absolute."""
        return TokenLayout(
            positions=self.positions[:, start:stop],
            prompt_length=self.prompt_length,
            spans=self.spans,
        )

    def within(self, mask: Bool[Tensor, "batch pos"]) -> "TokenLayout":
        """Layout in which the columns outside ``mask`` count as padding."""
        return TokenLayout(
            positions=torch.where(mask, self.positions, -1),
            prompt_length=self.prompt_length,
            spans=self.spans,
        )

    def select(self, index: Int[Tensor, " chosen"]) -> "TokenLayout":
        """Layout of the rows ``index`` alone, in that order."""
        return TokenLayout(
            positions=self.positions[index],
            prompt_length=self.prompt_length[index],
            spans={name: span[index] for name, span in self.spans.items()},
        )


def scope_mask(scope: Scope, layout: TokenLayout) -> Bool[Tensor, "batch pos"]:
    """Mask of the positions in ``scope``; padding is never in it.

    Raises:
        ValueError: If the scope is not known, if a row lacks the part it names, or if a
            position counted backwards lies before a row's first token.
    """
    positions = layout.positions
    length = layout.prompt_length[:, None]
    real = positions >= 0
    match scope:
        case "all":
            return real
        case "prompt":
            return real & (positions < length)
        case "last_prompt":
            return real & (positions == length - 1)
        case "generated":
            # Includes the last prompt token: its output is the first answer token.
            return real & (positions >= length - 1)
        case "system" | "user":
            return real & _present_span_mask(scope, layout)
        case tuple():
            return real & _explicit_mask(scope, positions, length)
    raise ValueError(
        f"expected a scope among all, prompt, system, user, last_prompt, generated "
        f"or a tuple of positions, got {scope!r}"
    )


def span_mask(name: str, layout: TokenLayout) -> Bool[Tensor, "batch pos"]:
    """Mask of the positions in the named part of each row; empty where a row lacks it.

    Raises:
        ValueError: If the layout knows no part of that name.
    """
    if name not in layout.spans:
        raise ValueError(
            f"expected one of the parts {sorted(layout.spans)}, got {name!r}; "
            "render the prompt with that part or choose another scope"
        )
    span = layout.spans[name]
    return (layout.positions >= span[:, :1]) & (layout.positions < span[:, 1:])


def _present_span_mask(name: str, layout: TokenLayout) -> Bool[Tensor, "batch pos"]:
    mask = span_mask(name, layout)
    span = layout.spans[name]
    lacking = int((span[:, 1] <= span[:, 0]).sum())
    # Checked for every row, so that the outcome does not hang on who shares a batch.
    if lacking:
        raise ValueError(
            f"expected a {name} part in every row, got {lacking} of {len(span)} rows without one; "
            "an edit there would do nothing: render those prompts with it or choose another scope"
        )
    return mask


def _explicit_mask(
    scope: tuple[int, ...], positions: Int[Tensor, "batch pos"], length: Int[Tensor, "batch 1"]
) -> Bool[Tensor, "batch pos"]:
    shortest = int(length.min()) if len(length) else 0
    if scope and min(scope) < -shortest:
        raise ValueError(
            f"expected positions of at least {-shortest} for a prompt of {shortest} tokens, "
            f"got {min(scope)}; count from -1 backwards at the last prompt token"
        )
    mask = torch.zeros_like(positions, dtype=torch.bool)
    for index in scope:
        mask |= positions == (index if index >= 0 else length + index)
    return mask
