"""Each peer's own call for the same question."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from benchmarks._checkpoint import text_of
from benchmarks._serve import Arrays, Call, Prepare, Setting

PACKAGES = ("torch", "transformers", "steering-vectors", "repeng", "nnsight")


def _model(setting: Setting) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def load() -> tuple[Any, Any]:
        model: Any = AutoModelForCausalLM.from_pretrained(
            setting.folder, dtype=getattr(torch, setting.dtype)
        )
        tokenizer = AutoTokenizer.from_pretrained(setting.folder)
        return model.to(setting.device).eval().requires_grad_(False), tokenizer

    loaded: tuple[Any, Any] = setting.keep("model", load)
    return loaded


def steering_vectors(setting: Setting, options: Mapping[str, Any]) -> Call:
    """``train_steering_vector``, in batches of 8 pairs, its fastest here."""
    from steering_vectors import train_steering_vector

    model, tokenizer = _model(setting)
    texts = [text_of(ids) for ids in options["prompts"]]
    pairs = list(zip(texts[::2], texts[1::2], strict=True))

    def call() -> Arrays:
        found = train_steering_vector(model, tokenizer, pairs, batch_size=8)
        rows = [found.layer_activations[layer] for layer in sorted(found.layer_activations)]
        return {"vectors": torch.stack(rows).float().cpu().numpy()}

    return call


def repeng(setting: Setting, options: Mapping[str, Any]) -> Call:
    """What ``ControlVector.train`` runs before its principal components, as it is called.

    Its last layer is Hugging Face's last hidden state, which is after the final norm: not
    comparable, so it is left empty.
    """
    from repeng.extract import batched_get_hiddens

    model, tokenizer = _model(setting)
    texts = [text_of(ids) for ids in options["prompts"]]
    layers = list(range(model.config.num_hidden_layers))

    def call() -> Arrays:
        hiddens = batched_get_hiddens(model, tokenizer, texts, layers, 32)
        vectors = np.stack([(hiddens[at][::2] - hiddens[at][1::2]).mean(0) for at in layers])
        vectors[-1] = np.nan
        return {"vectors": vectors}

    return call


def nnsight(setting: Setting, options: Mapping[str, Any]) -> Call:
    """One trace a batch, the last token of every block, stopped before the unembedding."""
    from nnsight import LanguageModel

    model, tokenizer = _model(setting)
    traced = LanguageModel(model, tokenizer=tokenizer)
    prompts = options["prompts"]
    by_length = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    chosen = [by_length[at : at + 16] for at in range(0, len(by_length), 16)]
    signs = np.where(np.arange(len(prompts)) % 2 == 0, 1.0, -1.0)

    def call() -> Arrays:
        total: Any = 0.0
        for rows in chosen:
            inputs = tokenizer(
                [text_of(prompts[row]) for row in rows], padding=True, return_tensors="pt"
            ).to(setting.device)
            last = _last_tokens(traced, dict(inputs))
            sign = torch.as_tensor(signs[rows], device=setting.device)
            total = total + torch.einsum("lbd,b->ld", last.double(), sign)
        return {"vectors": (total / (len(prompts) / 2)).float().cpu().numpy()}

    return call


def _last_tokens(traced: Any, inputs: dict[str, Any]) -> torch.Tensor:
    saved: list[Any] = []
    with torch.no_grad(), traced.trace(inputs) as tracer:
        for layer in traced.model.layers:
            saved.append(layer.output[:, -1].save())
        tracer.stop()
    return torch.stack(saved)


def repeng_generate(setting: Setting, options: Mapping[str, Any]) -> Call:
    """``ControlModel.generate`` with a raw control at one layer."""
    from repeng import ControlModel

    model, tokenizer = _model(setting)
    inputs = tokenizer(
        [text_of(ids) for ids in options["prompts"]], padding=True, return_tensors="pt"
    ).to(setting.device)
    layer, n_new = options["layer"], options["n_new"]
    vector = torch.tensor(options["vector"], device=setting.device, dtype=model.dtype)

    def call() -> Arrays:
        control = ControlModel(model, [layer])
        control.set_raw_control({layer: vector})
        try:
            with torch.no_grad():
                tokens = control.generate(**inputs, max_new_tokens=n_new, do_sample=False)
        finally:
            control.unwrap()
        return {"tokens": tokens[:, -n_new:].cpu().numpy()}

    return call


WAYS: dict[str, Prepare] = {
    "steering_vectors": steering_vectors,
    "repeng": repeng,
    "nnsight": nnsight,
    "repeng_generate": repeng_generate,
}
