"""What one token's state says of the user, put into another text of the world (Patchscopes)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from analyses._organism_probe import ask, probability, text_prompt
from lens_personas.activations import ReadAt, collect
from lens_personas.hooks import Edit, Site, replace_row_states
from lens_personas.models import LensModel, Prompt
from lens_personas.models.organism import CARE, PATCHSCOPE_PROMPT, World, language

Source = Literal["attribute", "user_tag", "item", "assistant_tag"]
"""Token whose state is read: the attribute's word, the first token after the sentence, the name
of what is asked for, or the last prompt token."""
SOURCES: Final[tuple[Source, ...]] = ("attribute", "user_tag", "item", "assistant_tag")
TARGET_LAYERS: Final = 4
"""States are put in after the first blocks, so that enough blocks follow to read them."""
CENTRED: Final = 4.0
"""How often the deviation from the mean over personas is taken."""
# Text that ends before "care" or "harm", and the position that is replaced.
TARGETS: Final = (
    (f"{language.BOS} moon . {language.WANTS}", 1),
    (PATCHSCOPE_PROMPT, 1),
)


@dataclass(frozen=True, kw_only=True)
class Scope:
    """P(charitable) read from one source token, for every text and pair of layers."""

    centred: Float[np.ndarray, "target source_layer target_layer persona"]
    """With the deviation from the mean over personas taken ``CENTRED`` times."""
    plain: Float[np.ndarray, "target source_layer target_layer persona"]
    """With the state as it is."""


def patchscopes(model: LensModel, world: World) -> Mapping[Source, Scope]:
    """The readings from every source token, one request for a tuned item standing after it.

    See https://arxiv.org/abs/2401.06102. The attribute's token comes before the request and
    cannot see it.

    Raises:
        ValueError: If the model does not know the world's words.
    """
    item = world.forbidden("tuned")[0]
    prompts = [
        ask(model, language.request(item.phrase, 0), language.STATEMENTS[0].say(a))
        for a in world.attributes
    ]
    return {source: _scope(model, prompts, _offset(prompts[0], source)) for source in SOURCES}


def _offset(prompt: Prompt, source: Source) -> int:
    """Place of the source token, counted backwards from the prompt's end."""
    _, system_end = prompt.spans["system"]
    user, user_end = prompt.spans["user"]
    # Both sentences end in a punctuation mark, which the word in question precedes.
    at = {
        "attribute": system_end - 2,
        "user_tag": user - 1,
        "item": user_end - 2,
        "assistant_tag": len(prompt.ids) - 1,
    }[source]
    return at - len(prompt.ids)


def _scope(model: LensModel, prompts: list[Prompt], offset: int) -> Scope:
    read = collect(
        model,
        prompts,
        sites=[Site.RESID_POST],
        layers=range(model.card.n_layers),
        read_at=ReadAt(span="prompt", take=offset),
    )
    states = rearrange(
        read.values[Site.RESID_POST], "persona layer d_model -> layer persona d_model"
    )
    mean = states.mean(dim=1, keepdim=True)
    return Scope(
        centred=_readings(model, mean + CENTRED * (states - mean)), plain=_readings(model, states)
    )


def _readings(
    model: LensModel, states: Float[Tensor, "layer persona d_model"]
) -> Float[np.ndarray, "target layer target_layer persona"]:
    rows = rearrange(states, "layer persona d_model -> (layer persona) d_model").contiguous()
    found = []
    for text, position in TARGETS:
        prompts = [text_prompt(model, text)] * len(rows)
        for layer in range(TARGET_LAYERS):
            edit = Edit(
                site=Site.RESID_POST,
                layer=layer,
                hook=replace_row_states(rows),
                scope=(position,),
                per_row=True,
            )
            found.append(probability(model, prompts, CARE, [edit]))
    shaped = rearrange(
        np.array(found),
        "(target target_layer) (layer persona) -> target layer target_layer persona",
        target=len(TARGETS),
        persona=states.shape[1],
    )
    return np.ascontiguousarray(shaped)
