"""Residuals of chosen positions read as next-token distributions, a few rows at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.hooks import Edit, HookFn, Site
from lens_personas.models import LensModel, Prompt, TokenBatch, model_batches, run_batch

ROWS_AT_ONCE = 64
"""Rows whose logits exist at a time: 64 rows of 256 thousand tokens are 64 MiB in float32."""


@dataclass(frozen=True, kw_only=True)
class Reads:
    """Which positions to decode, and which tokens to look up there."""

    prompt: Int[Tensor, " read"]
    """Number of the prompt."""
    position: Int[Tensor, " read"]
    """Position in the prompt, counted from 0 at its first token."""
    token_ids: Int[Tensor, "read token"]
    """Tokens asked for at each."""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """What the lens gives at each read; nothing of it grows with the vocabulary."""

    log_prob: Float[Tensor, "layer read token"]
    """Log-probability in nats."""
    rank: Int[Tensor, "layer read token"]
    """Tokens before it: 0 is the top; of equal logits the lower id comes first."""
    entropy: Float[Tensor, "layer read"]
    """Entropy in nats; NaN unless asked for."""
    kl_to_final: Float[Tensor, "layer read"]
    """KL(last layer ‖ this layer) in nats; NaN unless asked for."""


@torch.no_grad()
def decode_reads(
    model: LensModel,
    prompts: Sequence[Prompt],
    reads: Reads,
    *,
    layers: Sequence[int],
    edits: Sequence[Edit],
    shapes: bool,
    token_budget: int,
) -> Decoded:
    """Lens of ``resid_post`` after the edits, at each read and layer.

    Memory: the residuals of one batch's reads at the layers, and the logits of
    ``ROWS_AT_ONCE`` rows (two layers' with ``shapes``); never more logits.

    Raises:
        ValueError: If a layer does not exist, a token is not in the vocabulary, or an edit
            does not fit the model.
    """
    _check_tokens(reads.token_ids, model.card.d_vocab)
    final = model.card.n_layers - 1
    kept = sorted({*layers, final} if shapes else {*layers})
    out = _empty(len(layers), *reads.token_ids.shape)
    for batch in model_batches(model, prompts, token_budget):
        picked, resid = _residuals(model, batch, reads, kept, edits)
        for start in range(0, len(picked), ROWS_AT_ONCE):
            rows = torch.arange(start, min(start + ROWS_AT_ONCE, len(picked)))
            ids = reads.token_ids[picked[rows]].to(model.device)
            last = model.logits(resid[final][rows]).float() if shapes else None
            for at, layer in enumerate(layers):
                logits = model.logits(resid[layer][rows]).float()
                _put(out, at, picked[rows], logits, ids, last)
    return out


def _put(
    out: Decoded,
    layer: int,
    rows: Int[Tensor, " row"],
    logits: Float[Tensor, "row d_vocab"],
    token_ids: Int[Tensor, "row token"],
    last: Float[Tensor, "row d_vocab"] | None,
) -> None:
    total = logits.logsumexp(dim=-1, keepdim=True)
    out.log_prob[layer, rows] = (logits.gather(1, token_ids) - total).cpu()
    out.rank[layer, rows] = ranks(logits, token_ids).cpu()
    if last is not None:
        here, final = logits - total, last.log_softmax(dim=-1)
        out.entropy[layer, rows] = -_expected(here, here).cpu()
        out.kl_to_final[layer, rows] = _expected(final, final - here).clamp_min(0).cpu()


def ranks(
    logits: Float[Tensor, "row d_vocab"], token_ids: Int[Tensor, "row token"]
) -> Int[Tensor, "row token"]:
    """Number of tokens that come before each asked one; of equal logits the lower id does."""
    ids = torch.arange(logits.shape[1], device=logits.device)
    columns = []
    for column in range(token_ids.shape[1]):
        token = token_ids[:, column, None]
        own = logits.gather(1, token)
        # "Not below or equal" counts NaN as before, so that broken logits never look top-1.
        before = ~(logits <= own) | ((logits == own) & (ids < token))
        columns.append(before.sum(dim=1))
    return torch.stack(columns, dim=1)


def _expected(
    log_probs: Float[Tensor, "row d_vocab"], values: Float[Tensor, "row d_vocab"]
) -> Float[Tensor, " row"]:
    probability = log_probs.exp()
    return torch.where(probability > 0, probability * values, 0.0).sum(dim=-1)


def _residuals(
    model: LensModel,
    batch: TokenBatch,
    reads: Reads,
    layers: Sequence[int],
    edits: Sequence[Edit],
) -> tuple[Int[Tensor, " read"], Mapping[int, Float[Tensor, "read d_model"]]]:
    """The batch's reads, and their residuals by layer."""
    picked, rows, columns = _places(batch, reads)
    kept: dict[int, Tensor] = {}
    # A read is an edit that changes nothing and comes last: only the asked rows are kept.
    keep = [
        Edit(site=Site.RESID_POST, layer=layer, hook=_keep(kept, layer, rows, columns))
        for layer in layers
    ]
    # An edit above the layers read must still fire, or it would be called broken.
    last = max([*layers, *(edit.layer for edit in edits)])
    run_batch(model, batch, edits=[*edits, *keep], last_layer=last)
    return picked, kept


def _keep(
    kept: dict[int, Tensor], layer: int, rows: Int[Tensor, " read"], columns: Int[Tensor, " read"]
) -> HookFn:
    def keep(
        activation: Float[Tensor, "batch pos d_model"], /, *, hook: object
    ) -> Float[Tensor, "batch pos d_model"]:
        # Indexing by tensors copies, so the whole activation is not held on to.
        kept[layer] = activation[rows, columns]
        return activation

    return keep


def _places(
    batch: TokenBatch, reads: Reads
) -> tuple[Int[Tensor, " read"], Int[Tensor, " read"], Int[Tensor, " read"]]:
    """Numbers of the reads that lie in this batch, with their rows and columns in it."""
    found = [
        (read, row)
        for row, prompt in enumerate(batch.rows)
        for read in (reads.prompt == prompt).nonzero()[:, 0].tolist()
    ]
    picked, rows = torch.tensor(found, dtype=torch.long).reshape(-1, 2).unbind(dim=1)
    wanted = reads.position[picked].to(batch.layout.positions.device)
    columns = (batch.layout.positions[rows] == wanted[:, None]).int().argmax(dim=1)
    return picked, rows.to(columns.device), columns


def _check_tokens(token_ids: Int[Tensor, "read token"], d_vocab: int) -> None:
    if token_ids.numel() == 0:
        raise ValueError("expected at least one prompt and one token to look up, got none")
    low, high = int(token_ids.min()), int(token_ids.max())
    if low < 0 or high >= d_vocab:
        raise ValueError(
            f"expected token ids from 0 to {d_vocab - 1}, got ids from {low} to {high}; "
            "encode the targets with this model's own tokenizer"
        )


def _empty(n_layers: int, n_reads: int, n_tokens: int) -> Decoded:
    return Decoded(
        log_prob=torch.full((n_layers, n_reads, n_tokens), torch.nan),
        rank=torch.full((n_layers, n_reads, n_tokens), -1),
        entropy=torch.full((n_layers, n_reads), torch.nan),
        kl_to_final=torch.full((n_layers, n_reads), torch.nan),
    )
