"""A direction over a conversation: how far along it the residual lies at each token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from lens_personas.geometry import unit_vector
from lens_personas.hooks import Edit, Site, TokenLayout
from lens_personas.models import (
    LensModel,
    Prompt,
    Turn,
    model_batches,
    run_batch,
    token_strings,
)

TokenRole = Literal["system", "user", "assistant", "template"]
"""Whose turn a token is in; ``template`` is the markup between the turns."""


@dataclass(frozen=True, kw_only=True)
class ProjectionTrace:
    """Projection of the residual on a direction, token by token."""

    prompt_id: str
    """The prompt."""
    tokens: tuple[str, ...]
    """Its tokens as text to show; see `models.token_strings`."""
    roles: tuple[TokenRole, ...]
    """Whose turn each token is in."""
    turns: tuple[int, ...]
    """Number of that turn, counted from 0; -1 between turns."""
    layer: int
    """Block, counted from 0."""
    site: Site
    """Point of the block."""
    values: Float[Tensor, " pos"]
    """Length along the direction, in units of the residual stream, float32, on the CPU; above 0
    is where the direction points to."""


def projection_trace(
    model: LensModel,
    prompt: Prompt,
    direction: Float[Tensor, " d_model"],
    *,
    layer: int,
    site: Site = Site.RESID_POST,
    edits: Sequence[Edit] = (),
) -> ProjectionTrace:
    """Projection of every token's residual on ``direction``, whose length has no effect.

    The monitoring of Chen et al. (https://arxiv.org/abs/2507.21509), token by token; they read
    the last token of each prompt. The first token's residual is often many times longer than
    the others (a massive activation), so leave it out of any scale.

    Raises:
        ValueError: If ``direction`` has no finite, positive norm, the layer does not exist, the
            site is not of the residual's width, the prompt is longer than the context, or an
            edit does not fit the model.
    """
    if not site.has_d_model:
        raise ValueError(f"expected a site of the residual's width to read, got {site.value}")
    unit = unit_vector(direction.float())
    (batch,) = model_batches(model, [prompt])

    def project(
        place: object, activation: Float[Tensor, "batch pos d_model"], layout: TokenLayout
    ) -> Float[Tensor, " pos"]:
        return activation[0].float().cpu() @ unit.cpu()

    last = max([layer, *(edit.layer for edit in edits)])
    run = run_batch(model, batch, edits=edits, reads=[(site, layer)], last_layer=last, take=project)
    turns = token_turns(prompt)
    said = _turns(prompt)
    return ProjectionTrace(
        prompt_id=prompt.prompt_id,
        tokens=token_strings(model, prompt.ids),
        roles=tuple("template" if turn < 0 else said[turn].role for turn in turns),
        turns=turns,
        layer=layer,
        site=site,
        values=run.reads[site, layer],
    )


def token_turns(prompt: Prompt) -> tuple[int, ...]:
    """Number of the turn that each token is in, counted from 0; -1 between turns."""
    out = [-1] * len(prompt.ids)
    for number, turn in enumerate(_turns(prompt)):
        out[turn.start : turn.stop] = [number] * (turn.stop - turn.start)
    return tuple(out)


def _turns(prompt: Prompt) -> tuple[Turn, ...]:
    """Turns of the prompt; where it was not rendered from any, the parts that are known."""
    if prompt.turns:
        return prompt.turns
    parts = {"system": "system", "user": "user", "answer": "assistant"}
    found = [
        Turn(role, *prompt.spans.get(part, (0, 0)))  # type: ignore[arg-type]
        for part, role in parts.items()
    ]
    return tuple(sorted((turn for turn in found if turn.stop), key=lambda turn: turn.start))
