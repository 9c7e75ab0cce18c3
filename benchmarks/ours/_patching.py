"""Layer × position grids: a clean prompt's activation put into the corrupted prompt's run."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks._serve import Arrays, Call, Prepare, Setting
from benchmarks.ours._models import as_prompts, laid_out, ours, stock
from lens_personas.hooks import Site
from lens_personas.interventions import LastTokens, patch_grid


def resumed(setting: Setting, options: Mapping[str, Any]) -> Call:
    """``patch_grid`` of a logit difference."""
    model, site = ours(setting), Site(options["site"])
    clean, corrupted = as_prompts(options["clean"]), as_prompts(options["corrupted"])
    metric = LastTokens(token_ids=tuple(options["tokens"]), weights=(1.0, -1.0))

    def call() -> Arrays:
        found = patch_grid(model, clean, corrupted, metric, site=site)
        return {"grid": found.values.mean(dim=0).numpy()}

    return call


def _transformer_lens(model: Any, setting: Setting, options: Mapping[str, Any]) -> Call:
    from transformer_lens import patching

    grids: dict[str, Callable[..., Tensor]] = {
        "resid_pre": patching.get_act_patch_resid_pre,
        "attn_out": patching.get_act_patch_attn_out,
    }
    grid, site = grids[options["site"]], options["site"]
    clean = torch.tensor(options["clean"], device=setting.device)
    corrupted = torch.tensor(options["corrupted"], device=setting.device)
    a, b = options["tokens"]

    def metric(logits: Float[Tensor, "batch pos d_vocab"]) -> Float[Tensor, ""]:
        return (logits[:, -1, a] - logits[:, -1, b]).mean()

    def call() -> Arrays:
        with torch.no_grad():
            _, cache = model.run_with_cache(
                clean, names_filter=lambda name: name.endswith(f"hook_{site}")
            )
            return {"grid": grid(model, corrupted, cache, metric).cpu().numpy()}

    return call


def on_stock(setting: Setting, options: Mapping[str, Any]) -> Call:
    """``transformer_lens.patching``, weights where TransformerLens puts them."""
    return _transformer_lens(stock(setting), setting, options)


def on_laid_out(setting: Setting, options: Mapping[str, Any]) -> Call:
    """``transformer_lens.patching`` on our weight layout."""
    return _transformer_lens(laid_out(setting), setting, options)


WAYS: dict[str, Prepare] = {
    "patch_grid": resumed,
    "patching_stock": on_stock,
    "patching_laid_out": on_laid_out,
}
