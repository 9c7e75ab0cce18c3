"""A copy of a small model, trained a little on a few texts."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from lens_personas.models._batch import pad
from lens_personas.models._run import pad_id
from lens_personas.models._types import LensModel, Prompt, TokenBatch

LARGEST_TUNED = 100_000_000
"""Parameters up to which a copy is trained: it holds the weights four times over."""


def tuned_copy(
    model: LensModel,
    prompts: Sequence[Prompt],
    *,
    generator: torch.Generator,
    steps: int = 40,
    batch_size: int = 16,
    learning_rate: float = 1e-3,
) -> LensModel:
    """A copy whose weights were all trained on what the prompts say; the model stays as it was.

    The loss is the mean next-token loss of every token after ``prompt_length``; of all tokens but
    the first where a prompt has no answer. AdamW, the rate falling linearly to 0.

    Raises:
        ValueError: If there is no prompt, one has nothing to learn, the model is larger than
            :data:`LARGEST_TUNED`, or it is not in float32 or float64.
    """
    _check(model, prompts)
    with torch.no_grad():
        # The bridge holds on to its last activations, which cannot be copied with their graph.
        _logits(model, _batch(model, prompts[:1]))
    tuned = copy.deepcopy(model)
    wrapped = tuned.wrapped
    before = [parameter.requires_grad for parameter in wrapped.parameters()]
    wrapped.requires_grad_(True)
    optimizer = torch.optim.AdamW(wrapped.parameters(), lr=learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    for _ in range(steps):
        rows = torch.randint(len(prompts), (batch_size,), generator=generator)
        loss = _loss(tuned, [prompts[row] for row in rows.tolist()])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(wrapped.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    for parameter, needed in zip(wrapped.parameters(), before, strict=True):
        parameter.grad = None
        parameter.requires_grad_(needed)
    changed = f"{model.card.fingerprint} tuned on {len(prompts)} texts"
    card = replace(model.card, model_id=f"{model.card.model_id} tuned", fingerprint=changed)
    return replace(tuned, card=card)  # type: ignore[type-var]


def _check(model: LensModel, prompts: Sequence[Prompt]) -> None:
    if not prompts:
        raise ValueError("expected at least one prompt to train on, got none")
    short = [prompt.prompt_id for prompt in prompts if len(prompt.ids) < 2]
    if short:
        raise ValueError(
            f"expected prompts of two tokens or more, of which one is learned, got {short[:3]}"
        )
    size = sum(parameter.numel() for parameter in model.wrapped.parameters())
    if size > LARGEST_TUNED:
        raise ValueError(
            f"expected a model of at most {LARGEST_TUNED:,} parameters to train a copy of, got "
            f"{model.card.model_id} with {size:,}; use a persona prompt or a steering vector"
        )
    if model.card.dtype not in ("float32", "float64"):
        raise ValueError(
            f"expected a model in float32 to train, got {model.card.dtype}; small steps are lost "
            "in half precision: load it with dtype='float32'"
        )


def _batch(model: LensModel, prompts: Sequence[Prompt]) -> TokenBatch:
    rows = range(len(prompts))
    return pad(prompts, rows, pad_id=pad_id(model), device=model.device, side="right")


def _logits(model: LensModel, batch: TokenBatch) -> Float[Tensor, "token d_vocab"]:
    """Of every token but the first, from those before it."""
    resid = model.run(
        batch.tokens,
        batch.layout.positions,
        hooks={},
        cache=None,
        last_layer=model.card.n_layers - 1,
    )
    return model.logits(resid[:, :-1].flatten(0, 1)).float()


def _loss(model: LensModel, prompts: Sequence[Prompt]) -> Float[Tensor, ""]:
    batch = _batch(model, prompts)
    with torch.enable_grad():
        logits = _logits(model, batch)
    targets = batch.tokens[:, 1:].clone()
    for row, prompt in enumerate(prompts):
        start = prompt.prompt_length if len(prompt.ids) > prompt.prompt_length else 1
        targets[row, : start - 1] = -100
        targets[row, len(prompt.ids) - 1 :] = -100
    return cross_entropy(logits, targets.flatten(), ignore_index=-100)
