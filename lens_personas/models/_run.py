"""Forward passes with edits and reads; scores at the last token; teacher-forced answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import Edit, HookFn, Site, compile_edits
from lens_personas.models._batch import batches
from lens_personas.models._types import LensModel, Prompt, TokenBatch

Place = tuple[Site, int]
DEFAULT_TOKEN_BUDGET = 2048
"""Tokens in a batch, padding included; small batches are the fastest on a CPU."""


@dataclass(frozen=True, kw_only=True)
class BatchRun:
    """What one forward pass left behind."""

    resid: Float[Tensor, "batch pos d_model"]
    """``resid_post`` of the last layer that ran, edits included."""
    reads: dict[Place, Tensor]
    """Activation at each place asked for, after the edits there."""


@torch.no_grad()
def run_batch(
    model: LensModel,
    batch: TokenBatch,
    *,
    edits: Sequence[Edit] = (),
    reads: Sequence[Place] = (),
    last_layer: int | None = None,
) -> BatchRun:
    """Run one batch with ``edits`` in force and keep the activations at ``reads``.

    Args:
        model: The model.
        batch: Padded prompts.
        edits: Applied in the order given within a place.
        reads: Places to keep, each seen after its edits.
        last_layer: Last block to run, counted from 0; None for all.

    Raises:
        ValueError: If a layer does not exist, or an edit cannot work on this model.
        HookCountError: If a hook did not fire exactly once.
    """
    last = model.card.n_layers - 1 if last_layer is None else last_layer
    check_places(model, [(e.site, e.layer) for e in edits], edited=True)
    check_places(model, [*reads, (Site.RESID_POST, last)])
    kept: dict[Place, Tensor] = {}
    hooks = compile_edits(edits, batch.layout, batch.rows)
    for place in reads:
        hooks[place] = _reading(kept, place, hooks.get(place))
    positions = batch.layout.positions
    resid = model.run(batch.tokens, positions, hooks=hooks, cache=None, last_layer=last)
    return BatchRun(resid=resid, reads=kept)


def check_places(model: LensModel, places: Sequence[Place], *, edited: bool = False) -> None:
    """Refuse places that the model lacks, or where an edit would have no effect.

    Raises:
        ValueError: Naming the place and what can be used instead.
    """
    for site, layer in places:
        if not 0 <= layer < model.card.n_layers:
            raise ValueError(
                f"expected a layer from 0 to {model.card.n_layers - 1}, got {layer}: "
                f"{model.card.model_id} has {model.card.n_layers} layers"
            )
        if edited and site is Site.RESID_MID and not model.card.edits_resid_mid:
            raise ValueError(
                "an edit at resid_mid does not reach the residual stream of this backend "
                f"({model.card.backend}); edit attn_out or resid_post of the layer instead"
            )
        if edited and not site.has_d_model:
            raise ValueError(f"expected a site of width d_model to edit, got {site.value}")


def _reading(kept: dict[Place, Tensor], place: Place, edit: HookFn | None) -> HookFn:
    def read(activation: Tensor, /, *, hook: object) -> Tensor:
        seen = activation if edit is None else edit(activation, hook=hook)
        kept[place] = seen
        return seen

    return read


@torch.no_grad()
def map_last_logits(
    model: LensModel,
    prompts: Sequence[Prompt],
    reduce: Callable[[Float[Tensor, "batch d_vocab"]], Float[Tensor, "batch k"]],
    *,
    edits: Sequence[Edit] = (),
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> Float[Tensor, "prompt k"]:
    """``reduce`` of the float32 logits at the last token of each prompt, in prompt order.

    Only one batch's logits exist at a time, and only at the last token.

    Raises:
        ValueError: If there is no prompt, or an edit does not fit the model.
    """
    if not prompts:
        raise ValueError("expected at least one prompt, got none")
    out: Tensor | None = None
    for batch in model_batches(model, prompts, token_budget):
        resid = run_batch(model, batch, edits=edits).resid
        last = resid[torch.arange(len(batch.rows), device=resid.device), batch.last_column]
        reduced = reduce(model.logits(last).float()).cpu()
        if out is None:
            out = reduced.new_empty(len(prompts), reduced.shape[1])
        out[list(batch.rows)] = reduced
    assert out is not None
    return out


@torch.no_grad()
def answer_log_probs(
    model: LensModel,
    prompts: Sequence[Prompt],
    *,
    edits: Sequence[Edit] = (),
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> tuple[Float[Tensor, " answer"], ...]:
    """Log-probability (nats) of each teacher-forced answer token, one tensor a prompt.

    Raises:
        ValueError: If a prompt was rendered without an answer.
    """
    for prompt in prompts:
        if len(prompt.ids) <= prompt.prompt_length:
            raise ValueError(
                f"expected prompt {prompt.prompt_id!r} to carry an answer, it has none; "
                "render it with answer=..."
            )
    out: list[Tensor] = [torch.empty(0)] * len(prompts)
    for batch in model_batches(model, prompts, token_budget):
        resid = run_batch(model, batch, edits=edits).resid
        for at, row in enumerate(batch.rows):
            prompt = prompts[row]
            first = int((batch.layout.positions[at] == prompt.prompt_length - 1).nonzero())
            answer = torch.tensor(prompt.ids[prompt.prompt_length :], device=resid.device)
            before = resid[at, first : first + len(answer)]
            log_probs = model.logits(before).float().log_softmax(dim=-1)
            out[row] = log_probs.gather(1, answer[:, None])[:, 0].cpu()
    return tuple(out)


def model_batches(
    model: LensModel, prompts: Sequence[Prompt], token_budget: int = DEFAULT_TOKEN_BUDGET
) -> list[TokenBatch]:
    """Left-padded batches on the model's device.

    Raises:
        ValueError: If a prompt is longer than the model's context.
    """
    longest = max((len(prompt.ids) for prompt in prompts), default=0)
    if longest > model.card.n_ctx:
        raise ValueError(
            f"expected prompts of at most {model.card.n_ctx} tokens, the longest has {longest}; "
            "use fewer statements or a model with a longer context"
        )
    return list(
        batches(prompts, pad_id=pad_id(model), device=model.device, token_budget=token_budget)
    )


def pad_id(model: LensModel) -> int:
    """Token id to pad with; what it is has no effect, since padding is masked."""
    for candidate in (model.tokenizer.pad_token_id, model.tokenizer.eos_token_id):
        if isinstance(candidate, int):
            return candidate
    return 0
