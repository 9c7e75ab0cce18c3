"""Logits at every position of equal prompts, no hook: what the engine itself costs."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from benchmarks._serve import Arrays, Call, Prepare, Setting
from benchmarks.ours._models import bridge, hugging_face, ours, stock


def _call(forward: Any, setting: Setting, options: Mapping[str, Any]) -> Call:
    tokens = torch.tensor(options["prompts"], device=setting.device)
    times = int(options["times"])

    def call() -> Arrays:
        with torch.no_grad():
            for _ in range(times):
                logits: Tensor = forward(tokens)
        return {"logits": logits[:, -1].float().cpu().numpy()}

    return call


def loaded(setting: Setting, options: Mapping[str, Any]) -> Call:
    """The TransformerLens object of our loaded model."""
    return _call(ours(setting).wrapped, setting, options)


def through_bridge(setting: Setting, options: Mapping[str, Any]) -> Call:
    """The bridge, as we load it."""
    return _call(bridge(setting).wrapped, setting, options)


def of_hugging_face(setting: Setting, options: Mapping[str, Any]) -> Call:
    """Hugging Face's own forward pass."""
    model = hugging_face(setting)
    return _call(lambda tokens: model(tokens, use_cache=False).logits, setting, options)


def of_stock(setting: Setting, options: Mapping[str, Any]) -> Call:
    """``HookedTransformer`` as TransformerLens loads it."""
    return _call(stock(setting), setting, options)


WAYS: dict[str, Prepare] = {
    "forward": loaded,
    "forward_bridge": through_bridge,
    "forward_hugging_face": of_hugging_face,
    "forward_stock": of_stock,
}
