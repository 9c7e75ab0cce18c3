"""The checkpoint as each of our environment's libraries loads it."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from benchmarks._checkpoint import text_of
from benchmarks._serve import AbsentError, Setting
from lens_personas.models import LensModel, Prompt, load_model
from lens_personas.models._convert import as_hooked_transformer
from lens_personas.models._source import Source, read_weights


def ours(setting: Setting) -> LensModel:
    """As a user of this package loads it."""
    model: LensModel = setting.keep(
        "ours", lambda: load_model(setting.folder, device=setting.device, dtype=setting.dtype)
    )
    return model


def bridge(setting: Setting) -> LensModel:
    """The same through TransformerLens' bridge."""
    model: LensModel = setting.keep(
        "bridge",
        lambda: load_model(
            setting.folder, device=setting.device, dtype=setting.dtype, backend="bridge"
        ),
    )
    return model


def hugging_face(setting: Setting) -> Any:
    """The transformers model, with the attention it chooses itself."""
    from transformers import AutoModelForCausalLM

    def load() -> Any:
        model: Any = AutoModelForCausalLM.from_pretrained(
            setting.folder, dtype=getattr(torch, setting.dtype)
        )
        return model.to(setting.device).eval().requires_grad_(False)

    return setting.keep("hugging_face", load)


def stock(setting: Setting) -> Any:
    """A ``HookedTransformer`` with its weights where TransformerLens puts them.

    Raises:
        AbsentError: If the installed TransformerLens has no such class.
    """
    if int(version("transformer-lens").split(".")[0]) >= 4:
        raise AbsentError("TransformerLens 4 has no HookedTransformer")

    def load() -> Any:
        source = Source(
            place=setting.folder,
            model_id="stock",
            revision=None,
            dtype=setting.dtype,
            device=setting.device,
        )
        return as_hooked_transformer(read_weights(source), source).eval().requires_grad_(False)

    return setting.keep("stock", load)


def laid_out(setting: Setting) -> Any:
    """A ``HookedTransformer`` with our weight layout.

    Raises:
        AbsentError: If the installed TransformerLens has no such class.
    """
    model = ours(setting)
    if model.card.backend != "hooked_transformer":
        raise AbsentError("TransformerLens 4 has no HookedTransformer")
    return model.wrapped


def as_prompts(prompts: Sequence[Sequence[int]]) -> list[Prompt]:
    """Ids as rendered prompts."""
    return [
        Prompt(
            prompt_id=str(row),
            ids=tuple(ids),
            prompt_length=len(ids),
            spans={"prompt": (0, len(ids))},
            text=text_of(ids),
        )
        for row, ids in enumerate(prompts)
    ]


def left_padded(
    prompts: Sequence[Sequence[int]], device: str
) -> tuple[Int[Tensor, "batch pos"], Int[Tensor, "batch pos"]]:
    """Tokens, padded with 0 on the left, and their attention mask."""
    width = max(len(ids) for ids in prompts)
    tokens = torch.zeros(len(prompts), width, dtype=torch.long, device=device)
    mask = torch.zeros_like(tokens)
    for row, ids in enumerate(prompts):
        tokens[row, width - len(ids) :] = torch.tensor(ids, device=device)
        mask[row, width - len(ids) :] = 1
    return tokens, mask
