"""Logit lens over one prompt, to be looked at: the likeliest tokens by layer and position."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.hooks import Edit
from lens_personas.models import LensModel, Prompt, token_strings
from lens_personas.readouts._lens import logit_lens
from lens_personas.readouts._tuned_lens_types import TunedLens


@dataclass(frozen=True, kw_only=True)
class LensTable:
    """What the model would say next, after each layer and token of one prompt."""

    prompt_id: str
    """The prompt."""
    tokens: tuple[str, ...]
    """Its tokens as text to show; see `models.token_strings`."""
    layers: tuple[int, ...]
    """Layers read, at ``resid_post``, counted from 0."""
    ids: Int[Tensor, "layer pos k"]
    """The ``k`` likeliest next tokens, the first one first."""
    tokens_of: Mapping[int, str]
    """Text to show of every id that occurs."""
    log_probs: Float[Tensor, "layer pos k"]
    """Their log-probabilities in nats."""
    is_exact: bool
    """Whether the last layer's row is the model's own output."""


def lens_table(
    model: LensModel,
    prompt: Prompt,
    *,
    layers: Sequence[int] | None = None,
    k: int = 5,
    edits: Sequence[Edit] = (),
    tuned: TunedLens | None = None,
) -> LensTable:
    """The ``k`` likeliest next tokens after each layer, at every token of ``prompt``.

    The lens is that of `logit_lens`; with ``tuned`` that of a trained one.

    Raises:
        MismatchError: If the tuned lens was trained on another model.
        ValueError: If ``k`` is not between 1 and the vocabulary's size, a layer does not exist
            or has no translator, or an edit does not fit the model.
    """
    if not 1 <= k <= model.card.d_vocab:
        raise ValueError(f"expected k from 1 to {model.card.d_vocab} tokens, got {k}")
    found = logit_lens(model, [prompt], at="all", layers=layers, top_k=k, edits=edits, tuned=tuned)
    occurring = sorted(set(found.top_ids.flatten().tolist()))
    return LensTable(
        prompt_id=prompt.prompt_id,
        tokens=token_strings(model, prompt.ids),
        layers=found.layers,
        ids=found.top_ids,
        tokens_of=dict(zip(occurring, token_strings(model, occurring), strict=True)),
        log_probs=found.top_log_prob,
        is_exact=found.is_exact,
    )
