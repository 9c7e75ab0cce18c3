"""Where activations come from, and whether they fit a model."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from lens_personas.models import ModelCard, Prompt

ModelField = Literal[
    "n_layers", "fingerprint", "weight_processing", "tokenizer_hash", "chat_template_hash"
]
"""A fact about a model that must agree before its activations or vectors are used on another."""

_CHECKED: tuple[ModelField, ...] = (
    "n_layers",
    "fingerprint",
    "weight_processing",
    "tokenizer_hash",
    "chat_template_hash",
)


class MismatchError(ValueError):
    """Something saved does not fit what it is loaded for; the text says both sides."""


@dataclass(frozen=True, kw_only=True)
class ActivationProvenance:
    """What the activations were read from."""

    card: Mapping[str, Any]
    """The fields of the model's :class:`~lens_personas.models.ModelCard`."""
    n_edits: int
    """Number of edits that were in force while reading; 0 for the model as it is."""
    package_version: str
    """Version of this package."""


def package_version() -> str:
    """Version of this package, or ``unknown`` when it runs without being installed."""
    try:
        return version("lens-personas")
    except PackageNotFoundError:
        return "unknown"


def prompt_hash(prompt: Prompt) -> str:
    """Hash of a prompt's identifier, text and token ids."""
    content = [prompt.prompt_id, prompt.text, list(prompt.ids), prompt.prompt_length]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def joint_hash(hashes: Iterable[str]) -> str:
    """Hash of several hashes, in order."""
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:32]


def check_same_model(
    saved: Mapping[str, Any],
    card: ModelCard,
    *,
    what: str,
    allow_mismatch: Collection[str] = (),
) -> None:
    """Refuse what was made with another model.

    Args:
        saved: Facts about the model it was made with, under the card's field names.
        card: The model it is loaded for.
        what: What is loaded, for the message.
        allow_mismatch: Facts that may differ; the width never may.

    Raises:
        MismatchError: Naming the first fact that differs, and both its values.
    """
    if saved["d_model"] != card.d_model:
        raise MismatchError(
            f"{what} has d_model={saved['d_model']}, expected d_model={card.d_model} of "
            f"{card.model_id!r}; a vector of another width cannot be used"
        )
    for field in _CHECKED:
        mine, theirs = saved.get(field), getattr(card, field)
        if mine != theirs and field not in allow_mismatch:
            raise MismatchError(
                f"{what} was made with {field}={mine!r} (model {saved.get('model_id')!r}), "
                f"expected {field}={theirs!r} of {card.model_id!r}; load it for its own model, "
                "or, where the caller can accept it, name the field in allow_mismatch"
            )
