"""Prompts that begin alike, batched so that what they share runs once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile

import torch
from torch import Tensor

from lens_personas.models._batch import batches, pad
from lens_personas.models._types import Prompt, SharedPrefix, TokenBatch

WORTHWHILE = 0.85
"""Share of the plain way's tokens up to which sharing is worth its second call a block."""


@dataclass(frozen=True, kw_only=True)
class _Node:
    """Neighbours in the order of their ids, with the best way to share found so far."""

    first: int
    last: int
    saved: int
    """Tokens that need not run."""
    prefix: int
    """Length of the prefix that all share; 0 where the parts share more on their own."""
    parts: tuple["_Node", ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Chunk:
    """Prompts with one prefix that go into one batch."""

    prefix: int
    rows: tuple[int, ...]
    suffix: int
    """Longest rest."""


def shared_batches(
    prompts: Sequence[Prompt], *, pad_id: int, device: torch.device | str, token_budget: int
) -> list[TokenBatch]:
    """Batches in which common prefixes stand once, or plain ones where little is shared.

    The budget counts the tokens that run. Together the batches hold each prompt once.

    Raises:
        ValueError: If the budget is not positive, or a prompt has no token.
    """
    options = {"pad_id": pad_id, "device": device}
    plain = list(batches(prompts, **options, token_budget=token_budget))  # type: ignore[arg-type]
    groups = _groups(prompts)
    alone = [rows[0] for prefix, rows in groups if not prefix]
    chunks = [
        c for prefix, rows in groups if prefix for c in _cut(prompts, prefix, rows, token_budget)
    ]
    packed = _packed(chunks, token_budget)
    rest = [
        replace(batch, rows=tuple(alone[row] for row in batch.rows))
        for batch in batches([prompts[row] for row in alone], **options, token_budget=token_budget)  # type: ignore[arg-type]
    ]
    cost = sum(_cost(pack) for pack in packed) + sum(batch.tokens.numel() for batch in rest)
    if cost > WORTHWHILE * sum(batch.tokens.numel() for batch in plain):
        return plain
    return [*rest, *(_batch(prompts, pack, pad_id, device) for pack in packed)]


def _groups(prompts: Sequence[Prompt]) -> list[tuple[int, list[int]]]:
    """Length of the common prefix and the prompts of each group; 0 for a prompt alone."""
    order = sorted(range(len(prompts)), key=lambda row: prompts[row].ids)
    common = [_common(prompts[a].ids, prompts[b].ids) for a, b in pairwise(order)]
    # The node of each run of neighbours, found by its first and by its last.
    by_end = {at: _Node(first=at, last=at, saved=0, prefix=0) for at in range(len(order))}
    by_start = dict(by_end)
    for at in sorted(range(len(common)), key=lambda at: -common[at]):
        left, right = by_end[at], by_start[at + 1]
        node = _joined(left, right, common[at])
        by_start[node.first] = by_end[node.last] = node
    roots = [by_end[len(order) - 1]] if order else []
    found: list[tuple[int, list[int]]] = []
    while roots:
        node = roots.pop()
        if node.parts and not node.prefix:
            roots.extend(node.parts)
        else:
            found.append((node.prefix, order[node.first : node.last + 1]))
    return found


def _joined(left: _Node, right: _Node, common: int) -> _Node:
    together = (right.last - left.first) * common
    apart = left.saved + right.saved
    return _Node(
        first=left.first,
        last=right.last,
        saved=max(together, apart),
        prefix=common if together > apart else 0,
        parts=(left, right),
    )


def _common(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    """Length of the common prefix; each keeps a token of its own."""
    pairs = zip(first[:-1], second[:-1], strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _cut(
    prompts: Sequence[Prompt], prefix: int, rows: Sequence[int], token_budget: int
) -> list[_Chunk]:
    by_length = sorted(rows, key=lambda row: len(prompts[row].ids))
    found: list[_Chunk] = []
    start = 0
    for stop in range(1, len(by_length) + 1):
        longest = len(prompts[by_length[min(stop, len(by_length) - 1)]].ids) - prefix
        full = prefix + (stop + 1 - start) * longest > token_budget
        if full or stop == len(by_length):
            chosen = tuple(by_length[start:stop])
            suffix = len(prompts[chosen[-1]].ids) - prefix
            found.append(_Chunk(prefix=prefix, rows=chosen, suffix=suffix))
            start = stop
    return found


def _packed(chunks: Sequence[_Chunk], token_budget: int) -> list[list[_Chunk]]:
    """Chunks of like size put together up to the budget."""
    found: list[list[_Chunk]] = []
    for chunk in sorted(chunks, key=lambda chunk: (chunk.suffix, chunk.prefix)):
        if found and _cost([*found[-1], chunk]) <= token_budget:
            found[-1].append(chunk)
        else:
            found.append([chunk])
    return found


def _cost(pack: Sequence[_Chunk]) -> int:
    prefixes = len(pack) * max(chunk.prefix for chunk in pack)
    return prefixes + sum(len(c.rows) for c in pack) * max(chunk.suffix for chunk in pack)


def _batch(
    prompts: Sequence[Prompt], pack: Sequence[_Chunk], pad_id: int, device: torch.device | str
) -> TokenBatch:
    """One batch, padded before the prefixes and after the rest."""
    width = max(chunk.prefix for chunk in pack)
    rows = tuple(row for chunk in pack for row in chunk.rows)
    before = [width - chunk.prefix for chunk in pack for _ in chunk.rows]
    sizes = [len(chunk.rows) for chunk in pack]
    starts = [sum(sizes[:at]) for at in range(len(pack))]
    row_of = [at for at, size in enumerate(sizes) for _ in range(size)]
    return replace(
        pad(prompts, rows, pad_id=pad_id, device=device, before=before),
        prefix=SharedPrefix(
            n_columns=width,
            rows=_index(starts, device),
            row_of=_index(row_of, device),
        ),
    )


def _index(values: Sequence[int], device: torch.device | str) -> Tensor:
    return torch.tensor(values, dtype=torch.long, device=device)
