"""What a loaded model is and can do, measured on a probe."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import torch
from jaxtyping import Float, Int
from jinja2 import TemplateError
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lens_personas.hooks import HookFn, Site
from lens_personas.models._backends import HookCountError, Place
from lens_personas.models._chat import template_text
from lens_personas.models._drive_probe import driving_error
from lens_personas.models._types import Backend, LensModel, ModelCard
from lens_personas.personas import Message

_SAMPLES = 64
_CONFIG_KEYS = (
    "model_type",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "rms_norm_eps",
    "layer_norm_epsilon",
    "rope_parameters",
    "sliding_window",
    "tie_word_embeddings",
)
# A residual that does not add up is off by its own size; rounding stays far below this.
_TOLERANCE = {"float32": 1e-4, "float64": 1e-6}
_LOW_PRECISION_TOLERANCE = 3e-2
# Another order of operations adds up over the layers; a wrong model is off by its own size.
_PARITY_TOLERANCE = {"float32": 1e-2, "float64": 1e-2}
_LOW_PRECISION_PARITY_TOLERANCE = 0.3


def fingerprint(config: Mapping[str, Any], parameters: Iterable[tuple[str, Tensor]]) -> str:
    """Hash of a config and of values spread evenly over every parameter.

    The same weights give the same fingerprint whatever runs them; a change of any
    matrix that is not confined to a few entries changes it.
    """
    known = {key: config.get(key) for key in _CONFIG_KEYS}
    digest = hashlib.sha256()
    digest.update(json.dumps(known, default=str, sort_keys=True).encode())
    # One at a time: a parameter that is kept on disk is there only while it is looked at.
    for part in sorted(_part(name, value) for name, value in parameters):
        digest.update(b"".join(part[1:]))
    return digest.hexdigest()[:32]


def _part(name: str, value: Tensor) -> tuple[str, bytes, bytes]:
    flat = value.detach().reshape(-1)
    count = min(_SAMPLES, flat.numel())
    at = torch.linspace(0, flat.numel() - 1, count, dtype=torch.float64).long()
    sample = flat[at.to(flat.device)].float().cpu().contiguous()
    return name, f"{name}{tuple(value.shape)}".encode(), sample.numpy().tobytes()


def first_card(
    *,
    model_id: str,
    revision: str | None,
    parameters_hash: str,
    backend: Backend,
    weight_processing: str,
    tied_embeddings: bool,
    cfg: Any,
    device: str,
    tokenizer: PreTrainedTokenizerBase,
) -> ModelCard:
    """The card as far as the config tells; :func:`measured_card` fills in the rest."""
    template = tokenizer.chat_template
    return ModelCard(
        model_id=model_id,
        revision=revision,
        fingerprint=parameters_hash,
        backend=backend,
        transformer_lens_version=version("transformer-lens"),
        weight_processing=weight_processing,
        architecture=_architecture(cfg),
        n_layers=cfg.n_layers,
        d_model=cfg.d_model,
        n_heads=cfg.n_heads,
        d_vocab=cfg.d_vocab,
        n_ctx=cfg.n_ctx,
        dtype=str(cfg.dtype).removeprefix("torch."),
        device=device,
        tied_embeddings=tied_embeddings,
        residual_identity_error=float("inf"),
        residual_identity_holds=False,
        edits_resid_mid=False,
        drives_blocks=False,
        lens_is_exact=False,
        tokenizer_hash=_hash(
            [sorted(tokenizer.get_vocab().items()), sorted(tokenizer.special_tokens_map.items())]
        ),
        chat_template_hash=None if template is None else _hash(template),
        has_system_role=takes_system(tokenizer),
    )


@torch.no_grad()
def measured_card(model: LensModel) -> ModelCard:
    """The model's card with what a probe of sixteen tokens shows."""
    tokens = _probe_tokens(model)
    error = _identity_error(model, tokens)
    tolerance = _TOLERANCE.get(model.card.dtype, _LOW_PRECISION_TOLERANCE)
    return replace(
        model.card,
        residual_identity_error=error,
        residual_identity_holds=error <= tolerance,
        edits_resid_mid=_resid_mid_edit_arrives(model, tokens),
        drives_blocks=driving_error(model, tokens) <= tolerance,
        lens_is_exact=_lens_error(model, tokens) <= tolerance,
    )


@torch.no_grad()
def same_logits(model: LensModel, hf_model: Any) -> bool:
    """Whether the model gives transformers' own logits on the probe, up to rounding.

    TransformerLens drops in silence what its converters do not know, such as biases that
    an architecture seldom has.
    """
    tokens = _probe_tokens(model)
    own = hf_model(input_ids=tokens, use_cache=False).logits[0].float()
    error = _relative(model.logits(_run(model, tokens, {})[0]).float(), own)
    return error <= _PARITY_TOLERANCE.get(model.card.dtype, _LOW_PRECISION_PARITY_TOLERANCE)


def takes_system(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the chat template renders a system turn as it stands, apart from the user's."""
    if tokenizer.chat_template is None:
        return True
    turns = [Message(role="system", content="alpha"), Message(role="user", content="omega")]
    try:
        text = template_text(tokenizer, turns)
    except TemplateError:
        return False
    return "alpha" in text and "omega" in text


def _probe_tokens(model: LensModel) -> Int[Tensor, "batch pos"]:
    length = min(16, model.card.n_ctx)
    spread = torch.linspace(0, model.card.d_vocab - 1, length).long()
    return spread[None].to(model.device)


def _run(model: LensModel, tokens: Int[Tensor, "batch pos"], hooks: dict[Place, HookFn]) -> Tensor:
    positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
    return model.run(tokens, positions, hooks=hooks, cache=None, last_layer=model.card.n_layers - 1)


def _identity_error(model: LensModel, tokens: Int[Tensor, "batch pos"]) -> float:
    kept: dict[Place, Tensor] = {}
    sites = (Site.RESID_PRE, Site.ATTN_OUT, Site.MLP_OUT, Site.RESID_POST)
    places = [(site, layer) for layer in range(model.card.n_layers) for site in sites]
    try:
        _run(model, tokens, {place: _keeping(kept, place) for place in places})
    except HookCountError:
        return float("inf")
    errors = []
    for layer in range(model.card.n_layers):
        pre, attn, mlp, post = (kept[site, layer].float() for site in sites)
        errors.append(_relative(pre + attn + mlp, post))
    # Unlike Python's, torch's maximum does not lose a NaN.
    return float(torch.tensor(errors).max())


def _keeping(kept: dict[Place, Tensor], place: Place) -> HookFn:
    def keep(activation: Tensor, /, *, hook: object) -> Tensor:
        kept[place] = activation.clone()
        return activation

    return keep


def _resid_mid_edit_arrives(model: LensModel, tokens: Int[Tensor, "batch pos"]) -> bool:
    def push(activation: Tensor, /, *, hook: object) -> Tensor:
        return activation + pushed

    last = model.card.n_layers - 1
    plain = _run(model, tokens, {})
    pushed = torch.zeros_like(plain[:1, :1])
    pushed[..., 0] = 10 * plain.float().norm(dim=-1).mean()
    try:
        moved = _run(model, tokens, {(Site.RESID_MID, last): push}) - plain
    except HookCountError:
        return False
    return bool(moved[..., 0].float().mean() > pushed[..., 0].float().mean() / 2)


def _lens_error(model: LensModel, tokens: Int[Tensor, "batch pos"]) -> float:
    own = model.wrapped(tokens, attention_mask=torch.ones_like(tokens))[0].float()
    return _relative(model.logits(_run(model, tokens, {})[0]).float(), own)


def _relative(found: Float[Tensor, "*rows width"], true: Float[Tensor, "*rows width"]) -> float:
    # By the norm of each row: single entries of large models dwarf the others.
    # A model on several devices gives its logits on the last.
    true = true.to(found.device)
    error = (found - true).norm(dim=-1) / true.norm(dim=-1).clamp_min(1e-12)
    return float(error.max())


def _architecture(cfg: Any) -> str:
    for name in ("architecture", "original_architecture"):
        found = getattr(cfg, name, None)
        if found:
            return str(found)
    return "unknown"


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]
