"""States that a Patchscope carries over: read at one place of each prompt, at any layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.activations import ReadAt
from lens_personas.hooks import Edit, Site, TokenLayout
from lens_personas.models import (
    DEFAULT_TOKEN_BUDGET,
    LensModel,
    Prompt,
    TokenBatch,
    may_share,
    model_batches,
    run_batch,
)

SourcePosition = Literal["last_prompt"] | int | ReadAt
"""Where a state is read: the last token before the answer, a position counted from 0 at the first
token or from -1 backwards at the last prompt token, or a part of the prompt."""


@dataclass(frozen=True, kw_only=True)
class ScopeSources:
    """States to be put into another prompt; axis ``source`` numbers the prompts read."""

    states: Float[Tensor, "source layer d_model"]
    """``resid_post`` at the place read, in float32 on the CPU."""
    layers: tuple[int, ...]
    """Block of each layer read."""
    prompt_ids: tuple[str, ...]
    """Identifier of each prompt read."""

    def __post_init__(self) -> None:
        """Hold the names against the states.

        Raises:
            ValueError: If their counts differ.
        """
        named = len(self.prompt_ids), len(self.layers)
        if self.states.shape[:2] != named:
            raise ValueError(
                f"expected states of {named[0]} sources at {named[1]} layers, "
                f"got shape {tuple(self.states.shape)}"
            )

    def at(self, layer: int) -> Float[Tensor, "source d_model"]:
        """States of one layer.

        Raises:
            ValueError: If that layer was not read.
        """
        if layer not in self.layers:
            raise ValueError(f"expected a layer among {self.layers}, got {layer}; read it as well")
        return self.states[:, self.layers.index(layer)]


@torch.no_grad()
def read_sources(
    model: LensModel,
    prompts: Sequence[Prompt],
    *,
    at: SourcePosition | Sequence[SourcePosition] = "last_prompt",
    layers: Sequence[int] | None = None,
    edits: Sequence[Edit] = (),
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> ScopeSources:
    """The state of one place of each prompt at the layers, after the edits there.

    Args:
        model: The model.
        prompts: What is read.
        at: One place for all prompts, or one for each; a mean over a part is its mean state.
        layers: Blocks whose output is read; None for all.
        edits: In force while reading.
        token_budget: Tokens in a batch, padding included.

    Raises:
        ValueError: If there is no prompt or layer, a place is not in its prompt, or an edit or
            a layer does not fit the model.
    """
    chosen = tuple(range(model.card.n_layers)) if layers is None else tuple(layers)
    if not prompts or not chosen:
        raise ValueError(
            f"expected at least one prompt and layer, got {len(prompts)} and {len(chosen)}"
        )
    windows = _windows(prompts, at)
    states = torch.empty(len(prompts), len(chosen), model.card.d_model)
    for batch in model_batches(model, prompts, token_budget, share=may_share(edits)):
        found = _read(model, batch, windows[list(batch.rows)], chosen, edits)
        states[list(batch.rows)] = torch.stack([found[layer] for layer in chosen], dim=1)
    return ScopeSources(
        states=states, layers=chosen, prompt_ids=tuple(prompt.prompt_id for prompt in prompts)
    )


def _read(
    model: LensModel,
    batch: TokenBatch,
    windows: Int[Tensor, "batch 2"],
    layers: Sequence[int],
    edits: Sequence[Edit],
) -> dict[int, Float[Tensor, "batch d_model"]]:
    def take(
        place: object, activation: Float[Tensor, "batch pos d_model"], layout: TokenLayout
    ) -> Float[Tensor, "batch d_model"]:
        return _mean_state(activation, layout.positions, windows.to(layout.positions.device))

    run = run_batch(
        model,
        batch,
        edits=edits,
        reads=[(Site.RESID_POST, layer) for layer in dict.fromkeys(layers)],
        # An edit above the layers read must still fire, or it would be called broken.
        last_layer=max([*layers, *(edit.layer for edit in edits)]),
        take=take,
    )
    return {layer: state for (_, layer), state in run.reads.items()}


def _mean_state(
    activation: Float[Tensor, "batch pos d_model"],
    positions: Int[Tensor, "batch pos"],
    windows: Int[Tensor, "batch 2"],
) -> Float[Tensor, "batch d_model"]:
    """Mean over each row's window, summed in float32 or better, on the CPU."""
    inside = (positions >= windows[:, :1]) & (positions < windows[:, 1:])
    inside = inside.to(activation.device)
    kept = torch.where(inside[..., None], activation.float(), 0.0)
    return (kept.sum(dim=1) / inside.sum(dim=1)[:, None]).cpu()


def _windows(
    prompts: Sequence[Prompt], at: SourcePosition | Sequence[SourcePosition]
) -> Int[Tensor, "prompt 2"]:
    each = [at] * len(prompts) if isinstance(at, str | int | ReadAt) else list(at)
    if len(each) != len(prompts):
        raise ValueError(
            f"expected one place for each of {len(prompts)} prompts, got {len(each)}; "
            "give one for all, or as many"
        )
    return torch.tensor([_window(p, place) for p, place in zip(prompts, each, strict=True)])


def _window(prompt: Prompt, at: SourcePosition) -> tuple[int, int]:
    if isinstance(at, ReadAt):
        return at.window(prompt)
    offset = -1 if at == "last_prompt" else int(at)
    position = offset if offset >= 0 else prompt.prompt_length + offset
    if not 0 <= position < len(prompt.ids):
        raise ValueError(
            f"expected a position inside prompt {prompt.prompt_id!r} ({len(prompt.ids)} tokens, "
            f"{prompt.prompt_length} before the answer), got {at!r}"
        )
    return position, position + 1
