"""Residuals of chosen positions read as next-token distributions, a few rows at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.hooks import Edit, Site, TokenLayout
from lens_personas.models import (
    LensModel,
    Prompt,
    TokenBatch,
    may_share,
    model_batches,
    run_batch,
)
from lens_personas.readouts._tuned_lens_types import TunedLens
from lens_personas.readouts._vocabulary import Distributions, Shapes, distributions

ROWS_AT_ONCE = 512
"""Rows (a layer of a read each) whose logits exist at a time, for one piece of the vocabulary."""


@dataclass(frozen=True, kw_only=True)
class Reads:
    """Which positions to decode, and which tokens to look up there."""

    prompt: Int[Tensor, " read"]
    """Number of the prompt."""
    position: Int[Tensor, " read"]
    """Position in the prompt, counted from 0 at its first token."""
    token_ids: Int[Tensor, "read token"]
    """Tokens asked for at each."""


@torch.no_grad()
def decode_reads(
    model: LensModel,
    prompts: Sequence[Prompt],
    reads: Reads,
    *,
    layers: Sequence[int],
    edits: Sequence[Edit],
    shapes: Shapes,
    token_budget: int,
    vocab_chunk: int | None,
    tuned: TunedLens | None = None,
) -> Distributions:
    """Lens of ``resid_post`` after the edits, at each read and layer, on the CPU.

    With ``tuned`` each residual is translated first.

    Memory: the residuals of one batch's reads at the layers, and a few times the logits of
    ``ROWS_AT_ONCE`` rows for ``vocab_chunk`` tokens.

    Raises:
        MismatchError: If the tuned lens was trained on another model.
        ValueError: If a layer does not exist or has no translator, a token is not in the
            vocabulary, or an edit does not fit the model.
    """
    _check_tokens(reads.token_ids, model.card.d_vocab)
    if tuned is not None:
        tuned.check(model.card, layers)
    chunk = _chunk(model) if vocab_chunk is None else vocab_chunk
    last = model.card.n_layers - 1
    kept = [*layers, last] if shapes.kl_to_final and last not in layers else list(layers)
    final = kept.index(last) if last in kept else -1
    out = _empty(len(layers), reads.token_ids, shapes)
    at_once = max(ROWS_AT_ONCE // len(kept), 1)
    for batch in model_batches(model, prompts, token_budget, share=may_share(edits)):
        picked, resid = residuals(model, batch, reads, kept, edits)
        if tuned is not None:
            resid = {layer: tuned.translate(each, layer) for layer, each in resid.items()}
        for start in range(0, len(picked), at_once):
            chosen = picked[start : start + at_once]
            rows = torch.stack([resid[layer][start : start + at_once] for layer in kept])
            ids = reads.token_ids[chosen].to(rows.device)
            found = distributions(
                model.logits,
                rows,
                ids,
                shapes,
                final=final,
                d_vocab=model.card.d_vocab,
                vocab_chunk=chunk,
            )
            _put(out, chosen, found)
    return out


def _chunk(model: LensModel) -> int:
    """Pieces that stay in the cache of a CPU; larger ones, that keep an accelerator busy."""
    return 2048 if model.device.type == "cpu" else 16384


def _put(out: Distributions, reads: Int[Tensor, " row"], found: Distributions) -> None:
    for field in fields(out):
        whole, part = getattr(out, field.name), getattr(found, field.name)
        if whole is not None:
            whole[:, reads] = part[: len(whole)].cpu()


def residuals(
    model: LensModel,
    batch: TokenBatch,
    reads: Reads,
    layers: Sequence[int],
    edits: Sequence[Edit],
) -> tuple[Int[Tensor, " read"], Mapping[int, Float[Tensor, "read d_model"]]]:
    """Numbers of the reads that lie in this batch, and their residuals by layer."""
    picked, rows = _in_batch(batch, reads)
    position = reads.position[picked]

    def take(
        place: object, activation: Float[Tensor, "batch pos d_model"], layout: TokenLayout
    ) -> Float[Tensor, "read d_model"]:
        columns = _columns(layout, rows, position).to(activation.device)
        # Indexing by tensors copies, so the whole activation is not held on to.
        return activation[rows.to(activation.device), columns].to(model.device)

    # An edit above the layers read must still fire, or it would be called broken.
    last = max([*layers, *(edit.layer for edit in edits)])
    run = run_batch(
        model,
        batch,
        edits=edits,
        reads=[(Site.RESID_POST, layer) for layer in dict.fromkeys(layers)],
        last_layer=last,
        take=take,
        only=_one_column(batch, rows, position),
    )
    return picked, {layer: read for (_, layer), read in run.reads.items()}


def _in_batch(batch: TokenBatch, reads: Reads) -> tuple[Int[Tensor, " read"], Int[Tensor, " read"]]:
    """Numbers of the reads that lie in this batch, with their rows in it."""
    n_prompts = 1 + max(int(reads.prompt.max()), *batch.rows)
    row_of = torch.full((n_prompts,), -1)
    row_of[list(batch.rows)] = torch.arange(len(batch.rows))
    rows = row_of[reads.prompt]
    picked = (rows >= 0).nonzero()[:, 0]
    return picked, rows[picked]


def _columns(
    layout: TokenLayout, rows: Int[Tensor, " read"], position: Int[Tensor, " read"]
) -> Int[Tensor, " read"]:
    columns = layout.positions.cpu()[rows] == position[:, None]
    return columns.int().argmax(dim=1)


def _one_column(
    batch: TokenBatch, rows: Int[Tensor, " read"], position: Int[Tensor, " read"]
) -> Int[Tensor, " batch"] | None:
    """Column of each row's one read; None where a row has another number of them."""
    if rows.sort().values.tolist() != list(range(len(batch.rows))):
        return None
    order = rows.argsort()
    return _columns(batch.layout, rows[order], position[order]).to(batch.tokens.device)


def _check_tokens(token_ids: Int[Tensor, "read token"], d_vocab: int) -> None:
    if token_ids.numel() == 0:
        return
    low, high = int(token_ids.min()), int(token_ids.max())
    if low < 0 or high >= d_vocab:
        raise ValueError(
            f"expected token ids from 0 to {d_vocab - 1}, got ids from {low} to {high}; "
            "encode the targets with this model's own tokenizer"
        )


def _empty(n_layers: int, token_ids: Int[Tensor, "read token"], shapes: Shapes) -> Distributions:
    n_reads = len(token_ids)
    row = torch.full((n_layers, n_reads), torch.nan)
    asked = row[..., None].expand(-1, -1, token_ids.shape[1])
    top = row[..., None].expand(-1, -1, shapes.top_k)
    return Distributions(
        log_prob=asked.clone(),
        rank=torch.full(asked.shape, -1),
        top_ids=torch.full(top.shape, -1),
        top_log_prob=top.clone(),
        entropy=row.clone() if shapes.entropy else None,
        kl_to_final=row.clone() if shapes.kl_to_final else None,
    )
