"""Which heads look at some tokens, and what they carry from there along a direction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens_personas.geometry import unit_vector
from lens_personas.hooks import Edit, Site, TokenLayout
from lens_personas.models import (
    DEFAULT_TOKEN_BUDGET,
    LensModel,
    Prompt,
    TokenBatch,
    check_heads_add_up,
    check_values_mix,
    head_weights,
    model_batches,
    run_batch,
    written_by_heads,
)
from lens_personas.readouts._read_at import (
    ReadPosition,
    SourceTokens,
    columns_at,
    in_columns,
    read_position,
    source_mask,
)


@dataclass(frozen=True, kw_only=True)
class AttentionMass:
    """How much of each head's attention goes to some tokens."""

    prompt_ids: tuple[str, ...]
    """Prompts, one a row of ``values``."""
    positions: tuple[int, ...]
    """Position that looks, in each, counted from 0."""
    layers: tuple[int, ...]
    """Blocks, one a column of ``values``, counted from 0."""
    values: Float[Tensor, "prompt layer head"]
    """Share of the head's attention that goes to the tokens, 0 to 1."""
    even_share: Float[Tensor, " prompt"]
    """Share that they would get if all tokens up to the position got the same, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class HeadWrites:
    """What each head moves from some tokens along a direction of the residual stream."""

    prompt_ids: tuple[str, ...]
    """Prompts, one a row of ``values``."""
    positions: tuple[int, ...]
    """Position that is written to, in each, counted from 0."""
    layers: tuple[int, ...]
    """Blocks, one a column of ``values``, counted from 0."""
    values: Float[Tensor, "prompt layer head"]
    """What the head writes along the unit direction with what it read at the tokens, in units of
    the residual stream; above 0 it writes towards where the direction points."""
    total: Float[Tensor, "prompt layer head"]
    """The same with what it read at all tokens: its whole output along the direction."""


@torch.no_grad()
def attention_mass(
    model: LensModel,
    prompts: Sequence[Prompt],
    source: SourceTokens,
    *,
    at: ReadPosition = "last",
    layers: Sequence[int] | None = None,
    edits: Sequence[Edit] = (),
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> AttentionMass:
    """Attention that every head pays to ``source``, the persona's tokens say, from one position.

    Attention is not effect: a head can look and move nothing (see `head_writes`). A persona's
    tokens are many, and the first token draws attention whatever it is, so hold it against the
    control persona's and not against ``even_share`` alone.

    Args:
        model: The model.
        prompts: What it reads.
        source: Tokens looked at.
        at: Position that looks; ``user_end`` is the request's last token.
        layers: Blocks; None for all.
        edits: In force throughout.
        token_budget: Tokens in a batch, padding included.

    Raises:
        ValueError: If there is no prompt, one has no such position or no source token up to it,
            or a layer or edit does not fit the model.
        HookCountError: If the model has no attention pattern to read.
    """
    asked = _asked(model, prompts, source, at, layers)
    values = torch.empty(len(prompts), len(asked.layers), model.card.n_heads)
    for batch in model_batches(model, prompts, token_budget):
        look = _Look(batch=batch, asked=asked)
        reads = _run(model, look, edits, {Site.PATTERN: look.row})
        for number, layer in enumerate(asked.layers):
            seen = reads[Site.PATTERN, layer]
            mass = einsum(seen, look.mask(seen), "row head src, row src -> row head")
            values[list(batch.rows), number] = mass.cpu()
    n_seen = torch.tensor([at + 1 for at in asked.positions])
    return AttentionMass(
        prompt_ids=tuple(prompt.prompt_id for prompt in prompts),
        positions=asked.positions,
        layers=asked.layers,
        values=values,
        even_share=asked.mask.sum(dim=1) / n_seen,
    )


@torch.no_grad()
def head_writes(
    model: LensModel,
    prompts: Sequence[Prompt],
    direction: Float[Tensor, " d_model"],
    source: SourceTokens,
    *,
    at: ReadPosition = "last",
    layers: Sequence[int] | None = None,
    edits: Sequence[Edit] = (),
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> HeadWrites:
    """What every head moves from ``source`` to one position along ``direction``.

    ``Σ A[q, src] (v[src] W_O) · r`` over the source tokens, with the pattern ``A`` and values
    ``v`` of this run and the unit direction ``r`` (Elhage et al. 2021,
    https://transformer-circuits.pub/2021/framework). The direction's length has no effect. The
    attention's output bias, which no head reads anywhere, is left out.

    Args:
        model: The model.
        prompts: What it reads.
        direction: Direction in the residual stream, such as the refusal direction.
        source: Tokens read, such as the persona's.
        at: Position written to; ``user_end`` is the request's last token.
        layers: Blocks; None for all.
        edits: In force throughout.
        token_budget: Tokens in a batch, padding included.

    Raises:
        ValueError: If there is no prompt, one has no such position or no source token up to it,
            the direction has no finite, positive norm, a layer or edit does not fit the model,
            or the model's heads do not add up to what its attention writes.
        HookCountError: If the model has no attention pattern or values to read.
    """
    asked = _asked(model, prompts, source, at, layers)
    unit = unit_vector(direction.float()).to(model.device)
    weights = {layer: head_weights(model, layer) for layer in asked.layers}
    by_head = {layer: each.w_o.to(model.device).float() @ unit for layer, each in weights.items()}
    found = torch.empty(2, len(prompts), len(asked.layers), model.card.n_heads)
    for batch in model_batches(model, prompts, token_budget):
        look = _Look(batch=batch, asked=asked)
        takes = {Site.PATTERN: look.row, Site.V: look.whole}
        takes |= {Site.Z: look.column, Site.ATTN_OUT: look.column}
        reads = _run(model, look, edits, takes)
        for number, layer in enumerate(asked.layers):
            z, attn_out = reads[Site.Z, layer], reads[Site.ATTN_OUT, layer]
            written = written_by_heads(z, weights[layer])
            if not any(edit.layer == layer and edit.site is Site.ATTN_OUT for edit in edits):
                check_heads_add_up(model, layer, written, attn_out, weights[layer].b_o)
            moved = _moved(reads[Site.PATTERN, layer], reads[Site.V, layer], by_head[layer])
            total = moved.sum(dim=2)
            check_values_mix(model, layer, total, einsum(z, by_head[layer], _ALONG))
            part = einsum(moved, look.mask(moved), "row head src, row src -> row head")
            found[:, list(batch.rows), number] = torch.stack([part, total]).cpu()
    return HeadWrites(
        prompt_ids=tuple(prompt.prompt_id for prompt in prompts),
        positions=asked.positions,
        layers=asked.layers,
        values=found[0],
        total=found[1],
    )


_ALONG = "row head d_head, head d_head -> row head"


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What is looked at from where."""

    positions: tuple[int, ...]
    mask: Bool[Tensor, "prompt pos"]
    layers: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class _Look:
    """The same in one batch; its methods are what is kept of activations."""

    batch: TokenBatch
    asked: _Asked

    def row(self, pattern: Float[Tensor, "batch head dest src"]) -> Float[Tensor, "batch head src"]:
        rows = torch.arange(len(pattern), device=pattern.device)
        return pattern[rows, :, self._columns.to(pattern.device)].float()

    def column(
        self, activation: Float[Tensor, "batch pos *width"]
    ) -> Float[Tensor, "batch *width"]:
        rows = torch.arange(len(activation), device=activation.device)
        return activation[rows, self._columns.to(activation.device)].float()

    def whole(
        self, values: Float[Tensor, "batch pos group d_head"]
    ) -> Float[Tensor, "batch pos group d_head"]:
        return values

    def mask(self, like: Float[Tensor, "batch head src"]) -> Float[Tensor, "batch src"]:
        return in_columns(self.asked.mask, self.batch).to(like)

    @property
    def _columns(self) -> Int[Tensor, " batch"]:
        return columns_at(self.batch, self.asked.positions)


def _asked(
    model: LensModel,
    prompts: Sequence[Prompt],
    source: SourceTokens,
    at: ReadPosition,
    layers: Sequence[int] | None,
) -> _Asked:
    if not prompts:
        raise ValueError("expected at least one prompt, got none")
    chosen = tuple(range(model.card.n_layers)) if layers is None else tuple(layers)
    if not chosen:
        raise ValueError("expected at least one layer, got none; give layers=None for all")
    positions = tuple(read_position(prompt, at) for prompt in prompts)
    mask = source_mask(prompts, source, positions)
    return _Asked(positions=positions, mask=mask, layers=chosen)


def _run(
    model: LensModel,
    look: _Look,
    edits: Sequence[Edit],
    takes: dict[Site, Callable[[Tensor], Tensor]],
) -> dict[tuple[Site, int], Tensor]:
    def take(place: tuple[Site, int], activation: Tensor, layout: TokenLayout) -> Tensor:
        return takes[place[0]](activation)

    # An edit above the layers read must still fire, or it would be called broken.
    last = max([*look.asked.layers, *(edit.layer for edit in edits)])
    places = [(site, layer) for layer in dict.fromkeys(look.asked.layers) for site in takes]
    run = run_batch(model, look.batch, edits=edits, reads=places, last_layer=last, take=take)
    return run.reads


def _moved(
    seen: Float[Tensor, "row head src"],
    values: Float[Tensor, "row src group d_head"],
    by_head: Float[Tensor, "head d_head"],
) -> Float[Tensor, "row head src"]:
    """What each head carries from each token along the direction."""
    # Heads of one group are neighbours and share its values.
    shared = rearrange(by_head, "(group share) d_head -> group share d_head", group=values.shape[2])
    along = einsum(
        values.float(), shared, "row src group d_head, group share d_head -> row group share src"
    )
    return seen * rearrange(along, "row group share src -> row (group share) src")
