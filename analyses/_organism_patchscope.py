"""What one token's state says of the user, put into another text of the world (Patchscopes)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

from analyses._organism_probe import ask, text_prompt, token
from lens_personas.models import LensModel, Prompt
from lens_personas.models.organism import CARE, PATCHSCOPE_PROMPT, World, language
from lens_personas.readouts import (
    ScopeSources,
    ScopeTarget,
    StateMap,
    centred_states,
    keep_states,
    patchscope,
    read_sources,
)

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
    sources = read_sources(model, prompts, at=offset)
    return Scope(
        centred=_readings(model, sources, centred_states(sources, CENTRED)),
        plain=_readings(model, sources, keep_states),
    )


def _readings(
    model: LensModel, sources: ScopeSources, mapping: StateMap
) -> Float[np.ndarray, "target source_layer target_layer persona"]:
    care = token(model, CARE)
    targets = [
        ScopeTarget(prompt=text_prompt(model, text), positions=(position,))
        for text, position in TARGETS
    ]

    def p_care(logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, "batch 1"]:
        return logits.softmax(dim=-1)[:, [care]]

    found = patchscope(
        model, sources, targets, p_care, target_layers=range(TARGET_LAYERS), mapping=mapping
    )
    values = found.values[..., 0].swapaxes(1, 2).double().numpy()
    return np.ascontiguousarray(values)
