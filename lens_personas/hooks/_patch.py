"""Factory of hooks that put another run's activations in place, for ``Edit(per_pass=True)``."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens_personas.hooks._checks import fitted
from lens_personas.hooks._positions import TokenLayout
from lens_personas.hooks._protocol import HookFn, PassHooks

Align = Literal["start", "end"]
"""Where the positions of two prompts are matched: first tokens, or last prompt tokens."""


def patch_positions(
    source: Float[Tensor, "row pos d_model"],
    layout: TokenLayout,
    *,
    rows: Sequence[int] | None = None,
    align: Align = "start",
) -> PassHooks:
    """Maker of hooks that replace each position by the same position of a cached run.

    Positions are a token's number in its row, so that padding and the key-value cache change
    nothing; which ones are patched is the edit's ``scope``. ``layout`` says where they lie in
    ``source`` and ``rows`` which prompts its rows are (default: 0, 1, …). With ``align="end"``
    last prompt tokens are matched, for prompts of unequal length.

    Raises:
        ValueError: If source, layout and rows disagree. When a pass begins: if a position in
            scope has no counterpart in the source.
    """
    numbers = tuple(range(len(source))) if rows is None else tuple(rows)
    _check_source(source, layout, numbers)
    kept, row_of = source.clone(), {number: index for index, number in enumerate(numbers)}

    def make(rows: Sequence[int], target: TokenLayout, /) -> HookFn:
        index = _source_rows(rows, row_of)
        origin = layout.select(index.to(layout.positions.device))
        columns = _source_columns(origin, target, align)
        states = _gathered(kept[index.to(kept.device)], columns.to(kept.device))
        touched = target.positions >= 0

        def patch(
            activation: Float[Tensor, "batch pos d_model"], /, *, hook: object
        ) -> Float[Tensor, "batch pos d_model"]:
            return _patched(activation, fitted(states, activation), touched)

        return patch

    return make


def _check_source(
    source: Float[Tensor, "row pos d_model"], layout: TokenLayout, numbers: tuple[int, ...]
) -> None:
    if source.shape[:2] != layout.positions.shape:
        raise ValueError(
            f"expected a source of {tuple(layout.positions.shape)} rows and columns as in its "
            f"layout, got {tuple(source.shape[:2])}; give the layout of the run that was read"
        )
    if len(set(numbers)) != len(source):
        raise ValueError(
            f"expected {len(source)} different row numbers, one a source row, got {numbers}"
        )


def _source_rows(rows: Sequence[int], row_of: dict[int, int]) -> Int[Tensor, " batch"]:
    lacking = [row for row in rows if row not in row_of]
    if lacking:
        raise ValueError(
            f"expected prompts among the source's {sorted(row_of)}, got {lacking}; "
            "read the source from every prompt that is patched"
        )
    return torch.tensor([row_of[row] for row in rows], dtype=torch.long)


def _source_columns(
    origin: TokenLayout, target: TokenLayout, align: Align
) -> Int[Tensor, "batch pos"]:
    """Column of the source for each target column; 0 where the target is out of scope."""
    device = origin.positions.device
    wanted, touched = target.positions.to(device), (target.positions >= 0).to(device)
    if align == "end":
        wanted = wanted + (origin.prompt_length - target.prompt_length.to(device))[:, None]
    # The real columns of a row are one run of consecutive positions: one shift places them all.
    first = (origin.positions >= 0).int().argmax(dim=1, keepdim=True)
    columns = wanted + first - origin.positions.gather(1, first)
    inside = columns.clamp(0, origin.positions.shape[1] - 1)
    _check_found(touched, wanted, origin.positions.gather(1, inside))
    return torch.where(touched, inside, 0)


def _check_found(
    touched: Bool[Tensor, "batch pos"],
    wanted: Int[Tensor, "batch pos"],
    found: Int[Tensor, "batch pos"],
) -> None:
    missing = touched & ((found != wanted) | (found < 0))
    if missing.any():
        lacking = sorted(set(wanted[missing].tolist()))
        raise ValueError(
            f"expected a source state for every position in scope, got none at {lacking}; "
            "narrow the scope, or align the prompts at their end"
        )


def _gathered(
    source: Float[Tensor, "batch source d_model"], columns: Int[Tensor, "batch pos"]
) -> Float[Tensor, "batch pos d_model"]:
    return source.gather(1, columns[..., None].expand(-1, -1, source.shape[-1]))


def _patched(
    activation: Float[Tensor, "batch pos d_model"],
    states: Float[Tensor, "batch pos d_model"],
    touched: Bool[Tensor, "batch pos"],
) -> Float[Tensor, "batch pos d_model"]:
    mask = touched.to(activation.device)[..., None]
    return torch.where(mask, states.to(activation.dtype), activation)
