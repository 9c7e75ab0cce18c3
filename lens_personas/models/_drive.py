"""Single blocks driven from a residual at hand, with keys and values kept by us.

``HookedTransformer`` can start at a layer, the bridge cannot; neither can run some columns
against the keys and values of others. Both run a block as a module, so that is what is driven:
with the arguments the model itself gives its blocks, and a cache of ours in place of its own.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.hooks import HookFn, Site
from lens_personas.models._backends import Counted
from lens_personas.models._blocks import (
    BlockCache,
    Blocks,
    Call,
    KeysValuesReadyError,
    blocks_of,
)
from lens_personas.models._keys_values import KeysValues
from lens_personas.models._types import LensModel


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Where the columns of one pass lie."""

    n_rows: int
    """Rows of the batch."""
    n_cached: int
    """Columns whose keys and values come from a cache; the columns that run follow them."""
    calls: tuple[Call, ...]
    """What each block is called with, in the backend's own terms."""


@dataclass(frozen=True, kw_only=True)
class BlockRun:
    """What one block left behind."""

    resid: Float[Tensor, "batch new d_model"]
    """``resid_post`` of the columns that ran."""
    keys_values: KeysValues | None
    """Keys and values of the cached columns and of those that ran, where they were asked for."""


@dataclass(frozen=True, kw_only=True)
class BlockDriver:
    """Runs one block at a time; get one from :func:`block_driver`.

    Columns of a row need not be real ones: a position of -1 marks padding, on either side.
    """

    model: LensModel
    """The model."""
    blocks: Blocks
    """Its blocks."""

    @torch.no_grad()
    def embed(
        self, tokens: Int[Tensor, "batch pos"], positions: Int[Tensor, "batch pos"]
    ) -> Float[Tensor, "batch pos d_model"]:
        """``resid_pre`` of block 0, all columns of a padded batch."""
        return self.blocks.embed(tokens, positions)

    @torch.no_grad()
    def frame(self, positions: Int[Tensor, "batch total"], n_new: int) -> Frame:
        """Frame of the last ``n_new`` columns; keys and values of those before are cached.

        Raises:
            ValueError: If there are not that many columns.
        """
        total = positions.shape[1]
        if not 0 < n_new <= total:
            raise ValueError(f"expected 1 to {total} columns to run, got {n_new}")
        return Frame(
            n_rows=len(positions),
            n_cached=total - n_new,
            calls=self.blocks.calls(positions, n_new),
        )

    @torch.no_grad()
    def block(
        self,
        layer: int,
        resid: Float[Tensor, "batch new d_model"],
        frame: Frame,
        *,
        past: KeysValues | None = None,
        hooks: Mapping[Site, HookFn] | None = None,
        keep: bool = False,
    ) -> BlockRun:
        """Run block ``layer`` on ``resid``, its ``resid_pre``, with hooks at its sites.

        Raises:
            HookCountError: If a hook did not fire exactly once.
            ValueError: If ``past`` does not hold the frame's cached columns.
        """
        n_past = 0 if past is None else past.n_columns
        if n_past != frame.n_cached:
            raise ValueError(
                f"expected keys and values of {frame.n_cached} cached columns, got {n_past}; "
                "make the frame and the past from the same columns"
            )
        cache = None
        if keep or past is not None:
            cache = BlockCache(past, axis=self.blocks.axis)
        out = self._run(layer, resid, frame, cache, hooks or {})
        return BlockRun(resid=out, keys_values=cache.kept if cache is not None else None)

    @torch.no_grad()
    def keys_values(
        self, layer: int, resid: Float[Tensor, "batch new d_model"], frame: Frame
    ) -> KeysValues:
        """Keys and values of the columns of ``resid`` alone: the rest of the block is left out.

        Raises:
            RuntimeError: If the block never came to its cache.
        """
        cache = BlockCache(None, axis=self.blocks.axis, stop=True)
        # Its own place in the row is in the frame; what lies before is not looked at.
        with suppress(KeysValuesReadyError):
            self.blocks.run(layer, resid, frame.calls[layer], cache)
        if cache.kept is None:
            raise RuntimeError(
                f"expected block {layer} to hand its keys and values to the cache, it did not; "
                "run the block whole"
            )
        return cache.kept

    @torch.no_grad()
    def last(
        self,
        layer: int,
        resid: Float[Tensor, "batch d_model"],
        keys_values: KeysValues,
        positions: Int[Tensor, "batch pos"],
        at: Int[Tensor, " batch"],
        *,
        hooks: Mapping[Site, HookFn] | None = None,
    ) -> Float[Tensor, "batch d_model"]:
        """``resid_post`` at column ``at`` of each row alone.

        ``resid`` is the block's ``resid_pre`` there; ``keys_values`` and ``positions`` are of
        all columns. Of those after ``at`` nothing is seen.

        Raises:
            HookCountError: If a hook did not fire exactly once.
        """
        total = positions.shape[1]
        if bool((at != total - 1).any()):
            # Rolled so that each row ends at its column: windows count columns, not positions.
            columns = (torch.arange(total, device=at.device) + at[:, None] + 1) % total
            kept = columns <= at[:, None]
            positions = torch.where(kept, positions.gather(1, columns), -1)
            keys_values = keys_values.gathered(columns)
        cache = BlockCache(keys_values, axis=self.blocks.axis, whole=True)
        frame = self.frame(positions, 1)
        return self._run(layer, resid[:, None], frame, cache, hooks or {})[:, 0]

    def _run(
        self,
        layer: int,
        resid: Float[Tensor, "batch new d_model"],
        frame: Frame,
        cache: BlockCache | None,
        hooks: Mapping[Site, HookFn],
    ) -> Float[Tensor, "batch new d_model"]:
        outer = (Site.RESID_PRE, Site.RESID_POST)
        counted = Counted({(s, layer): hook for s, hook in hooks.items() if s not in outer})
        if Site.RESID_PRE in hooks:
            resid = hooks[Site.RESID_PRE](resid, hook=self._point(Site.RESID_PRE, layer))
        with counted.attached(self._points):
            out = self.blocks.run(layer, resid, frame.calls[layer], cache)
        counted.check(layer)
        if Site.RESID_POST in hooks:
            out = hooks[Site.RESID_POST](out, hook=self._point(Site.RESID_POST, layer))
        return out

    def _point(self, site: Site, layer: int) -> object:
        return self._points.get(site.hook_name(layer))

    @cached_property
    def _points(self) -> dict[str, Any]:
        return dict(self.model.wrapped.hook_dict)


def block_driver(model: LensModel) -> BlockDriver:
    """Driver of the model's blocks.

    Raises:
        ValueError: If the model's blocks cannot be driven (see ``card.drives_blocks``).
    """
    if not model.card.drives_blocks:
        raise ValueError(
            f"expected a model whose blocks can be driven one by one, got {model.card.model_id} "
            f"on {model.card.backend}, where that does not give the model's own residuals; "
            "run whole passes instead (resume=False)"
        )
    return unchecked_driver(model)


def unchecked_driver(model: LensModel) -> BlockDriver:
    """The driver, also where it is not known yet whether it works.

    Raises:
        TypeError: If the model is of neither backend.
    """
    return BlockDriver(model=model, blocks=blocks_of(model))
