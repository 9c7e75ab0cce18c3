"""What the model would say after every layer: whole texts, or one token at the last position."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from benchmarks._serve import Arrays, Call, Prepare, Setting
from benchmarks.ours._models import as_prompts, ours, stock
from lens_personas.readouts import answer_lens, logit_lens


def asked(setting: Setting, options: Mapping[str, Any]) -> Call:
    """``logit_lens`` of the asked tokens at the last position."""
    model, prompts = ours(setting), as_prompts(options["prompts"])
    wanted = torch.tensor(options["targets"])[:, -1:]

    def call() -> Arrays:
        return {"last": logit_lens(model, prompts, token_ids=wanted).log_prob[:, :, 0].numpy()}

    return call


def whole_texts(setting: Setting, options: Mapping[str, Any]) -> Call:
    """``answer_lens`` of everything after the first token."""
    model = ours(setting)
    prompts = [
        replace(prompt, prompt_length=1, spans={"prompt": (0, 1), "answer": (1, len(prompt.ids))})
        for prompt in as_prompts(options["prompts"])
    ]

    def call() -> Arrays:
        return {"texts": answer_lens(model, prompts).log_prob.numpy()}

    return call


def _full(setting: Setting, options: Mapping[str, Any], keep: Callable[[str], bool]) -> Call:
    model = stock(setting)
    tokens = torch.tensor(options["prompts"], device=setting.device)
    targets = torch.tensor(options["targets"], device=setting.device)

    def call() -> Arrays:
        with torch.no_grad():
            _, cache = model.run_with_cache(tokens, names_filter=keep)
            names = [f"blocks.{at}.hook_resid_post" for at in range(model.cfg.n_layers)]
            resid = torch.stack([cache[name] for name in names])
            logits = model.unembed(model.ln_final(resid.flatten(0, 1)))
            found = _next_tokens(logits.unflatten(0, resid.shape[:2]), targets)
        texts, last = found[:, :, :-1].sum(-1), found[:, :, -1]
        return {"texts": texts.float().cpu().numpy(), "last": last.float().cpu().numpy()}

    return call


def _next_tokens(
    logits: Float[Tensor, "layer batch pos d_vocab"], targets: Int[Tensor, "batch pos"]
) -> Float[Tensor, "layer batch pos"]:
    index = targets.expand(len(logits), -1, -1)[..., None]
    return logits.log_softmax(dim=-1).gather(-1, index)[..., 0]


def everything_cached(setting: Setting, options: Mapping[str, Any]) -> Call:
    """Every activation cached, then logits of every layer and position at once."""
    return _full(setting, options, lambda name: True)


def residuals_cached(setting: Setting, options: Mapping[str, Any]) -> Call:
    """Residuals alone cached, then logits of every layer and position at once."""
    return _full(setting, options, lambda name: name.endswith("hook_resid_post"))


WAYS: dict[str, Prepare] = {
    "lens_last": asked,
    "lens_texts": whole_texts,
    "lens_everything": everything_cached,
    "lens_filtered": residuals_cached,
}
