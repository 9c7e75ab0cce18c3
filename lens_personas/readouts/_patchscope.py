"""Patchscopes: what a state says once it stands in another prompt.

https://arxiv.org/abs/2401.06102. The patch is made while the target prompt is read; text that is
written after it is never touched, with or without a key-value cache.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.models import (
    DEFAULT_TOKEN_BUDGET,
    LensModel,
    generate,
    map_last_logits,
)
from lens_personas.readouts._patchscope_maps import StateMap, keep_states
from lens_personas.readouts._patchscope_rows import ScopeRow, ScopeTarget, row_edits
from lens_personas.readouts._patchscope_sources import ScopeSources

ScopeReduce = Callable[[Float[Tensor, "batch d_vocab"]], Float[Tensor, "batch k"]]
"""What is kept of the float32 logits at the target's last token; each row counts for itself."""


@dataclass(frozen=True, kw_only=True)
class ScopeReadings:
    """Next-token readings of every source state in every target, by both layers."""

    values: Float[Tensor, "target target_layer source_layer source k"]
    """What was kept of the logits at the target's last token."""
    target_layers: tuple[int, ...]
    """Blocks whose output was replaced."""
    source_layers: tuple[int, ...]
    """Blocks the states come from."""
    prompt_ids: tuple[str, ...]
    """Prompt each state was read from."""


@dataclass(frozen=True, kw_only=True)
class ScopeText:
    """What was written after one target prompt with one state in it."""

    target: int
    """Number of the target prompt."""
    target_layer: int
    """Block whose output was replaced."""
    source_layer: int
    """Block the state comes from."""
    prompt_id: str
    """Prompt the state was read from."""
    ids: tuple[int, ...]
    """New token ids, without the stop token."""
    text: str
    """The new text, without special tokens."""
    finished: bool
    """Whether a stop token came before the limit."""


def patchscope(
    model: LensModel,
    sources: ScopeSources,
    targets: Sequence[ScopeTarget],
    reduce: ScopeReduce,
    *,
    target_layers: Sequence[int],
    mapping: StateMap = keep_states,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> ScopeReadings:
    """Every state at every layer read in every target at every target layer, in one call.

    Args:
        model: The model.
        sources: States, as :func:`read_sources` gives them.
        targets: Prompts with the places that the state takes.
        reduce: What is kept of the logits; see :func:`token_log_probs`.
        target_layers: Blocks whose output is replaced, each in rows of its own.
        mapping: What a state goes through on its way.
        token_budget: Tokens in a batch, padding included.

    Raises:
        ValueError: If there is no target or target layer, a layer does not exist, or the
            mapping gives something else than a state for each.
    """
    rows = _rows(sources, targets, target_layers)
    found = map_last_logits(
        model,
        [targets[row.target].prompt for row in rows],
        reduce,
        edits=row_edits(sources, targets, rows, mapping),
        token_budget=token_budget,
    )
    values = rearrange(
        found,
        "(target target_layer source_layer source) k -> target target_layer source_layer source k",
        target=len(targets),
        target_layer=len(target_layers),
        source_layer=len(sources.layers),
    )
    return ScopeReadings(
        values=values,
        target_layers=tuple(target_layers),
        source_layers=sources.layers,
        prompt_ids=sources.prompt_ids,
    )


def patchscope_texts(
    model: LensModel,
    sources: ScopeSources,
    targets: Sequence[ScopeTarget],
    *,
    target_layers: Sequence[int],
    max_new_tokens: int,
    mapping: StateMap = keep_states,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    use_cache: bool = True,
) -> tuple[ScopeText, ...]:
    """Greedy text after each target with each state in it; targets vary slowest, sources fastest.

    Args:
        model: The model.
        sources: States, as :func:`read_sources` gives them.
        targets: Prompts with the places that the state takes.
        target_layers: Blocks whose output is replaced, each in rows of its own.
        max_new_tokens: Most new tokens of a text.
        mapping: What a state goes through on its way.
        token_budget: Tokens in a batch, padding included.
        use_cache: Whether keys and values are kept; without, every step runs the whole text.

    Raises:
        ValueError: As :func:`patchscope`; if the limit is not positive, or the text does not fit
            the context.
    """
    rows = _rows(sources, targets, target_layers)
    written = generate(
        model,
        [targets[row.target].prompt for row in rows],
        max_new_tokens=max_new_tokens,
        edits=row_edits(sources, targets, rows, mapping),
        token_budget=token_budget,
        use_cache=use_cache,
    )
    return tuple(
        ScopeText(
            target=row.target,
            target_layer=row.target_layer,
            source_layer=row.source_layer,
            prompt_id=sources.prompt_ids[row.source],
            ids=each.ids,
            text=each.text,
            finished=each.finished,
        )
        for row, each in zip(rows, written, strict=True)
    )


def token_log_probs(token_ids: Sequence[int]) -> ScopeReduce:
    """Reduction to the log-probabilities (nats) of these tokens, in their order."""
    wanted = list(token_ids)

    def keep(logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, "batch k"]:
        return _log_probs(logits, torch.tensor(wanted, device=logits.device))

    return keep


def _log_probs(
    logits: Float[Tensor, "batch d_vocab"], token_ids: Int[Tensor, " k"]
) -> Float[Tensor, "batch k"]:
    return logits[:, token_ids] - logits.logsumexp(dim=1, keepdim=True)


def _rows(
    sources: ScopeSources, targets: Sequence[ScopeTarget], target_layers: Sequence[int]
) -> list[ScopeRow]:
    if not targets or not target_layers:
        raise ValueError(
            "expected at least one target and target layer, "
            f"got {len(targets)} and {len(target_layers)}"
        )
    return [
        ScopeRow(target=target, target_layer=target_layer, source_layer=layer, source=source)
        for target in range(len(targets))
        for target_layer in target_layers
        for layer in sources.layers
        for source in range(len(sources.prompt_ids))
    ]
