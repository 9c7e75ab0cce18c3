"""Training of a tuned lens: residuals are read once, then each layer learns by itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens_personas.models import DEFAULT_TOKEN_BUDGET, LensModel, Prompt, model_batches
from lens_personas.readouts._decode import Reads, residuals
from lens_personas.readouts._tuned_lens_types import (
    LensSource,
    LensTraining,
    TunedLens,
    translated,
    untrained,
)

_ROWS_AT_ONCE = 512
# A component that hardly varies would otherwise get steps without bound.
_LEAST_SPREAD = 0.01

Logits = Callable[[Float[Tensor, "row d_model"]], Float[Tensor, "row d_vocab"]]
"""Final norm and unembedding of rows of residuals."""


@dataclass(frozen=True, kw_only=True)
class Steps:
    """How translators are trained."""

    steps: int
    """Steps of the optimiser."""
    batch_size: int
    """Positions in a step."""
    lr: float
    """First learning rate; it falls to 0 in a line."""
    weight_decay: float
    """Pull towards the identity."""


def train_tuned_lens(
    model: LensModel,
    prompts: Sequence[Prompt],
    *,
    layers: Sequence[int] | None = None,
    steps: int = 300,
    batch_size: int = 256,
    lr: float = 0.02,
    weight_decay: float = 0.01,
    holdout: float = 0.1,
    groups: Sequence[str] | None = None,
    max_tokens: int = 8192,
    seed: int = 0,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> TunedLens:
    """Affine translators that bring each layer's lens to the model's own output.

    The tuned lens of Belrose et al. (https://arxiv.org/abs/2303.08112): the KL divergence of
    the translated lens from the last layer's is made small over the positions of ``prompts``,
    answers included, padding and each prompt's first token (whose residual is an outlier) left
    out. Start and pull of the weight decay are the identity. The model's weights stay as they
    are. What the lens then shows is what the *output* will be: see :class:`TunedLens`.

    Where we deviate: Adam with decoupled decay in place of SGD, each component of the input in
    units of its own spread, so that a learning rate serves any model; training on the prompts of
    a study, not on the Pile, so that it knows them better and other text worse.

    Memory: ``max_tokens * (layers + 1) * d_model`` float32 on the CPU; on the device one layer's
    translator with its optimiser, and the logits of ``batch_size`` rows a few times.

    Args:
        model: The model.
        prompts: What it reads; any answer counts.
        layers: Layers from 0; None for all. The last one needs no translator and gets none.
        steps: Steps of the optimiser at each layer; with 0 it is the logit lens.
        batch_size: Positions in a step.
        lr: First learning rate, about the share of its size by which a residual moves in a
            step; it falls to 0 in a line.
        weight_decay: Pull towards the identity.
        holdout: Share of the groups on which the divergence is measured alone.
        groups: Group of each prompt; those of one are held out together, as prompts that say
            nearly the same have to be. None for each prompt by itself.
        max_tokens: Positions at most, drawn from all.
        seed: Seed of the held-out prompts and the order of the positions.
        token_budget: Tokens in a batch of the model, padding included.

    Raises:
        ValueError: If a number is out of range, a layer does not exist, or there are not two
            groups with prompts of at least two tokens.
    """
    settings = Steps(steps=steps, batch_size=batch_size, lr=lr, weight_decay=weight_decay)
    _check(settings, holdout, max_tokens)
    generator = torch.Generator().manual_seed(seed)
    reads, held = _positions(prompts, _named(prompts, groups), holdout, max_tokens, generator)
    asked = range(model.card.n_layers) if layers is None else layers
    lens = untrained(LensSource.of(model.card), asked)
    last = model.card.n_layers - 1
    found = _collected(model, prompts, reads, [*lens.layers, last], token_budget)
    before, after = [], []
    for at, layer in enumerate(lens.layers):
        resid, final = found[layer], found[last]
        weight, bias = fit_translator(
            model_logits(model),
            resid[~held].to(model.device),
            final[~held].to(model.device),
            settings,
            generator,
        )
        lens.weights[at], lens.biases[at] = weight.cpu(), bias.cpu()
        before.append(_divergence(model, resid[held], final[held]))
        moved = translated(resid[held], lens.weights[at], lens.biases[at])
        after.append(_divergence(model, moved, final[held]))
    training = LensTraining(
        n_tokens=int((~held).sum()),
        n_held_out=int(held.sum()),
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        weight_decay=weight_decay,
        seed=seed,
        kl_before=tuple(before),
        kl_after=tuple(after),
    )
    return TunedLens(
        weights=lens.weights,
        biases=lens.biases,
        layers=lens.layers,
        source=lens.source,
        training=training,
    )


def model_logits(model: LensModel) -> Logits:
    """Float32 logits of float32 rows, through which gradients pass."""
    dtype = getattr(torch, model.card.dtype)

    def logits(resid: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_vocab"]:
        found: Tensor = model.logits(resid.to(model.device, dtype)).float()
        return found

    return logits


def fit_translator(
    logits_of: Logits,
    resid: Float[Tensor, "read d_model"],
    final: Float[Tensor, "read d_model"],
    settings: Steps,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "d_model d_model"], Float[Tensor, " d_model"]]:
    """``W`` and ``b`` of one layer that make KL(final ‖ translated) small."""
    d_model = resid.shape[1]
    spread = resid.square().mean(dim=0).sqrt()
    size = spread.square().mean().sqrt().clamp_min(torch.finfo(torch.float32).tiny)
    spread = spread.clamp_min(_LEAST_SPREAD * float(size))
    inner = torch.zeros(d_model, d_model, device=resid.device, requires_grad=True)
    shift = torch.zeros(d_model, device=resid.device, requires_grad=True)
    optimiser = torch.optim.AdamW(
        [{"params": [inner], "lr": settings.lr / d_model**0.5}, {"params": [shift]}],
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        # Else gradients that are rounding alone would be followed at full length.
        eps=1e-6,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 1.0 - step / max(settings.steps, 1)
    )
    order = _order(len(resid), settings, generator)
    for step in range(settings.steps):
        rows = order[step * settings.batch_size : (step + 1) * settings.batch_size]
        rows = rows.to(resid.device)
        with torch.enable_grad():
            moved = resid[rows] + size * ((resid[rows] / spread) @ inner.T + shift)
            loss = divergence(logits_of(moved), logits_of(final[rows])).mean()
            inner.grad, shift.grad = torch.autograd.grad(loss, [inner, shift])
        optimiser.step()
        schedule.step()
    return (size * inner / spread).detach(), (size * shift).detach()


def divergence(
    logits: Float[Tensor, "row d_vocab"], final: Float[Tensor, "row d_vocab"]
) -> Float[Tensor, " row"]:
    """KL(final ‖ lens) in nats."""
    target = final.log_softmax(dim=-1)
    terms = torch.nn.functional.kl_div(
        logits.log_softmax(dim=-1), target, reduction="none", log_target=True
    )
    return terms.sum(dim=-1)


def _check(settings: Steps, holdout: float, max_tokens: int) -> None:
    if settings.steps < 0 or settings.batch_size < 1 or max_tokens < 2:
        raise ValueError(
            "expected steps of 0 or more, a batch_size of 1 or more and max_tokens of 2 or more, "
            f"got steps={settings.steps}, batch_size={settings.batch_size}, "
            f"max_tokens={max_tokens}"
        )
    if not (settings.lr > 0 and settings.weight_decay >= 0 and 0 < holdout < 1):
        raise ValueError(
            "expected lr above 0, weight_decay of 0 or more and a holdout between 0 and 1, got "
            f"lr={settings.lr}, weight_decay={settings.weight_decay}, holdout={holdout}"
        )


def _named(prompts: Sequence[Prompt], groups: Sequence[str] | None) -> list[str]:
    """Group of each prompt."""
    if groups is None:
        return [str(row) for row in range(len(prompts))]
    if len(groups) != len(prompts):
        raise ValueError(
            f"expected one group a prompt, got {len(groups)} for {len(prompts)} prompts"
        )
    return list(groups)


def _positions(
    prompts: Sequence[Prompt],
    groups: Sequence[str],
    holdout: float,
    max_tokens: int,
    generator: torch.Generator,
) -> tuple[Reads, Bool[Tensor, " read"]]:
    """Positions to read, and which of them belong to prompts that are held out."""
    usable = [row for row, prompt in enumerate(prompts) if len(prompt.ids) > 1]
    names = list(dict.fromkeys(groups[row] for row in usable))
    if len(names) < 2:
        raise ValueError(
            "expected at least two prompts, or groups of them, of two tokens or more, one to "
            f"train on and one to hold out, got {len(names)}"
        )
    drawn = torch.randperm(len(names), generator=generator).tolist()
    held_groups = {names[at] for at in drawn[: min(ceil(holdout * len(names)), len(names) - 1)]}
    found = torch.tensor([(row, at) for row in usable for at in range(1, len(prompts[row].ids))])
    is_held = torch.tensor([group in held_groups for group in groups])
    kept = torch.randperm(len(found), generator=generator)
    if len(found) > max_tokens:
        kept = _both_sides(kept, is_held[found[kept, 0]], max_tokens)
    row, position = found[kept.sort().values].unbind(dim=1)
    nothing = torch.empty(len(row), 0, dtype=torch.long)
    return Reads(prompt=row, position=position, token_ids=nothing), is_held[row]


def _both_sides(
    order: Int[Tensor, " read"], held: Bool[Tensor, " read"], max_tokens: int
) -> Int[Tensor, " kept"]:
    """The first ``max_tokens`` in order, at least one of either side."""
    n_held = min(max(1, round(max_tokens * float(held.float().mean()))), max_tokens - 1)
    return torch.cat([order[held][:n_held], order[~held][: max_tokens - n_held]])


@torch.no_grad()
def _collected(
    model: LensModel,
    prompts: Sequence[Prompt],
    reads: Reads,
    layers: Sequence[int],
    token_budget: int,
) -> Mapping[int, Float[Tensor, "read d_model"]]:
    out = {layer: torch.empty(len(reads.prompt), model.card.d_model) for layer in layers}
    for batch in model_batches(model, prompts, token_budget, share=True):
        picked, resid = residuals(model, batch, reads, layers, ())
        for layer in layers:
            out[layer][picked] = resid[layer].float().cpu()
    return out


def _order(n: int, settings: Steps, generator: torch.Generator) -> Int[Tensor, " drawn"]:
    """Positions of all steps, every one as often as any other."""
    needed = settings.steps * settings.batch_size
    rounds = [torch.randperm(n, generator=generator) for _ in range(ceil(needed / n))]
    return torch.cat([*rounds, torch.empty(0, dtype=torch.long)])[:needed]


@torch.no_grad()
def _divergence(
    model: LensModel, resid: Float[Tensor, "read d_model"], final: Float[Tensor, "read d_model"]
) -> float:
    logits_of = model_logits(model)
    total = 0.0
    for rows, target in zip(resid.split(_ROWS_AT_ONCE), final.split(_ROWS_AT_ONCE), strict=True):
        total += float(divergence(logits_of(rows), logits_of(target)).double().sum())
    # Rounding can leave -1e-9.
    return max(total / len(resid), 0.0)
