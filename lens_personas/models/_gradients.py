"""Gradients of one number a prompt with respect to activations, at every place in one pass."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import Edit, HookFn, Site, compile_edits, in_order
from lens_personas.models._run import (
    DEFAULT_TOKEN_BUDGET,
    Place,
    check_places,
    model_batches,
    run_batch,
)
from lens_personas.models._types import LensModel, Prompt, TokenBatch

LastScore = Callable[[Float[Tensor, "row d_model"], Sequence[int]], Float[Tensor, " row"]]
"""One number a row from ``resid_post`` of the last block at each row's last token (give it to
``model.logits``) and the rows' numbers among the prompts; in operations torch can differentiate."""


@dataclass(frozen=True, kw_only=True)
class GradientBatch:
    """Gradients in one batch of prompts."""

    batch: TokenBatch
    """The batch, padded on the left."""
    metric: Float[Tensor, " batch"]
    """The number of each row."""
    gradients: dict[Place, Float[Tensor, "batch pos d_model"]]
    """Its derivative by the activation at each place, after the edits there; 0 at padding."""


@dataclass(frozen=True, kw_only=True)
class SiteGradients:
    """How much one number of each prompt changes with its activations."""

    metric: Float[Tensor, " prompt"]
    """The number, on the CPU."""
    gradients: dict[Place, Float[Tensor, "prompt pos d_model"]]
    """Its derivative by the activation at each place, after the edits there, in units of the
    number per unit of the activation; position 0 is the first token, 0 after the last one."""


def site_gradients(
    model: LensModel,
    prompts: Sequence[Prompt],
    score: LastScore,
    places: Sequence[Place],
    *,
    edits: Sequence[Edit] = (),
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> SiteGradients:
    """Derivative of ``score`` by the activations at all ``places``, in one forward and backward.

    Whatever hooks read can be differentiated; weights get no gradient and are left as they were.
    All places' gradients are held; `gradient_batches` hands them over batch by batch.

    Raises:
        ValueError: If there is no prompt, an edit does not fit, a place does not exist or does
            not reach the residual stream, or ``score`` does not give one number a row.
        HookCountError: If a hook did not fire exactly once.
    """
    longest = max((len(prompt.ids) for prompt in prompts), default=0)
    metric = torch.empty(len(prompts))
    out: dict[Place, Tensor] = {}
    for found in gradient_batches(
        model, prompts, score, places, edits=edits, token_budget=token_budget
    ):
        metric[list(found.batch.rows)] = found.metric.float().cpu()
        for place, gradient in found.gradients.items():
            if place not in out:
                out[place] = gradient.new_zeros(len(prompts), longest, gradient.shape[2])
            for at, row in enumerate(found.batch.rows):
                n_tokens = len(prompts[row].ids)
                out[place][row, :n_tokens] = gradient[at, -n_tokens:]
    return SiteGradients(metric=metric, gradients=out)


def gradient_batches(
    model: LensModel,
    prompts: Sequence[Prompt],
    score: LastScore,
    places: Sequence[Place],
    *,
    edits: Sequence[Edit] = (),
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> Iterator[GradientBatch]:
    """The same batch by batch, so that one batch's gradients exist at a time.

    Raises:
        ValueError: As `site_gradients`.
        HookCountError: If a hook did not fire exactly once.
    """
    if not prompts or not places:
        raise ValueError(
            f"expected at least one prompt and one place, got {len(prompts)} and {len(places)}"
        )
    check_places(model, [(edit.site, edit.layer) for edit in edits], edited=True)
    # A place whose edits do not reach the residual stream has no gradient either.
    check_places(model, places, edited=True)
    for batch in model_batches(model, prompts, token_budget):
        yield _of_batch(model, batch, score, tuple(places), edits)


def reads_in_sequence(model: LensModel) -> bool:
    """Whether each block's MLP reads what its attention wrote, as measured on a few tokens.

    False where both read the block's input (GPT-J, GPT-NeoX, Phi): an edit at ``attn_out``
    then leaves ``mlp_out`` of the block as it was.
    """
    # Unequal tokens: equal ones may be changed by what a norm takes out again.
    ids = tuple(torch.linspace(0, model.card.d_vocab - 1, 4).long().tolist())
    prompt = Prompt(prompt_id="", ids=ids, prompt_length=len(ids), spans={}, text="")
    (batch,) = model_batches(model, [prompt])
    layers = range(model.card.n_layers)
    places = [(Site.MLP_OUT, layer) for layer in layers]
    plain = run_batch(model, batch, reads=places).reads
    for layer in layers:
        edit = Edit(site=Site.ATTN_OUT, layer=layer, hook=_pushed)
        moved = run_batch(model, batch, edits=[edit], reads=[places[layer]]).reads
        if torch.equal(moved[places[layer]], plain[places[layer]]):
            return False
    return True


def _pushed(
    activation: Float[Tensor, "batch pos d_model"], /, *, hook: object
) -> Float[Tensor, "batch pos d_model"]:
    push = torch.linspace(-1, 1, activation.shape[-1], device=activation.device)
    return activation + (10 * push).to(activation.dtype)


def _of_batch(
    model: LensModel,
    batch: TokenBatch,
    score: LastScore,
    places: tuple[Place, ...],
    edits: Sequence[Edit],
) -> GradientBatch:
    kept: dict[Place, Tensor] = {}
    hooks = compile_edits(edits, batch.layout, batch.rows)
    for place in places:
        leaf = _leaf(place, kept)
        hooks[place] = in_order([hooks[place], leaf]) if place in hooks else leaf
    with _frozen(model), torch.enable_grad():
        resid = model.run(
            batch.tokens,
            batch.layout.positions,
            hooks=hooks,
            cache=None,
            last_layer=model.card.n_layers - 1,
        )
        rows = torch.arange(len(resid), device=resid.device)
        last = resid[rows, batch.last_column.to(resid.device)]
        metric = score(last, batch.rows)
        _check_metric(metric, last)
        # Rows do not see each other: the gradient of their sum is each one's own.
        gradients = torch.autograd.grad(
            metric.sum(), [kept[place] for place in places], allow_unused=True
        )
    real = (batch.layout.positions >= 0)[..., None]
    filled = {
        # Nothing that counts hangs on an activation that an edit above replaced.
        place: torch.zeros_like(kept[place])
        if gradient is None
        else torch.where(real.to(gradient.device), gradient, 0)
        for place, gradient in zip(places, gradients, strict=True)
    }
    return GradientBatch(batch=batch, metric=metric.detach(), gradients=filled)


def _leaf(place: Place, kept: dict[Place, Tensor]) -> HookFn:
    """Hook that makes the activation something to differentiate by."""

    def keep(
        activation: Float[Tensor, "batch pos d_model"], /, *, hook: object
    ) -> Float[Tensor, "batch pos d_model"]:
        delta = torch.zeros_like(activation, requires_grad=True)
        kept[place] = delta
        return activation + delta

    return keep


def _check_metric(metric: Tensor, last: Float[Tensor, "row d_model"]) -> None:
    if metric.shape != last.shape[:1]:
        raise ValueError(
            f"expected a metric of one number for each of {len(last)} rows, got shape "
            f"{tuple(metric.shape)}; reduce the logits to one column"
        )
    if not metric.requires_grad:
        raise ValueError(
            "expected a metric that hangs on the logits by operations torch can differentiate, "
            "got numbers without a gradient; leave out argmax, detach and numpy"
        )


@contextmanager
def _frozen(model: LensModel) -> Iterator[None]:
    """Weights that take no gradient for a while: less is kept, and none is left behind."""
    parameters = list(model.wrapped.parameters())
    needed = [parameter.requires_grad for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter, need in zip(parameters, needed, strict=True):
            parameter.requires_grad_(need)
