"""Direct logit attribution: which part of the model wrote the next token."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.hooks import Site, TokenLayout
from lens_personas.models import (
    DEFAULT_TOKEN_BUDGET,
    LensModel,
    Prompt,
    TokenBatch,
    check_heads_add_up,
    frozen_final,
    head_weights,
    model_batches,
    run_batch,
    written_by_heads,
)
from lens_personas.readouts._logit_targets import LogitTarget, check_target, linear_target
from lens_personas.readouts._read_at import ReadPosition, columns_at, read_position

ComponentKind = Literal["embed", "head", "attn_bias", "mlp"]
"""What writes to the residual stream; ``attn_bias`` is what a layer's attention adds always."""


class Component(NamedTuple):
    """A part of the model that writes to the residual stream."""

    kind: ComponentKind
    """What it is."""
    layer: int = -1
    """Block, counted from 0; -1 for the embedding."""
    head: int = -1
    """Head, counted from 0; -1 for what is not a head."""

    @property
    def name(self) -> str:
        """Short name.

        >>> Component("head", 3, 1).name, Component("attn_bias", 2).name, Component("embed").name
        ('head 3.1', 'attn bias 2', 'embed')

        """
        places = [str(each) for each in (self.layer, self.head) if each >= 0]
        return f"{self.kind.replace('_', ' ')} {'.'.join(places)}".strip()


@dataclass(frozen=True, kw_only=True)
class LogitAttribution:
    """Share of every part in one score of the next token: ``values`` and the rest add up to it."""

    prompt_ids: tuple[str, ...]
    """Prompts, one a row of ``values``."""
    positions: tuple[int, ...]
    """Position read in each, counted from 0."""
    components: tuple[Component, ...]
    """Parts, one a column of ``values``, in the order in which they write: the embedding (with
    that of the position), then each layer's heads, its attention's bias where it has one, and
    its MLP."""
    values: Float[Tensor, "prompt component"]
    """What each part adds to the score, with the final norm's scale held at its actual value."""
    scale: Float[Tensor, " prompt"]
    """That scale: what the final norm divides the residual by."""
    bias: Float[Tensor, " prompt"]
    """What the biases of final norm and unembedding add; the same whatever the model reads, up
    to the weights of the score's tokens."""
    token_entropy: Float[Tensor, " prompt"]
    """What the spread over the score's tokens adds, in nats; 0 for a logit difference."""
    total: Float[Tensor, " prompt"]
    """The score itself, from the model's own logits."""

    @property
    def unexplained(self) -> Float[Tensor, " prompt"]:
        """What the parts miss of the score: rounding."""
        return self.total - self.values.sum(dim=1) - self.bias - self.token_entropy

    @property
    def heads(self) -> Float[Tensor, "prompt layer head"]:
        """Shares of the heads alone."""
        at = [number for number, each in enumerate(self.components) if each.kind == "head"]
        n_layers = 1 + self.components[at[-1]].layer
        return self.values[:, at].reshape(len(self.values), n_layers, -1)

    @property
    def mlps(self) -> Float[Tensor, "prompt layer"]:
        """Shares of the MLPs alone."""
        return self.values[:, [n for n, each in enumerate(self.components) if each.kind == "mlp"]]


@torch.no_grad()
def logit_attribution(
    model: LensModel,
    prompts: Sequence[Prompt],
    target: LogitTarget,
    *,
    at: ReadPosition = "last",
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> LogitAttribution:
    """What embedding, heads and MLPs each add to ``target`` at one position of each prompt.

    The residual is the sum of what they write, and the logits are linear in it once the final
    norm's scale is held at its actual value (Elhage et al. 2021,
    https://transformer-circuits.pub/2021/framework). So the shares add up to the score exactly,
    up to that held scale: what a part does *through* the scale, and what later parts make of
    it, is not counted; patching measures that. Log-odds and log-probabilities are linear too, up
    to an entropy, at the weights that their tokens have: ``lse(R) = Σ_R w (l - log w)``, with
    ``w`` the softmax within ``R``. Those weights are held as well.

    Args:
        model: The model.
        prompts: What it reads.
        target: `LogOdds` of the refusal tokens (the refusal score), `LogProb` of an answer's
            first token, or a `LogitDifference`.
        at: Position in each prompt whose next token is scored.
        token_budget: Tokens in a batch, padding included.

    Raises:
        ValueError: If there is no prompt, the target does not fit, a position does not exist,
            what parts write is not what reaches the residual stream (``residual_identity_holds``
            of the card, or a norm after the attention), or the logits are not linear behind the
            final norm (a soft cap).
    """
    if not prompts:
        raise ValueError("expected at least one prompt, got none")
    check_target(target, n_prompts=len(prompts), d_vocab=model.card.d_vocab)
    if not model.card.residual_identity_holds:
        raise ValueError(
            f"expected a model whose residual stream is the sum of what its parts write, that of "
            f"{model.card.model_id} is off by {model.card.residual_identity_error:.1%} "
            "(card.residual_identity_holds); attribute by patching residual sites instead"
        )
    positions = tuple(read_position(prompt, at) for prompt in prompts)
    components = _components(model)
    out = torch.empty(len(prompts), len(components))
    rest = torch.empty(4, len(prompts))
    for batch in model_batches(model, prompts, token_budget):
        reads = _read(model, batch, positions)
        resid = reads[Site.RESID_POST, model.card.n_layers - 1].float()
        logits = model.logits(resid.to(getattr(torch, model.card.dtype))).float()
        linear = linear_target(target, logits, batch.rows)
        final = frozen_final(model, resid, linear.weights)
        shares = [
            einsum(part, final.directions, "row part d_model, row d_model -> row part")
            for part in _parts(model, reads)
        ]
        rows = list(batch.rows)
        out[rows] = torch.cat(shares, dim=1).cpu()
        rest[:, rows] = torch.stack([final.scale, final.bias, linear.entropy, linear.total]).cpu()
    scale, bias, entropy, total = rest.unbind()
    return LogitAttribution(
        prompt_ids=tuple(prompt.prompt_id for prompt in prompts),
        positions=positions,
        components=components,
        values=out,
        scale=scale,
        bias=bias,
        token_entropy=entropy,
        total=total,
    )


def _components(model: LensModel) -> tuple[Component, ...]:
    out = [Component("embed")]
    for layer in range(model.card.n_layers):
        out += [Component("head", layer, head) for head in range(model.card.n_heads)]
        if _has_bias(model, layer):
            out.append(Component("attn_bias", layer))
        out.append(Component("mlp", layer))
    return tuple(out)


def _has_bias(model: LensModel, layer: int) -> bool:
    return bool(head_weights(model, layer).b_o.any())


def _read(
    model: LensModel, batch: TokenBatch, positions: Sequence[int]
) -> dict[tuple[Site, int], Tensor]:
    """What stands at the asked position of each row: what each layer adds, and the end."""
    columns = columns_at(batch, positions)

    def take(
        place: object, activation: Float[Tensor, "batch pos *width"], layout: TokenLayout
    ) -> Float[Tensor, "batch *width"]:
        return _at(activation, columns)

    sites = (Site.Z, Site.ATTN_OUT, Site.MLP_OUT)
    layers = range(model.card.n_layers)
    places = [(site, layer) for layer in layers for site in sites]
    ends = [(Site.RESID_PRE, 0), (Site.RESID_POST, model.card.n_layers - 1)]
    return run_batch(model, batch, reads=[*ends, *places], take=take).reads


def _at(
    activation: Float[Tensor, "batch pos *width"], columns: Int[Tensor, " batch"]
) -> Float[Tensor, "batch *width"]:
    rows = torch.arange(len(columns), device=activation.device)
    return activation[rows, columns.to(activation.device)]


def _parts(
    model: LensModel, reads: dict[tuple[Site, int], Tensor]
) -> Iterator[Float[Tensor, "row part d_model"]]:
    """What the parts wrote, in the order of ``_components``."""
    yield reads[Site.RESID_PRE, 0].float()[:, None]
    for layer in range(model.card.n_layers):
        weights = head_weights(model, layer)
        written = written_by_heads(reads[Site.Z, layer], weights)
        attn_out = reads[Site.ATTN_OUT, layer]
        check_heads_add_up(model, layer, written, attn_out, weights.b_o)
        yield written
        if bool(weights.b_o.any()):
            yield weights.b_o.to(written.device).float().expand(len(written), 1, -1)
        yield reads[Site.MLP_OUT, layer].float()[:, None]
