"""A forward pass block by block: shared prefixes run once, the last block where it is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens_personas.hooks import Edit, HookFn, Site, TokenLayout, compile_edits, scope_mask
from lens_personas.models._drive import BlockDriver, Frame, block_driver
from lens_personas.models._keys_values import KeysValues
from lens_personas.models._types import LensModel, SharedPrefix, TokenBatch

Place = tuple[Site, int]

Take = Callable[[Place, Float[Tensor, "batch pos d_model"], TokenLayout], None]
"""Takes what is read at a place, all columns of the batch that ran, with their layout."""


def can_share(prefix: SharedPrefix, layout: TokenLayout, edits: Sequence[Edit]) -> bool:
    """Whether rows with one prefix are also edited alike on it."""
    masks = [(edit, scope_mask(edit.scope, layout)[:, : prefix.n_columns]) for edit in edits]
    return all(
        not mask.any() if edit.per_row or edit.per_pass else _same_on(prefix, mask)
        for edit, mask in masks
    )


def can_trim(
    model: LensModel,
    batch: TokenBatch,
    edits: Sequence[Edit],
    reads: Sequence[Place],
    output: Place,
    only: Int[Tensor, " batch"],
) -> bool:
    """Whether the last block may run at the columns ``only`` alone: nothing else is seen of it."""
    layer = output[1]
    n_shared = 0 if batch.prefix is None else batch.prefix.n_columns
    return (
        model.card.drives_blocks
        and all((edit.site, edit.layer) != (Site.RESID_PRE, layer) for edit in edits)
        and all(place == output for place in reads if place[1] == layer)
        # A shared column belongs to no row alone.
        and bool((only >= n_shared).all())
    )


def column_of(
    resid: Float[Tensor, "batch pos d_model"], at: Int[Tensor, " batch"]
) -> Float[Tensor, "batch 1 d_model"]:
    """Column ``at`` of each row."""
    # Blocks may lie on another device than the tokens.
    at = at.to(resid.device)
    return resid[torch.arange(len(at), device=at.device), at][:, None]


def layout_at(layout: TokenLayout, at: Int[Tensor, " batch"]) -> TokenLayout:
    """Layout of column ``at`` of each row alone."""
    return TokenLayout(
        positions=layout.positions.gather(1, at[:, None]),
        prompt_length=layout.prompt_length,
        spans=layout.spans,
    )


def run_driven(
    model: LensModel,
    batch: TokenBatch,
    *,
    edits: Sequence[Edit],
    reads: Sequence[Place],
    output: Place,
    take: Take,
    only: Int[Tensor, " batch"] | None,
) -> Float[Tensor, "batch pos d_model"]:
    """Residual at ``output``; with ``only`` at that column of each row alone.

    Raises:
        ValueError: If the model's blocks cannot be driven.
        HookCountError: If a hook did not fire exactly once.
    """
    work = _Pass(
        driver=block_driver(model), batch=batch, edits=tuple(edits), reads=tuple(reads), take=take
    )
    resid = work.driver.embed(batch.tokens, batch.layout.positions)
    main = resid[:, work.n_shared :]
    head = None if batch.prefix is None else resid[batch.prefix.rows, : work.n_shared]
    for layer in range(output[1] if only is not None else output[1] + 1):
        pieces: dict[Site, Tensor] = {}
        past = None
        if head is not None and work.head is not None:
            ran = work.driver.block(
                layer, head, work.head.frame, hooks=work.head_hooks(layer, pieces), keep=True
            )
            head, past = ran.resid, work.spread(ran.keys_values)
        hooks = work.main_hooks(layer, pieces)
        main = work.driver.block(layer, main, work.main.frame, past=past, hooks=hooks).resid
    if only is not None:
        return work.trimmed(output[1], head, main, only)
    return main if head is None else work.whole(head, main)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Columns that run together."""

    frame: Frame
    hooks: Mapping[Place, HookFn]


@dataclass(frozen=True, kw_only=True)
class _Pass:
    """One pass over a batch: the distinct prefixes, if any, and the columns after them."""

    driver: BlockDriver
    batch: TokenBatch
    edits: tuple[Edit, ...]
    reads: tuple[Place, ...]
    take: Take

    @property
    def n_shared(self) -> int:
        return 0 if self.batch.prefix is None else self.batch.prefix.n_columns

    @cached_property
    def head(self) -> _Part | None:
        prefix = self.batch.prefix
        if prefix is None:
            return None
        layout = self.batch.layout.select(prefix.rows).window(0, prefix.n_columns)
        rows = [self.batch.rows[row] for row in prefix.rows.tolist()]
        return _Part(
            frame=self.driver.frame(layout.positions, prefix.n_columns),
            hooks=compile_edits(self.edits, layout, rows),
        )

    @cached_property
    def main(self) -> _Part:
        n_columns = self.batch.tokens.shape[1]
        layout = self.batch.layout
        return _Part(
            frame=self.driver.frame(layout.positions, n_columns - self.n_shared),
            hooks=compile_edits(
                self.edits, layout.window(self.n_shared, n_columns), self.batch.rows
            ),
        )

    def spread(self, known: KeysValues | None) -> KeysValues | None:
        """Keys and values of the prefixes, for each row."""
        if known is None or self.batch.prefix is None:
            return known
        return known.select(self.batch.prefix.row_of)

    def whole(
        self,
        head: Float[Tensor, "prefix before d_model"],
        main: Float[Tensor, "batch after d_model"],
    ) -> Float[Tensor, "batch pos d_model"]:
        """All columns of all rows."""
        assert self.batch.prefix is not None
        row_of = self.batch.prefix.row_of.to(head.device)
        return torch.cat([head[row_of], main], dim=1)

    def head_hooks(self, layer: int, pieces: dict[Site, Tensor]) -> dict[Site, HookFn]:
        """Edits on the prefixes; what is read there waits in ``pieces`` for the rest."""
        assert self.head is not None

        def keep(site: Site, activation: Tensor) -> None:
            pieces[site] = activation

        return self._hooks(self.head, layer, keep)

    def main_hooks(self, layer: int, pieces: dict[Site, Tensor]) -> dict[Site, HookFn]:
        """Edits on the rest, whose activations are taken with those in ``pieces``."""

        def hand_over(site: Site, activation: Tensor) -> None:
            whole = self.whole(pieces[site], activation) if pieces else activation
            self.take((site, layer), whole, self.batch.layout)

        return self._hooks(self.main, layer, hand_over)

    def _hooks(
        self, part: _Part, layer: int, seen: Callable[[Site, Tensor], None]
    ) -> dict[Site, HookFn]:
        hooks = {site: hook for (site, at), hook in part.hooks.items() if at == layer}
        for site, at in self.reads:
            if at == layer:
                hooks[site] = reading(seen, site, hooks.get(site))
        return hooks

    def trimmed(
        self,
        layer: int,
        head: Float[Tensor, "prefix before d_model"] | None,
        main: Float[Tensor, "batch after d_model"],
        only: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch 1 d_model"]:
        """The last block at one column of each row: of the others only keys and values."""
        known = self.driver.keys_values(layer, main, self.main.frame)
        if head is not None and self.head is not None:
            before = self.spread(self.driver.keys_values(layer, head, self.head.frame))
            known = known if before is None else before.joined(known)
        layout = layout_at(self.batch.layout, only)
        edits = [edit for edit in self.edits if edit.layer == layer]
        compiled = compile_edits(edits, layout, self.batch.rows)
        column = column_of(main, only - self.n_shared)[:, 0]
        positions = self.batch.layout.positions
        hooks = {site: hook for (site, _), hook in compiled.items()}
        out = self.driver.last(layer, column, known, positions, only, hooks=hooks)[:, None]
        if (Site.RESID_POST, layer) in self.reads:
            self.take((Site.RESID_POST, layer), out, layout)
        return out


def reading(seen: Callable[[Site, Tensor], None], site: Site, edit: HookFn | None) -> HookFn:
    """Hook that shows what is at ``site`` after its edit."""

    def read(activation: Tensor, /, *, hook: object) -> Tensor:
        found = activation if edit is None else edit(activation, hook=hook)
        seen(site, found)
        return found

    return read


def _same_on(prefix: SharedPrefix, mask: Bool[Tensor, "batch columns"]) -> bool:
    return bool((mask == mask[prefix.rows][prefix.row_of]).all())
