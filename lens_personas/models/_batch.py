"""Prompts of unequal length, padded to few batches."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from lens_personas.hooks import TokenLayout
from lens_personas.models._types import Prompt, Side, TokenBatch


def batches(
    prompts: Sequence[Prompt],
    *,
    pad_id: int,
    device: torch.device | str = "cpu",
    token_budget: int = 2048,
    side: Side = "left",
) -> Iterator[TokenBatch]:
    """Batches of prompts of like length, each of at most ``token_budget`` tokens with padding.

    A prompt longer than the budget makes a batch of its own. ``rows`` of a batch says
    which prompts it holds; together the batches hold each prompt once.

    Raises:
        ValueError: If the budget is not positive, or a prompt has no token.
    """
    if token_budget < 1:
        raise ValueError(f"expected a token budget of at least 1, got {token_budget}")
    by_length = sorted(range(len(prompts)), key=lambda row: len(prompts[row].ids))
    start = 0
    while start < len(by_length):
        stop = start + 1
        while stop < len(by_length) and _size(prompts, by_length, start, stop) <= token_budget:
            stop += 1
        rows = by_length[start:stop]
        yield pad(prompts, rows, pad_id=pad_id, device=device, side=side)
        start = stop


def pad(
    prompts: Sequence[Prompt],
    rows: Sequence[int],
    *,
    pad_id: int,
    device: torch.device | str = "cpu",
    side: Side = "left",
    before: Sequence[int] | None = None,
) -> TokenBatch:
    """One batch of the prompts numbered ``rows``.

    ``before`` is the padding before each of them; without, all padding is on one ``side``.

    Raises:
        ValueError: If a prompt has no token.
    """
    chosen = [prompts[row] for row in rows]
    if any(not prompt.ids for prompt in chosen):
        raise ValueError("expected prompts of at least one token, got an empty one")
    lengths = [len(prompt.ids) for prompt in chosen]
    if before is None:
        before = [max(lengths) - n if side == "left" else 0 for n in lengths]
    width = max(lead + n for lead, n in zip(before, lengths, strict=True))
    names = sorted({name for prompt in chosen for name in prompt.spans})
    layout = TokenLayout(
        positions=_tensor(
            [_fill(range(n), -1, width, lead) for n, lead in zip(lengths, before, strict=True)],
            device,
        ),
        prompt_length=_tensor([p.prompt_length for p in chosen], device),
        spans={n: _tensor([p.spans.get(n, (0, 0)) for p in chosen], device) for n in names},
    )
    filled = [_fill(p.ids, pad_id, width, lead) for p, lead in zip(chosen, before, strict=True)]
    tokens = _tensor(filled, device)
    return TokenBatch(tokens=tokens, layout=layout, rows=tuple(rows))


def _size(prompts: Sequence[Prompt], order: Sequence[int], start: int, stop: int) -> int:
    # The order is by length, so the longest prompt is the last.
    return len(prompts[order[stop]].ids) * (stop - start + 1)


def _fill(values: Sequence[int], filler: int, width: int, lead: int) -> list[int]:
    after = width - lead - len(values)
    return [*[filler] * lead, *values, *[filler] * after]


def _tensor(values: Sequence[object], device: torch.device | str) -> Int[Tensor, "..."]:
    return torch.tensor(values, dtype=torch.long, device=device)
