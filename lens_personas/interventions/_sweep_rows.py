"""Where the rows of a sweep leave their prompts' base runs: by scope and by causality."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from lens_personas.hooks import Edit, HookFn, Scope, Site, TokenLayout, in_order, scope_mask
from lens_personas.interventions._sweep_types import Arm, Cell
from lens_personas.models import TokenBatch

_STAGE = {
    Site.RESID_PRE: 0,
    Site.ATTN_OUT: 1,
    Site.RESID_MID: 2,
    Site.MLP_OUT: 3,
    Site.RESID_POST: 4,
}
INSIDE = (Site.ATTN_OUT, Site.RESID_MID, Site.MLP_OUT)
"""Sites between a block's input and its output."""


class Row(NamedTuple):
    """One row of a sweep, against the base run of the batch that holds its prompt."""

    join: int
    """First block the row runs by itself; the number of layers where it runs none."""
    cell: Cell
    """Whose row it is."""
    at: int
    """Row of its prompt in the batch."""
    start: int
    """First column that can differ from the base run."""
    lone: int | None
    """Column that block ``join - 1`` runs by itself, where its edits touch no other."""


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """Rows on the prompts of one batch."""

    rows: tuple[Row, ...]
    """Rows that leave the base run."""
    same: tuple[tuple[Cell, int], ...]
    """Rows whose last token no edit can reach, with the row of their prompt in the batch."""


class _Touch(NamedTuple):
    """What a scope covers of one row."""

    n_columns: int
    first: int
    last: bool


def leaving(batch: TokenBatch, arms: Sequence[Arm], n_layers: int) -> Leaving:
    """The arms' rows on the prompts of a left-padded batch.

    Raises:
        ValueError: If a scope does not fit a prompt.
    """
    local = {prompt: at for at, prompt in enumerate(batch.rows)}
    known: dict[tuple[Scope, tuple[int, ...]], list[_Touch]] = {}
    rows: list[Row] = []
    same: list[tuple[Cell, int]] = []
    for number, arm in enumerate(arms):
        cells = [Cell(number, row, p) for row, p in enumerate(arm.prompts) if p in local]
        at = tuple(local[cell.prompt] for cell in cells)
        for edit in arm.edits if cells else ():
            if (edit.scope, at) not in known:
                known[edit.scope, at] = _touched(edit.scope, at, batch.layout)
        touched = [known[edit.scope, at] for edit in arm.edits] if cells else []
        for index, cell in enumerate(cells):
            reach = [(e, t[index]) for e, t in zip(arm.edits, touched, strict=True)]
            row = _row(cell, at[index], reach, n_layers, batch.tokens.shape[1])
            if row is None:
                same.append((cell, at[index]))
            else:
                rows.append(row)
    return Leaving(rows=tuple(sorted(rows, key=lambda row: row[:2])), same=tuple(same))


def hook_for(
    place: tuple[Site, int],
    rows: Sequence[Row],
    arms: Sequence[Arm],
    layout_of: "LayoutOf",
) -> HookFn | None:
    """Hook that gives each run of rows of one arm the arm's edits at ``place``; None without any.

    Raises:
        ValueError: If a scope does not fit the batch.
    """
    parts: list[tuple[int, HookFn | None]] = []
    start = 0
    for number, run in groupby(rows, key=lambda row: row.cell.arm):
        size = len(list(run))
        edits = [e for e in arms[number].edits if (e.site, e.layer) == place]
        parts.append((size, layout_of.hook(edits, rows[start : start + size]) if edits else None))
        start += size
    if all(hook is None for _, hook in parts):
        return None
    return parts[0][1] if len(parts) == 1 else _by_part(parts)


@dataclass(frozen=True, kw_only=True)
class LayoutOf:
    """The batch's layout, cut to the columns of a pass."""

    layout: TokenLayout
    """Layout of the whole batch."""
    start: int
    """First column of the pass; it goes to the last one."""

    def hook(self, edits: Sequence[Edit], rows: Sequence[Row]) -> HookFn:
        """The edits for these rows, in order."""
        at = torch.tensor([row.at for row in rows], device=self.layout.positions.device)
        layout = self.cut(at, rows)
        numbers = [row.cell.row for row in rows]
        hooks = [edit.for_pass(numbers, layout) for edit in edits]
        return hooks[0] if len(hooks) == 1 else in_order(hooks)

    def cut(self, at: Int[Tensor, " chosen"], rows: Sequence[Row]) -> TokenLayout:
        """Layout of these rows' columns."""
        return self.layout.select(at).window(self.start, self.layout.positions.shape[1])


class LoneLayoutOf(LayoutOf):
    """The batch's layout, cut to the one column each row runs by itself."""

    def cut(self, at: Int[Tensor, " chosen"], rows: Sequence[Row]) -> TokenLayout:
        """Layout of one column a row."""
        whole = self.layout.select(at)
        columns = torch.tensor([[row.lone] for row in rows], device=at.device)
        return TokenLayout(
            positions=whole.positions.gather(1, columns),
            prompt_length=whole.prompt_length,
            spans=whole.spans,
        )


def last_place(arm: Arm) -> tuple[int, int]:
    """Layer of the arm's last edit, and its stage within the block."""
    return max((edit.layer, _STAGE[edit.site]) for edit in arm.edits)


def _touched(scope: Scope, at: tuple[int, ...], layout: TokenLayout) -> list[_Touch]:
    mask = scope_mask(scope, layout.select(torch.tensor(at, device=layout.positions.device)))
    counts, firsts = mask.sum(dim=1).tolist(), mask.int().argmax(dim=1).tolist()
    return list(map(_Touch, counts, firsts, mask[:, -1].tolist()))


def _row(
    cell: Cell, at: int, reach: Sequence[tuple[Edit, _Touch]], n_layers: int, width: int
) -> Row | None:
    """Where the row leaves; None where it cannot."""
    acting = [(edit, touch) for edit, touch in reach if touch.n_columns]
    if not acting:
        return None
    block, stage = min((edit.layer, _STAGE[edit.site]) for edit, _ in acting)
    start = min(touch.first for _, touch in acting)
    here = [touch for edit, touch in acting if edit.layer == block]
    if stage == 0:
        return Row(block, cell, at, start, None)
    if block == n_layers - 1:
        # Nothing follows that could carry another column's change to the last one.
        if not any(touch.last for touch in here):
            return None
        lone = None if stage == _STAGE[Site.RESID_POST] else width - 1
        return Row(n_layers, cell, at, width - 1, lone)
    if stage == _STAGE[Site.RESID_POST]:
        return Row(block + 1, cell, at, start, None)
    if all(touch.n_columns == 1 and touch.first == here[0].first for touch in here):
        return Row(block + 1, cell, at, start, here[0].first)
    return Row(block, cell, at, start, None)


def _by_part(parts: Sequence[tuple[int, HookFn | None]]) -> HookFn:
    sizes = [size for size, _ in parts]

    def edit(activation: Tensor, /, *, hook: object) -> Tensor:
        pieces = activation.split(sizes)
        return torch.cat(
            [
                piece if each is None else each(piece, hook=hook)
                for piece, (_, each) in zip(pieces, parts, strict=True)
            ]
        )

    return edit
