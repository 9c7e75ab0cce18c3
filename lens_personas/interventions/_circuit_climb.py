"""One batch of pairs up the layers, each part reading what its edges carry."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.hooks import Site
from lens_personas.interventions._circuit_parts import Parts, parts_of
from lens_personas.interventions._circuit_types import ModelGraph
from lens_personas.models import (
    LensModel,
    TokenBatch,
    check_heads_add_up,
    head_weights,
    run_batch,
)

_EMBEDDED = (Site.RESID_PRE, 0)


@dataclass(frozen=True, kw_only=True)
class HeadOutputs:
    """What the attention of one layer adds to the residual stream."""

    weights: Float[Tensor, "head d_head d_model"]
    """``W_O``."""
    bias: Float[Tensor, " d_model"]
    """``b_O``."""


def head_outputs_of(model: LensModel) -> tuple[HeadOutputs, ...]:
    """Output weights of every layer, float32: what is added up is not rounded to a half precision.

    Raises:
        ValueError: If a layer has none by head.
    """
    found = (head_weights(model, layer) for layer in range(model.card.n_layers))
    return tuple(
        HeadOutputs(
            weights=each.w_o.to(model.device, torch.float32),
            bias=each.b_o.to(model.device, torch.float32),
        )
        for each in found
    )


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What each part wrote in a run, at the columns that run."""

    embed: Float[Tensor, "prompt column d_model"]
    """``resid_pre`` of block 0."""
    z: tuple[Float[Tensor, "prompt column head d_head"], ...]
    """Heads of each layer, before ``W_O``."""
    mlp_out: tuple[Float[Tensor, "prompt column d_model"], ...]
    """MLP of each layer."""


@dataclass(frozen=True, kw_only=True)
class CircuitBatch:
    """Pairs of one batch, run through circuits."""

    model: LensModel
    """The model."""
    graph: ModelGraph
    """Its parts."""
    outputs: tuple[HeadOutputs, ...]
    """What its heads write with."""
    clean: TokenBatch
    """Clean prompts, padded on the left."""
    corrupted: TokenBatch
    """Corrupted ones, in the same places."""
    resume: bool
    """Whether blocks are driven where they can be."""

    def ends(
        self, masks: Float[Tensor, "circuit source target"], token_budget: int
    ) -> Iterator[tuple[int, Float[Tensor, "row d_model"]]]:
        """Number of the first circuit in a call, and the last residual of all its rows.

        Rows of a circuit follow each other, in the order of the batch.
        """
        n_prompts = len(self.clean.rows)
        n_columns = self.clean.tokens.shape[1] - self.parts.start
        step = max(1, token_budget // (n_prompts * n_columns))
        for first in range(0, len(masks), step):
            chosen = masks[first : first + step].to(self.model.device)
            rows = torch.arange(n_prompts, device=chosen.device).repeat(len(chosen))
            yield first, self._climb(chosen.repeat_interleave(n_prompts, dim=0), rows)

    @cached_property
    def parts(self) -> Parts:
        """The model's parts on the columns that can differ."""
        real = self.clean.layout.positions >= 0
        differs = ((self.clean.tokens != self.corrupted.tokens) & real).any(dim=0).int()
        # Pairs that do not differ run their last column, for the logits.
        start = int(differs.argmax()) if differs.any() else len(differs) - 1
        return parts_of(self.model, self.clean, start, resume=self.resume)

    @cached_property
    def _embed(self) -> Float[Tensor, "prompt column d_model"]:
        """What the embedding writes in the clean run, whatever the circuit."""
        found = run_batch(self.model, self.clean, reads=[_EMBEDDED], last_layer=0).reads
        return found[_EMBEDDED][:, self.parts.start :]

    @cached_property
    def _sources(self) -> Sources:
        """What each part wrote in the corrupted run."""
        start, layers = self.parts.start, range(self.graph.n_layers)
        sites = (Site.Z, Site.ATTN_OUT, Site.MLP_OUT)
        found = run_batch(
            self.model,
            self.corrupted,
            reads=[_EMBEDDED, *((site, layer) for site in sites for layer in layers)],
            take=lambda _, kept, __: kept[:, start:],
        ).reads
        for layer, output in enumerate(self.outputs):
            z, attn_out = found[Site.Z, layer][:, -1:], found[Site.ATTN_OUT, layer][:, -1]
            written = _by_head(z.float(), output.weights)[:, :, 0]
            check_heads_add_up(self.model, layer, written, attn_out, output.bias)
        return Sources(
            embed=found[_EMBEDDED],
            z=tuple(found[Site.Z, layer] for layer in layers),
            mlp_out=tuple(found[Site.MLP_OUT, layer] for layer in layers),
        )

    def _climb(
        self, outside: Float[Tensor, "row source target"], rows: Int[Tensor, " row"]
    ) -> Float[Tensor, "row d_model"]:
        """Last residual of each row, as the logits read it."""
        there, dtype, n_heads = self._sources, self._embed.dtype, self.graph.n_heads
        resid = self._embed[rows].float()
        change = there.embed[rows].float() - resid
        # What each reader's input differs from the residual by, the next reader first.
        nothing = torch.zeros_like(resid)[:, None].expand(-1, outside.shape[2], -1, -1)
        missing = _with_sent(nothing, outside[:, :1], change[:, None])
        outside = outside[:, 1:]
        for layer, output in enumerate(self.outputs):
            read = (resid + missing[:, 0]).to(dtype)
            z, attn_out = self.parts.attention(layer, read, rows)
            last = slice(-z.shape[1], None)
            resid, missing = resid[:, last] + attn_out.float(), missing[:, 1:, last]
            change = _by_head(there.z[layer][rows, last].float() - z.float(), output.weights)
            missing = _with_sent(missing, outside[:, :n_heads], change)
            mlp_out = self.parts.mlp(layer, (resid + missing[:, 0]).to(dtype), rows).float()
            resid, missing = resid + mlp_out, missing[:, 1:]
            change = there.mlp_out[layer][rows, last].float() - mlp_out
            missing = _with_sent(missing, outside[:, n_heads : n_heads + 1], change[:, None])
            outside = outside[:, n_heads + 1 :]
        return (resid + missing[:, 0])[:, -1].to(dtype)


def _by_head(
    z: Float[Tensor, "row column head d_head"], weights: Float[Tensor, "head d_head d_model"]
) -> Float[Tensor, "row head column d_model"]:
    return einsum(
        z, weights, "row column head d_head, head d_head d_model -> row head column d_model"
    )


def _with_sent(
    missing: Float[Tensor, "row reader column d_model"],
    outside: Float[Tensor, "row source target"],
    change: Float[Tensor, "row source column d_model"],
) -> Float[Tensor, "row reader column d_model"]:
    """``missing`` of the last targets, with the ``change`` of sources that are cut off them."""
    cut = outside[:, :, -missing.shape[1] :].transpose(1, 2)
    return torch.baddbmm(missing.flatten(2), cut, change.flatten(2)).view(missing.shape)
