"""Greedy answers of equal prompts with a vector added at one layer, at every position."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from benchmarks._serve import Arrays, Call, Prepare, Setting
from benchmarks.ours._models import as_prompts, bridge, hugging_face, ours, stock
from lens_personas.hooks import Edit, Site, add_direction
from lens_personas.models import LensModel, generate


def _ours(model: LensModel, options: Mapping[str, Any]) -> Call:
    prompts = as_prompts(options["prompts"])
    edit = Edit(
        site=Site.RESID_POST,
        layer=options["layer"],
        hook=add_direction(torch.tensor(options["vector"])),
    )

    def call() -> Arrays:
        found = generate(model, prompts, max_new_tokens=options["n_new"], edits=[edit])
        return {"tokens": torch.tensor([each.ids for each in found]).numpy()}

    return call


def hooked(setting: Setting, options: Mapping[str, Any]) -> Call:
    """``generate`` with an edit."""
    return _ours(ours(setting), options)


def through_bridge(setting: Setting, options: Mapping[str, Any]) -> Call:
    """The same on the bridge."""
    return _ours(bridge(setting), options)


def of_hugging_face(setting: Setting, options: Mapping[str, Any]) -> Call:
    """Hugging Face's ``generate`` with a forward hook on the block."""
    model, vector, tokens = (
        hugging_face(setting),
        _vector(setting, options),
        _tokens(setting, options),
    )
    block = model.model.layers[options["layer"]]

    def add(_module: Any, _inputs: Any, output: Any) -> Any:
        return (output[0] + vector, *output[1:]) if isinstance(output, tuple) else output + vector

    def call() -> Arrays:
        handle = block.register_forward_hook(add)
        try:
            with torch.no_grad():
                out = model.generate(
                    tokens,
                    attention_mask=torch.ones_like(tokens),
                    max_new_tokens=options["n_new"],
                    do_sample=False,
                )
        finally:
            handle.remove()
        return {"tokens": out[:, tokens.shape[1] :].cpu().numpy()}

    return call


def of_stock(setting: Setting, options: Mapping[str, Any]) -> Call:
    """``HookedTransformer.generate`` with a hook, weights where TransformerLens puts them."""
    model, vector, tokens = stock(setting), _vector(setting, options), _tokens(setting, options)
    name = f"blocks.{options['layer']}.hook_resid_post"

    def call() -> Arrays:
        def add(activation: Tensor, hook: object) -> Tensor:
            return activation + vector

        with model.hooks(fwd_hooks=[(name, add)]):
            out = model.generate(
                tokens,
                max_new_tokens=options["n_new"],
                do_sample=False,
                stop_at_eos=False,
                verbose=False,
                return_type="tokens",
            )
        return {"tokens": out[:, tokens.shape[1] :].cpu().numpy()}

    return call


def _vector(setting: Setting, options: Mapping[str, Any]) -> Tensor:
    return torch.tensor(
        options["vector"], device=setting.device, dtype=getattr(torch, setting.dtype)
    )


def _tokens(setting: Setting, options: Mapping[str, Any]) -> Tensor:
    return torch.tensor(options["prompts"], device=setting.device)


WAYS: dict[str, Prepare] = {
    "generate": hooked,
    "generate_bridge": through_bridge,
    "generate_hugging_face": of_hugging_face,
    "generate_stock": of_stock,
}
