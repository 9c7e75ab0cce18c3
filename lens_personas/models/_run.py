"""Forward passes with edits and reads; scores at the last token; teacher-forced answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.hooks import Edit, Site, TokenLayout, compile_edits
from lens_personas.models._batch import batches
from lens_personas.models._driven import (
    can_share,
    can_trim,
    column_of,
    layout_at,
    reading,
    run_driven,
)
from lens_personas.models._prefix import shared_batches
from lens_personas.models._types import LensModel, Prompt, TokenBatch

Place = tuple[Site, int]
DEFAULT_TOKEN_BUDGET = 2048
"""Tokens in a batch, padding included; small batches are the fastest on a CPU."""
# Numbers in a batch's residual: 512 tokens of width 768 were faster than 2048 by a tenth.
_CPU_BATCH = 512 * 768


Take = Callable[[Place, Float[Tensor, "batch pos d_model"], TokenLayout], Tensor]
"""What is kept of an activation at a place, from all columns that ran and their layout."""


@dataclass(frozen=True, kw_only=True)
class BatchRun:
    """What one forward pass left behind."""

    resid: Float[Tensor, "batch pos d_model"]
    """``resid_post`` of the last layer that ran, edits included."""
    reads: dict[Place, Tensor]
    """Activation at each place asked for, after the edits there, or what ``take`` made of it."""


@torch.no_grad()
def run_batch(
    model: LensModel,
    batch: TokenBatch,
    *,
    edits: Sequence[Edit] = (),
    reads: Sequence[Place] = (),
    last_layer: int | None = None,
    take: Take | None = None,
    only: Int[Tensor, " batch"] | None = None,
    plain: bool = False,
) -> BatchRun:
    """Run one batch with ``edits`` in force and keep the activations at ``reads``.

    Prefixes that rows share run once where the edits leave them alike. With ``only`` the
    last block runs at one column of each row, where nothing but its output is asked for.

    Args:
        model: The model.
        batch: Padded prompts.
        edits: Applied in the order given within a place.
        reads: Places to keep, each seen after its edits.
        last_layer: Last block to run, counted from 0; None for all.
        take: What to keep of each activation, called as soon as it is there, so that no more
            than one is held; None keeps it whole.
        only: Column of each row that is wanted of the last block's output: ``resid``, and a
            read of ``resid_post`` there, then hold this column alone.
        plain: Whether every column runs through every block of the model's own pass, which
            gives the same numbers and takes longer.

    Raises:
        ValueError: If a layer does not exist, or an edit cannot work on this model.
        HookCountError: If a hook did not fire exactly once.
    """
    last = model.card.n_layers - 1 if last_layer is None else last_layer
    check_places(model, [(e.site, e.layer) for e in edits], edited=True)
    check_places(model, [*reads, (Site.RESID_POST, last)])
    output: Place = (Site.RESID_POST, last)
    # An edit above the last block never fires, which only the model's own pass finds out.
    plain = plain or any(edit.layer > last for edit in edits)
    if batch.prefix is not None and not can_share(batch.prefix, batch.layout, edits):
        batch = replace(batch, prefix=None)
    trims = only is not None and not plain and can_trim(model, batch, edits, reads, output, only)
    kept: dict[Place, Tensor] = {}

    def keep(place: Place, activation: Tensor, layout: TokenLayout) -> None:
        if only is not None and not trims and place == output:
            activation, layout = column_of(activation, only), layout_at(layout, only)
        kept[place] = activation if take is None else take(place, activation, layout)

    if trims or (batch.prefix is not None and model.card.drives_blocks and not plain):
        columns = only if trims else None
        resid = run_driven(
            model, batch, edits=edits, reads=reads, output=output, take=keep, only=columns
        )
    else:
        resid = _run_whole(model, batch, edits, reads, last, keep)
    if only is not None and not trims:
        resid = column_of(resid, only)
    return BatchRun(resid=resid, reads=kept)


def _run_whole(
    model: LensModel,
    batch: TokenBatch,
    edits: Sequence[Edit],
    reads: Sequence[Place],
    last_layer: int,
    take: Callable[[Place, Tensor, TokenLayout], None],
) -> Float[Tensor, "batch pos d_model"]:
    """The model's own pass, with hooks."""
    hooks = compile_edits(edits, batch.layout, batch.rows)
    for place in reads:

        def seen(_: Site, activation: Tensor, place: Place = place) -> None:
            take(place, activation, batch.layout)

        hooks[place] = reading(seen, place[0], hooks.get(place))
    positions = batch.layout.positions
    return model.run(batch.tokens, positions, hooks=hooks, cache=None, last_layer=last_layer)


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


def last_resid(
    model: LensModel, batch: TokenBatch, *, edits: Sequence[Edit] = ()
) -> Float[Tensor, "batch d_model"]:
    """``resid_post`` of the last block at the last token of each row; it runs there alone.

    Raises:
        ValueError: If an edit does not fit the model.
        HookCountError: If a hook did not fire exactly once.
    """
    return run_batch(model, batch, edits=edits, only=batch.last_column).resid[:, 0]


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
    for batch in model_batches(model, prompts, token_budget, share=may_share(edits)):
        last = last_resid(model, batch, edits=edits)
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
    for batch in model_batches(model, prompts, token_budget, share=may_share(edits)):
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
    model: LensModel,
    prompts: Sequence[Prompt],
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    *,
    share: bool = False,
    whole: bool = False,
) -> list[TokenBatch]:
    """Batches on the model's device, padded on the left.

    On a CPU a batch is kept small enough for the caches, whatever the budget, unless a
    ``whole`` one is asked for. With ``share`` prompts that begin alike go into one batch
    whose common columns can run once, padded on both sides; where little is shared, or
    blocks cannot be driven, as without.

    Raises:
        ValueError: If a prompt is longer than the model's context.
    """
    longest = max((len(prompt.ids) for prompt in prompts), default=0)
    if longest > model.card.n_ctx:
        raise ValueError(
            f"expected prompts of at most {model.card.n_ctx} tokens, the longest has {longest}; "
            "use fewer statements or a model with a longer context"
        )
    if model.card.device == "cpu" and not whole:
        token_budget = min(token_budget, max(256, _CPU_BATCH // model.card.d_model))
    make = shared_batches if share and model.card.drives_blocks else batches
    return list(make(prompts, pad_id=pad_id(model), device=model.device, token_budget=token_budget))


def may_share(edits: Sequence[Edit]) -> bool:
    """Whether rows that begin alike may be edited alike there, whatever the rows are."""
    return not any(edit.per_row or edit.per_pass for edit in edits)


def pad_id(model: LensModel) -> int:
    """Token id to pad with; what it is has no effect, since padding is masked."""
    for candidate in (model.tokenizer.pad_token_id, model.tokenizer.eos_token_id):
        if isinstance(candidate, int):
            return candidate
    return 0
