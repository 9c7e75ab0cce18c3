"""A backend's blocks as modules: what they are called with, and how to call one."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from lens_personas.models._backends import BridgeModel, HookedModel
from lens_personas.models._keys_values import KeysValues
from lens_personas.models._types import LensModel

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments of a block after the residual."""


class KeysValuesReadyError(Exception):
    """Leaves a block once its keys and values are there."""


class BlockCache:
    """What a block takes for its cache: gives the past, keeps the whole, or stops the block.

    Speaks as TransformerLens' cache entry (``past_keys``, ``append``) and as a transformers
    cache (``update``), of which blocks use no more.
    """

    def __init__(
        self, past: KeysValues | None, *, axis: int, stop: bool = False, whole: bool = False
    ) -> None:
        """Hold ``past``; ``stop`` after the new ones are known, or take ``past`` for the whole."""
        self._past, self._axis, self._stop, self._whole = past, axis, stop, whole
        self.kept: KeysValues | None = None

    @property
    def past_keys(self) -> Tensor:
        """Keys, on whose second axis TransformerLens reads the length of the past."""
        if self._past is None:
            return torch.empty(1, 0)
        # The query's own are among the whole ones already.
        return self._past.keys[:, :-1] if self._whole else self._past.keys

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of past and new columns."""
        if self._whole and self._past is not None:
            return self._past.keys, self._past.values
        new = KeysValues(keys=keys, values=values, axis=self._axis)
        if self._stop:
            self.kept = new
            raise KeysValuesReadyError
        self.kept = new if self._past is None else self._past.joined(new)
        return self.kept.keys, self.kept.values

    def update(
        self, keys: Tensor, values: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """The same, as transformers calls it."""
        return self.append(keys, values)


@runtime_checkable
class Blocks(Protocol):
    """The blocks of one backend."""

    @property
    def axis(self) -> int:
        """Axis of the columns in keys and values."""
        ...

    def embed(
        self, tokens: Int[Tensor, "batch pos"], positions: Int[Tensor, "batch pos"]
    ) -> Float[Tensor, "batch pos d_model"]:
        """``resid_pre`` of block 0."""
        ...

    def calls(self, positions: Int[Tensor, "batch total"], n_new: int) -> tuple[Call, ...]:
        """What each block is called with for the last ``n_new`` columns."""
        ...

    def run(self, layer: int, resid: Tensor, call: Call, cache: BlockCache | None) -> Tensor:
        """``resid_post`` of block ``layer``."""
        ...


def blocks_of(model: LensModel) -> Blocks:
    """The model's blocks.

    Raises:
        TypeError: If the model is of neither backend.
    """
    if isinstance(model, HookedModel):
        return _HookedBlocks(wrapped=model.wrapped)
    if isinstance(model, BridgeModel):
        return _BridgeBlocks(wrapped=model.wrapped)
    raise TypeError(f"expected a HookedModel or BridgeModel, got {type(model).__name__}")


@dataclass(frozen=True, kw_only=True)
class _HookedBlocks:
    wrapped: Any
    axis: int = 1

    def embed(
        self, tokens: Int[Tensor, "batch pos"], positions: Int[Tensor, "batch pos"]
    ) -> Float[Tensor, "batch pos d_model"]:
        mask = (positions >= 0).int()
        resid: Tensor = self.wrapped.input_to_embed(tokens, attention_mask=mask)[0]
        return resid

    def calls(self, positions: Int[Tensor, "batch total"], n_new: int) -> tuple[Call, ...]:
        # TransformerLens finds the columns' positions and what they may see from the mask.
        mask = (positions >= 0).int()
        return (((), {"attention_mask": mask}),) * len(self.wrapped.blocks)

    def run(self, layer: int, resid: Tensor, call: Call, cache: BlockCache | None) -> Tensor:
        out: Tensor = self.wrapped.blocks[layer](resid, past_kv_cache_entry=cache, **call[1])
        return out


@dataclass(frozen=True, kw_only=True)
class _BridgeBlocks:
    wrapped: Any
    axis: int = 2

    def embed(
        self, tokens: Int[Tensor, "batch pos"], positions: Int[Tensor, "batch pos"]
    ) -> Float[Tensor, "batch pos d_model"]:
        return self._recorded(tokens, positions, cached=0)[0][0]

    def calls(self, positions: Int[Tensor, "batch total"], n_new: int) -> tuple[Call, ...]:
        tokens = torch.zeros(len(positions), n_new, dtype=torch.long, device=positions.device)
        seen = self._recorded(tokens, positions, cached=positions.shape[1] - n_new)
        return tuple(call for _, call in seen)

    def run(self, layer: int, resid: Tensor, call: Call, cache: BlockCache | None) -> Tensor:
        args, kwargs = call
        own = [cache if isinstance(value, _Length) else value for value in args]
        named = {k: cache if isinstance(v, _Length) else v for k, v in kwargs.items()}
        out = self.wrapped.blocks[layer](resid, *own, **named)
        resid_post: Tensor = out[0] if isinstance(out, tuple) else out
        return resid_post

    def _recorded(
        self,
        tokens: Int[Tensor, "batch new"],
        positions: Int[Tensor, "batch total"],
        *,
        cached: int,
    ) -> list[tuple[Tensor, Call]]:
        """Residual and arguments of every block, from a pass in which blocks do nothing."""
        seen: list[tuple[Tensor, Call]] = []
        with _idle(self.wrapped.blocks, seen), suppress(_RecordedError):
            self.wrapped(
                tokens,
                attention_mask=(positions >= 0).long(),
                past_key_values=_Length(cached),
                use_cache=True,
            )
        return seen


class _RecordedError(Exception):
    """Leaves the pass once the last block has been called."""


class _Length(DynamicCache):
    """A cache as far as the model itself asks: how many columns it holds."""

    def __init__(self, n_columns: int) -> None:
        super().__init__()
        self._n_columns = n_columns

    def get_seq_length(self, *args: object) -> int:
        return self._n_columns

    def get_query_offset(self, *args: object) -> int:
        return self._n_columns

    def get_mask_sizes(self, query_length: Any, *args: object) -> tuple[int, int]:
        # Earlier transformers give the columns themselves.
        n_new = query_length if isinstance(query_length, int) else len(query_length)
        return self._n_columns + n_new, 0


@contextmanager
def _idle(blocks: Any, seen: list[tuple[Tensor, Call]]) -> Iterator[None]:
    """Blocks that note what they are called with and hand the residual on."""

    def noting(resid: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        seen.append((resid, (args, kwargs)))
        if len(seen) == len(blocks):
            raise _RecordedError
        return resid

    try:
        for block in blocks:
            object.__setattr__(block, "forward", noting)
        yield
    finally:
        for block in blocks:
            block.__dict__.pop("forward", None)
