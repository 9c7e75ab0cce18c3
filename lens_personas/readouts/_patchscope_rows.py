"""Rows of a Patchscope as edits: one a target layer, each leaving the other layers' rows alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lens_personas.hooks import Edit, HookFn, PassHooks, Site, TokenLayout
from lens_personas.models import Prompt
from lens_personas.readouts._patchscope_maps import StateMap
from lens_personas.readouts._patchscope_sources import ScopeSources


@dataclass(frozen=True, kw_only=True)
class ScopeTarget:
    """A prompt that a state is put into.

    Raises:
        ValueError: If there is no placeholder, or one is not a prompt token.
    """

    prompt: Prompt
    """The prompt; the token after it is the reading."""
    positions: tuple[int, ...]
    """Placeholders that take the state, counted from 0 at the first token."""

    def __post_init__(self) -> None:
        """Hold the places against the prompt."""
        length = self.prompt.prompt_length
        beyond = [at for at in self.positions if not 0 <= at < length]
        if beyond or not self.positions:
            raise ValueError(
                f"expected placeholders from 0 to {length - 1} in a prompt of {length} tokens, "
                f"got {self.positions}"
            )


class ScopeRow(NamedTuple):
    """One state in one target."""

    target: int
    """Number of the target."""
    target_layer: int
    """Block whose output is replaced."""
    source_layer: int
    """Block the state comes from."""
    source: int
    """Number of the source."""


def row_edits(
    sources: ScopeSources,
    targets: Sequence[ScopeTarget],
    rows: Sequence[ScopeRow],
    mapping: StateMap,
) -> tuple[Edit, ...]:
    """Edits of a call whose row i is ``rows[i]``."""
    return tuple(
        Edit(
            site=Site.RESID_POST,
            layer=layer,
            hook=_patches(sources, targets, rows, mapping, layer),
            # What is written after the prompt is never touched.
            scope="prompt",
            per_pass=True,
        )
        for layer in dict.fromkeys(row.target_layer for row in rows)
    )


def _patches(
    sources: ScopeSources,
    targets: Sequence[ScopeTarget],
    rows: Sequence[ScopeRow],
    mapping: StateMap,
    layer: int,
) -> PassHooks:
    def make(numbers: Sequence[int], layout: TokenLayout, /) -> HookFn:
        mine = [rows[number] for number in numbers]
        at = [i for i, row in enumerate(mine) if row.target_layer == layer]
        mask = torch.zeros_like(layout.positions, dtype=torch.bool)
        for i in at:
            for position in targets[mine[i].target].positions:
                mask[i] |= layout.positions[i] == position
        touched = [i for i in at if bool(mask[i].any())]
        states = _mapped(sources, [mine[i] for i in touched], mapping)

        def patch(
            activation: Float[Tensor, "batch pos d_model"], /, *, hook: object
        ) -> Float[Tensor, "batch pos d_model"]:
            if not touched:
                return activation
            filled = activation.new_zeros(len(activation), activation.shape[-1])
            filled[touched] = states.to(activation)
            return _placed(activation, filled, mask.to(activation.device))

        return patch

    return make


def _mapped(
    sources: ScopeSources, rows: Sequence[ScopeRow], mapping: StateMap
) -> Float[Tensor, "row d_model"]:
    """The state of each row as it is put in; rows of one pair of layers go through together."""
    out = torch.empty(len(rows), sources.states.shape[-1])
    groups: dict[tuple[int, int], list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault((row.source_layer, row.target_layer), []).append(i)
    for (source_layer, target_layer), at in groups.items():
        states = sources.at(source_layer)[[rows[i].source for i in at]]
        put = mapping(states, source_layer=source_layer, target_layer=target_layer)
        if put.shape != states.shape or not bool(torch.isfinite(put).all()):
            raise ValueError(
                f"expected a mapping that gives finite states of shape {tuple(states.shape)}, "
                f"got shape {tuple(put.shape)}"
            )
        out[at] = put.float().cpu()
    return out


def _placed(
    activation: Float[Tensor, "batch pos d_model"],
    states: Float[Tensor, "batch d_model"],
    mask: Bool[Tensor, "batch pos"],
) -> Float[Tensor, "batch pos d_model"]:
    return torch.where(mask[..., None], states[:, None, :], activation)
