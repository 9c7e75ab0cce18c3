"""Attention patterns of one prompt, to be looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import Edit, Site, TokenLayout
from lens_personas.models import LensModel, Prompt, model_batches, run_batch, token_strings


@dataclass(frozen=True, kw_only=True)
class AttentionPatterns:
    """Where each head looks from each token."""

    prompt_id: str
    """The prompt."""
    tokens: tuple[str, ...]
    """Its tokens as text to show; see `models.token_strings`."""
    layers: tuple[int, ...]
    """Blocks, one a row of ``patterns``, counted from 0."""
    patterns: Float[Tensor, "layer head dest src"]
    """Share of its attention that a head at ``dest`` pays to ``src``, 0 to 1, float32, on the
    CPU: 1 over ``src``, 0 after ``dest``."""


def attention_patterns(
    model: LensModel,
    prompt: Prompt,
    *,
    layers: Sequence[int] | None = None,
    edits: Sequence[Edit] = (),
) -> AttentionPatterns:
    """Attention of every head over one prompt, any answer included, with ``edits`` in force.

    Args:
        model: The model.
        prompt: What it reads.
        layers: Blocks; None for all. Memory is ``layers × heads × tokens²`` numbers.
        edits: In force throughout.

    Raises:
        ValueError: If a layer does not exist, none is asked for, the prompt is longer than the
            context, or an edit does not fit the model.
        HookCountError: If the model has no attention pattern to read.
    """
    chosen = tuple(range(model.card.n_layers)) if layers is None else tuple(layers)
    if not chosen:
        raise ValueError("expected at least one layer, got none; give layers=None for all")
    (batch,) = model_batches(model, [prompt])

    def keep(
        place: object, pattern: Float[Tensor, "batch head dest src"], layout: TokenLayout
    ) -> Float[Tensor, "head dest src"]:
        return pattern[0].float().cpu()

    # An edit above the layers read must still fire, or it would be called broken.
    last = max([*chosen, *(edit.layer for edit in edits)])
    places = [(Site.PATTERN, layer) for layer in dict.fromkeys(chosen)]
    reads = run_batch(model, batch, edits=edits, reads=places, last_layer=last, take=keep).reads
    return AttentionPatterns(
        prompt_id=prompt.prompt_id,
        tokens=token_strings(model, prompt.ids),
        layers=chosen,
        patterns=torch.stack([reads[Site.PATTERN, layer] for layer in chosen]),
    )
