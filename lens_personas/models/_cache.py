"""Key-value caches for writing answers: room kept ahead, keys rotated once, rows let go.

The caches of TransformerLens and transformers join past and new columns into new memory at
every step; TransformerLens also rotates all cached keys anew.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_LEAST_ROOM = 64


class GrowingColumns:
    """A tensor to which columns are added along ``axis``, with room kept for more."""

    def __init__(self, first: Tensor, *, axis: int) -> None:
        """Hold the columns of ``first``."""
        self._room, self._axis, self._n = first, axis, first.shape[axis]

    @property
    def all(self) -> Tensor:
        """The columns so far, a view."""
        return self._room.narrow(self._axis, 0, self._n)

    def append(self, new: Tensor) -> Tensor:
        """Add columns; gives all of them, a view."""
        wanted = self._n + new.shape[self._axis]
        if wanted > self._room.shape[self._axis]:
            self._grow(wanted + max(_LEAST_ROOM, wanted // 4))
        self._room.narrow(self._axis, self._n, new.shape[self._axis]).copy_(new)
        self._n = wanted
        return self.all

    def keep_rows(self, rows: Int[Tensor, " kept"]) -> None:
        """Go on with these rows alone; one may stand several times."""
        before, rows = self.all, rows.to(self._room.device)
        self._room = self._room.new_empty(len(rows), *self._room.shape[1:])
        # Written in place: a third of the time of indexing, which also copies the room kept ahead.
        torch.index_select(before, 0, rows, out=self.all)

    def _grow(self, n_columns: int) -> None:
        shape = list(self._room.shape)
        shape[self._axis] = n_columns
        before, self._room = self.all, self._room.new_empty(shape)
        self.all.copy_(before)


class HookedCache:
    """What ``HookedTransformer`` takes for its key-value cache."""

    def __init__(self, wrapped: Any, batch_size: int) -> None:
        """Hold no column yet."""
        self.mask = torch.empty(batch_size, 0, dtype=torch.int, device=wrapped.W_E.device)
        self.n_real = self.mask.sum(dim=1, keepdim=True)
        self._blocks = wrapped.blocks
        self._entries = [_Entry(self, block.attn, batch_size) for block in wrapped.blocks]

    def __getitem__(self, layer: int) -> "_Entry":
        """Entry of one layer, as TransformerLens asks for it."""
        return self._entries[layer]

    def append_attention_mask(self, mask: Int[Tensor, "batch new"]) -> Int[Tensor, "batch total"]:
        """Add the mask of new columns; gives that of all."""
        self.mask = torch.cat([self.mask, mask.to(self.mask.device)], dim=1)
        self.n_real = self.mask.sum(dim=1, keepdim=True)
        return self.mask

    def keep_rows(self, rows: Int[Tensor, " kept"]) -> None:
        """Let go of all rows but these."""
        self.mask = self.mask[rows]
        for entry in self._entries:
            entry.keep_rows(rows)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Spare the blocks what they would do over: rotated keys, and the norm of one input."""
        with ExitStack() as stack:
            for block, entry in zip(self._blocks, self._entries, strict=True):
                # Asked for the queries', the keys' and the values' input, which are one tensor.
                stack.enter_context(_replaced(block.ln1, "forward", _Once(block.ln1.forward)))
                if entry.rotates:
                    stack.enter_context(_replaced(block.attn, "apply_rotary", entry.rotated))
            yield


class _Entry:
    def __init__(self, cache: HookedCache, attention: Any, batch_size: int) -> None:
        self._cache, self._attention = cache, attention
        cfg = attention.cfg
        # Where the angles change with the length, all keys have to be rotated anew.
        changing = getattr(cfg, "use_dynamic_ntk_rope", False)
        self.rotates = cfg.positional_embedding_type == "rotary" and not changing
        n_heads = cfg.n_key_value_heads or cfg.n_heads
        empty = attention.b_Q.new_empty(batch_size, 0, n_heads, cfg.d_head)
        self._keys = GrowingColumns(empty, axis=1)
        self._values = GrowingColumns(empty, axis=1)
        self._given: Tensor | None = None

    @property
    def past_keys(self) -> Tensor:
        return self._keys.all

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if self.rotates:
            keys = self.rotated(keys, self.past_keys.shape[1], self._cache.mask)
        self._given = self._keys.append(keys)
        return self._given, self._values.append(values)

    def keep_rows(self, rows: Int[Tensor, " kept"]) -> None:
        self._keys.keep_rows(rows)
        self._values.keep_rows(rows)

    def rotated(
        self, states: Tensor, offset: int = 0, mask: Int[Tensor, "batch total"] | None = None
    ) -> Tensor:
        """In place of attention's ``apply_rotary``: the keys given out are rotated already."""
        if states is self._given:
            return states
        attention = self._attention
        if mask is self._cache.mask and states.shape[1] == 1 and offset < len(attention.rotary_cos):
            # A position is read off the mask's running sum: one column holding it will do.
            offset, mask = 0, self._cache.n_real
        out: Tensor = type(attention).apply_rotary(attention, states, offset, mask)
        return out


class _Once:
    """A function that gives the last result again while it is asked for the same tensor."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self._function = function
        self._last: tuple[Tensor, Tensor] | None = None

    def __call__(self, given: Tensor) -> Tensor:
        if self._last is None or self._last[0] is not given:
            self._last = (given, self._function(given))
        return self._last[1]


@contextmanager
def _replaced(module: Any, name: str, function: Callable[..., Tensor]) -> Iterator[None]:
    """Have ``function`` in the place of a method; a hook may run the same module within."""
    before = module.__dict__.get(name)
    object.__setattr__(module, name, function)
    try:
        yield
    finally:
        if before is None:
            del module.__dict__[name]
        else:
            object.__setattr__(module, name, before)


class _GrowingLayer(DynamicLayer):
    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        new = (key_states, value_states)
        if not self.is_initialized:
            self.dtype, self.device = key_states.dtype, key_states.device
            self._columns = [GrowingColumns(each[..., :0, :], axis=2) for each in new]
            self.is_initialized = True
        grown = [to.append(each) for to, each in zip(self._columns, new, strict=True)]
        self.keys, self.values = grown
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        if not self.is_initialized:
            return
        for columns in self._columns:
            columns.keep_rows(indices)
        self.keys, self.values = (columns.all for columns in self._columns)


class BridgeCache(DynamicCache):
    """What the bridge takes for its key-value cache."""

    def __init__(self) -> None:
        """Hold no column yet."""
        super().__init__()
        self.layer_class_to_replicate = _GrowingLayer

    def keep_rows(self, rows: Int[Tensor, " kept"]) -> None:
        """Let go of all rows but these."""
        self.batch_select_indices(rows)
