"""Models from the package, a folder, the hub, or the user's own hands."""

import copy
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import PreTrainedTokenizerBase

from lens_personas.models._backends import BridgeModel, HookedModel
from lens_personas.models._card import fingerprint, first_card, measured_card, same_logits
from lens_personas.models._convert import UnknownArchitectureError, as_hooked_transformer
from lens_personas.models._layout import lay_out_weights
from lens_personas.models._source import (
    DeviceMap,
    DType,
    ModelLoadError,
    Source,
    check_choices,
    find_checkpoint,
    find_device,
    parameters_of,
    read_tokenizer,
    read_weights,
    stop_ids,
    ties_embeddings,
    warn_of_slow_dtype,
)
from lens_personas.models._types import Backend, LensModel


def load_model(
    name_or_path: str | Path | object,
    *,
    dtype: DType = "float32",
    device: str = "auto",
    revision: str | None = None,
    backend: Backend | Literal["auto"] = "auto",
    tokenizer: PreTrainedTokenizerBase | None = None,
    device_map: DeviceMap | None = None,
) -> LensModel:
    """Load a model with hooks, raw numerics: no weight is folded, centred or processed.

    A ``HookedTransformer`` is held against transformers on a probe, since TransformerLens
    drops in silence what its converters do not know; where the two differ, ``auto`` takes
    the bridge, which runs transformers' own code.

    Args:
        name_or_path: ``organism:chat``, ``organism:base`` or ``organism:ungated`` (embedded),
            a folder with a Hugging Face checkpoint, a hub id, or a ``HookedTransformer`` or
            ``TransformerBridge`` object, which is used as it is: dtype, device, revision
            and backend are its own, and its fingerprint is over the object's parameters
            by the names they have there.
        dtype: Parameter dtype.
        device: ``auto`` (the GPU where there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        revision: Hub revision.
        backend: TransformerLens class; ``auto`` takes ``HookedTransformer`` where it knows
            the architecture (TransformerLens 3), else the bridge.
        tokenizer: In place of the checkpoint's or object's own.
        device_map: Spreads the blocks over several GPUs where one is too small: ``auto``,
            ``balanced``, ``sequential``, or the device of each module. They work one after
            another, so it saves memory, not time; only the bridge can, and blocks are then
            not driven one by one (``drives_blocks``). ``device`` has to be ``auto``.

    Raises:
        ModelLoadError: If there is no such model, or it cannot be run with hooks.
    """
    if not isinstance(name_or_path, str | Path):
        return _from_object(name_or_path, tokenizer)
    check_choices(dtype, backend)
    if device_map is not None:
        _check_map(device, backend)
        backend = "bridge"
    place, model_id = find_checkpoint(str(name_or_path))
    source = Source(
        place=place,
        model_id=model_id,
        revision=revision,
        dtype=dtype,
        device=find_device(device),
        device_map=device_map,
    )
    warn_of_slow_dtype(dtype, source.device)
    own = _named(tokenizer or read_tokenizer(place, revision), place)
    if backend == "bridge" or (backend == "auto" and not _has_hooked_transformer()):
        return _bridge(source, own)
    if not _has_hooked_transformer():
        raise ModelLoadError(
            "expected a TransformerLens with HookedTransformer (3.x) for "
            "backend='hooked_transformer'; use backend='bridge' or install transformer-lens<4"
        )
    try:
        return _hooked(source, own)
    except UnknownArchitectureError:
        if backend == "auto":
            return _bridge(source, own)
        raise


def _hooked(source: Source, tokenizer: PreTrainedTokenizerBase) -> LensModel:
    hf_model = read_weights(source)
    wrapped = as_hooked_transformer(hf_model, source)
    wrapped.eval().requires_grad_(False)
    lay_out_weights(wrapped)
    wrapped.tokenizer = copy.deepcopy(tokenizer)
    card = first_card(
        model_id=source.model_id,
        revision=source.revision,
        parameters_hash=fingerprint(hf_model.config.to_dict(), hf_model.named_parameters()),
        backend="hooked_transformer",
        weight_processing="none",
        tied_embeddings=ties_embeddings(hf_model),
        cfg=wrapped.cfg,
        device=source.device,
        tokenizer=tokenizer,
    )
    ends = stop_ids(tokenizer, hf_model)
    model = HookedModel(wrapped=wrapped, tokenizer=tokenizer, card=card, stop_ids=ends)
    if not same_logits(model, hf_model):
        raise UnknownArchitectureError(
            f"expected HookedTransformer to give transformers' logits, it gives others for this "
            f"{hf_model.config.model_type!r} checkpoint; use backend='bridge'"
        )
    return _measured(model)


def _bridge(source: Source, tokenizer: PreTrainedTokenizerBase) -> LensModel:
    from transformer_lens.model_bridge import TransformerBridge

    hf_model = read_weights(source)
    # The bridge rewrites the Hugging Face model it wraps: look at it before.
    parameters_hash = fingerprint(hf_model.config.to_dict(), parameters_of(hf_model))
    ends, tied = stop_ids(tokenizer, hf_model), ties_embeddings(hf_model)
    try:
        wrapped = TransformerBridge.boot_transformers(
            source.place,
            hf_model=hf_model,
            device=source.device if source.device_map is None else None,
            dtype=source.torch_dtype,
            tokenizer=copy.deepcopy(tokenizer),
        )
    except (NotImplementedError, ValueError) as error:
        if source.device_map is not None:
            raise ModelLoadError(
                f"expected a device map that TransformerBridge can run, got "
                f"{source.device_map!r}: {error}"
            ) from error
        raise UnknownArchitectureError(
            f"expected an architecture that TransformerBridge knows, got "
            f"{hf_model.config.model_type!r} ({error})"
        ) from error
    wrapped.eval().requires_grad_(False)
    card = first_card(
        model_id=source.model_id,
        revision=source.revision,
        parameters_hash=parameters_hash,
        backend="bridge",
        weight_processing="none",
        tied_embeddings=tied,
        cfg=wrapped.cfg,
        device=source.device if source.device_map is None else str(wrapped.cfg.device),
        tokenizer=tokenizer,
    )
    model = BridgeModel(wrapped=wrapped, tokenizer=tokenizer, card=card, stop_ids=ends)
    if source.device_map is None:
        return _measured(model)
    # The engine's residuals and masks lie on one device, the blocks on several.
    return replace(model, card=replace(measured_card(model), drives_blocks=False))


def _check_map(device: str, backend: str) -> None:
    if device != "auto":
        raise ModelLoadError(
            f"expected device='auto' beside a device_map, got {device!r}; give one of them"
        )
    if backend == "hooked_transformer":
        raise ModelLoadError(
            "expected backend='bridge' or 'auto' for a device_map, got 'hooked_transformer', "
            "which keeps a model on one device"
        )


def _from_object(given: object, tokenizer: PreTrainedTokenizerBase | None) -> LensModel:
    kinds: dict[str, tuple[type[HookedModel] | type[BridgeModel], Backend]] = {
        "HookedTransformer": (HookedModel, "hooked_transformer"),
        "TransformerBridge": (BridgeModel, "bridge"),
    }
    kind = next((c.__name__ for c in type(given).__mro__ if c.__name__ in kinds), None)
    if kind is None:
        raise ModelLoadError(
            "expected a name, a folder, a HookedTransformer or a TransformerBridge, got "
            f"{type(given).__name__}; save a transformers model to a folder and give the folder"
        )
    wrapped: Any = given
    own = tokenizer or wrapped.tokenizer
    if own is None:
        raise ModelLoadError("expected a model with a tokenizer; pass tokenizer=...")
    wrapper, backend = kinds[kind]
    cfg = wrapped.cfg
    shape = {"num_attention_heads": cfg.n_heads, "hidden_act": cfg.act_fn}
    card = first_card(
        model_id=str(cfg.model_name),
        revision=None,
        parameters_hash=fingerprint(shape, wrapped.named_parameters()),
        backend=backend,
        weight_processing="as given",
        tied_embeddings=bool(torch.equal(wrapped.W_E, wrapped.W_U.T)),
        cfg=cfg,
        device=str(wrapped.W_E.device),
        tokenizer=own,
    )
    ends = stop_ids(own, getattr(wrapped, "original_model", None))
    return _measured(wrapper(wrapped=wrapped, tokenizer=own, card=card, stop_ids=ends))


def _measured(model: HookedModel | BridgeModel) -> LensModel:
    return replace(model, card=measured_card(model))


def _named(tokenizer: PreTrainedTokenizerBase, place: str) -> PreTrainedTokenizerBase:
    # Without it TransformerLens raises a bare KeyError; the caller's object stays as it is.
    own = copy.deepcopy(tokenizer)
    own.init_kwargs.setdefault("name_or_path", place)
    return own


def _has_hooked_transformer() -> bool:
    return int(version("transformer-lens").split(".")[0]) < 4
