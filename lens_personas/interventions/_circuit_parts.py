"""Attention and MLP of a block, each on an input of its own, in runs of circuits."""

from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.hooks import Edit, HookFn, Site
from lens_personas.models import (
    BlockDriver,
    Frame,
    KeysValues,
    LensModel,
    TokenBatch,
    block_driver,
    run_batch,
)


class Attended(NamedTuple):
    """What the attention of a block wrote."""

    z: Float[Tensor, "row column head d_head"]
    """By head, before ``W_O``."""
    attn_out: Float[Tensor, "row column d_model"]
    """All heads together, bias included."""


@runtime_checkable
class Parts(Protocol):
    """The parts of a model, for rows of one batch; the last block may give the last column alone.

    A row is a prompt of the batch; ``rows`` says which, and a prompt may serve many rows.
    """

    @property
    def start(self) -> int:
        """First column that runs; those before are as in the clean run."""
        ...

    def attention(
        self, layer: int, resid: Float[Tensor, "row column d_model"], rows: Int[Tensor, " row"]
    ) -> Attended:
        """What the attention writes that reads ``resid``."""
        ...

    def mlp(
        self, layer: int, resid: Float[Tensor, "row column d_model"], rows: Int[Tensor, " row"]
    ) -> Float[Tensor, "row column d_model"]:
        """What the MLP writes that reads ``resid``."""
        ...


def parts_of(model: LensModel, batch: TokenBatch, start: int, *, resume: bool) -> Parts:
    """Parts of a model on a left-padded batch of clean prompts.

    They run from column ``start`` on, or from the first where whole passes are run: that is
    where blocks cannot be driven, or with ``resume=False``.
    """
    if resume and model.card.drives_blocks:
        return DrivenParts(driver=block_driver(model), batch=batch, start=start)
    return WholeParts(model=model, batch=batch)


@dataclass(frozen=True, kw_only=True)
class DrivenParts:
    """Each block driven alone, against the clean run's keys and values before ``start``."""

    driver: BlockDriver
    """The model's blocks."""
    batch: TokenBatch
    """Clean prompts, padded on the left."""
    start: int
    """First column that runs."""
    frames: dict[tuple[int, ...], Frame] = field(default_factory=dict)
    """Frames made so far, by the rows in them."""

    def attention(
        self, layer: int, resid: Float[Tensor, "row column d_model"], rows: Int[Tensor, " row"]
    ) -> Attended:
        """What the attention writes that reads ``resid``; in the last block its last column."""
        kept: dict[Site, Tensor] = {}
        hooks: dict[Site, HookFn] = {
            Site.Z: partial(_keep, kept, Site.Z),
            Site.ATTN_OUT: partial(_leave, kept, Site.ATTN_OUT),
        }
        past = self._past[layer].select(rows) if self.start else None
        positions = self.batch.layout.positions[rows]
        frame = self._frame(rows)
        with suppress(_LeftError):
            if layer < self.driver.model.card.n_layers - 1:
                self.driver.block(layer, resid, frame, past=past, hooks=hooks)
            else:
                own = self.driver.keys_values(layer, resid, frame)
                whole = own if past is None else past.joined(own)
                end = torch.full((len(rows),), positions.shape[1] - 1, device=positions.device)
                self.driver.last(layer, resid[:, -1], whole, positions, end, hooks=hooks)
        return Attended(kept[Site.Z], kept[Site.ATTN_OUT])

    def mlp(
        self, layer: int, resid: Float[Tensor, "row column d_model"], rows: Int[Tensor, " row"]
    ) -> Float[Tensor, "row column d_model"]:
        """What the MLP writes that reads ``resid``."""
        kept: dict[Site, Tensor] = {}
        hooks: dict[Site, HookFn] = {
            Site.ATTN_OUT: partial(_put, resid),
            Site.MLP_OUT: partial(_leave, kept, Site.MLP_OUT),
        }
        with suppress(_LeftError):
            # The attention runs on one empty column, in place of whose output all columns are
            # put: zeros and what the MLP is to read broadcast to just that.
            self.driver.block(layer, torch.zeros_like(resid[:1, :1]), self._alone, hooks=hooks)
        return kept[Site.MLP_OUT]

    @cached_property
    def _past(self) -> list[KeysValues]:
        """Keys and values of the columns before ``start`` in the clean run, by layer."""
        positions = self.batch.layout.positions[:, : self.start]
        resid = self.driver.embed(self.batch.tokens, self.batch.layout.positions)[:, : self.start]
        frame = self.driver.frame(positions, self.start)
        found = []
        for layer in range(self.driver.model.card.n_layers):
            ran = self.driver.block(layer, resid, frame, keep=True)
            assert ran.keys_values is not None
            resid = ran.resid
            found.append(ran.keys_values)
        return found

    @cached_property
    def _alone(self) -> Frame:
        """Frame of one column that sees itself alone."""
        return self.driver.frame(self.batch.layout.positions[:1, -1:], 1)

    def _frame(self, rows: Int[Tensor, " row"]) -> Frame:
        """Frame of the columns from ``start`` on."""
        key = tuple(rows.tolist())
        if key not in self.frames:
            positions = self.batch.layout.positions[rows]
            self.frames[key] = self.driver.frame(positions, positions.shape[1] - self.start)
        return self.frames[key]


@dataclass(frozen=True, kw_only=True)
class WholeParts:
    """A whole pass of the model up to the part, in which the part's input is put in place."""

    model: LensModel
    """The model."""
    batch: TokenBatch
    """Clean prompts, padded on the left."""

    @property
    def start(self) -> int:
        """Every column runs."""
        return 0

    def attention(
        self, layer: int, resid: Float[Tensor, "row column d_model"], rows: Int[Tensor, " row"]
    ) -> Attended:
        """What the attention writes that reads ``resid``."""
        edits = [Edit(site=Site.RESID_PRE, layer=layer, hook=partial(_put, resid))]
        kept = self._read(layer, rows, edits, (Site.Z, Site.ATTN_OUT))
        return Attended(kept[Site.Z, layer], kept[Site.ATTN_OUT, layer])

    def mlp(
        self, layer: int, resid: Float[Tensor, "row column d_model"], rows: Int[Tensor, " row"]
    ) -> Float[Tensor, "row column d_model"]:
        """What the MLP writes that reads ``resid``."""
        edits = [
            Edit(site=Site.RESID_PRE, layer=layer, hook=partial(_put, torch.zeros_like(resid))),
            Edit(site=Site.ATTN_OUT, layer=layer, hook=partial(_put, resid)),
        ]
        return self._read(layer, rows, edits, (Site.MLP_OUT,))[Site.MLP_OUT, layer]

    def _read(
        self, layer: int, rows: Int[Tensor, " row"], edits: list[Edit], sites: tuple[Site, ...]
    ) -> dict[tuple[Site, int], Tensor]:
        batch = TokenBatch(
            tokens=self.batch.tokens[rows],
            layout=self.batch.layout.select(rows),
            rows=tuple(rows.tolist()),
        )
        reads = [(site, layer) for site in sites]
        return run_batch(
            self.model, batch, edits=edits, reads=reads, last_layer=layer, plain=True
        ).reads


class _LeftError(Exception):
    """Leaves a block once what is wanted of it is there."""


def _keep(kept: dict[Site, Tensor], site: Site, activation: Tensor, /, *, hook: object) -> Tensor:
    kept[site] = activation
    return activation


def _leave(kept: dict[Site, Tensor], site: Site, activation: Tensor, /, *, hook: object) -> Tensor:
    kept[site] = activation
    raise _LeftError


def _put(
    state: Float[Tensor, "row column d_model"], activation: Tensor, /, *, hook: object
) -> Float[Tensor, "row column d_model"]:
    return state.to(activation.dtype)
