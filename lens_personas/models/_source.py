"""Where a model comes from: names, folders, tokenizers, transformers models, devices."""

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from lens_personas.models._quiet import no_progress_bar
from lens_personas.models._types import Backend

DType = Literal["float32", "float64", "bfloat16", "float16"]

DeviceMap = str | Mapping[str, str | int]
"""How a model is spread over devices: ``auto``, ``balanced``, ``sequential``, or the device of
each module by its name."""


class ModelLoadError(ValueError):
    """A model could not be loaded; the text says what was expected and what to do."""


class SlowDTypeWarning(UserWarning):
    """The dtype is the slowest this device has."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Which checkpoint to read, and how."""

    place: str
    """Folder or hub id."""
    model_id: str
    """Name that goes into results."""
    revision: str | None
    """Hub revision."""
    dtype: DType
    """Parameter dtype."""
    device: str
    """Device that holds the model."""
    device_map: DeviceMap | None = None
    """How the model is spread over devices; None for one device."""

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype as torch's."""
        return getattr(torch, self.dtype)  # type: ignore[no-any-return]


def check_choices(dtype: str, backend: str) -> None:
    """Refuse a dtype or backend that does not exist, before anything is read.

    Raises:
        ModelLoadError: Naming the choices.
    """
    for name, given, choices in (
        ("dtype", dtype, get_args(DType)),
        ("backend", backend, ("auto", *get_args(Backend))),
    ):
        if given not in choices:
            raise ModelLoadError(f"expected {name} among {', '.join(choices)}, got {given!r}")


def find_checkpoint(name: str) -> tuple[str, str]:
    """Folder or hub id to read from, and the name that goes into results.

    Raises:
        ModelLoadError: If the name is none of ours, no checkpoint folder and no hub id.
    """
    if name.startswith("organism:"):
        from lens_personas.models.organism import shipped_path

        shipped = shipped_path(name)
        if shipped is None:
            raise ModelLoadError(
                f"expected organism:base, organism:chat or organism:ungated, got {name!r}"
            )
        return str(shipped), name
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelLoadError(
                f"expected a Hugging Face checkpoint folder with config.json, got {name!r} "
                f"with {sorted(p.name for p in path.iterdir())[:8]}"
            )
        return str(path.resolve()), path.resolve().name
    if path.exists() or not re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", name):
        raise ModelLoadError(
            f"expected organism:chat, organism:base, organism:ungated, an existing checkpoint "
            f"folder or a hub id (owner/name), got {name!r}"
        )
    return name, name


def find_device(asked: str) -> str:
    """The device, ``auto`` resolved.

    Raises:
        ModelLoadError: If there is no such device here.
    """
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(asked).type
    except RuntimeError as error:
        raise ModelLoadError(
            f"expected device auto, cpu, cuda, cuda:1 or mps, got {asked!r}"
        ) from error
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not here.get(kind, True):
        raise ModelLoadError(f"expected a device of this machine, got {asked!r}; use auto or cpu")
    return asked


def warn_of_slow_dtype(dtype: str, device: str) -> None:
    """Say so where float16 is asked for on a CPU, which has no products of it."""
    if dtype == "float16" and torch.device(device).type == "cpu":
        warnings.warn(
            "float16 on a CPU takes about five times as long as float32; "
            "bfloat16 takes half as long and as little memory",
            SlowDTypeWarning,
            stacklevel=3,
        )


def read_tokenizer(place: str, revision: str | None) -> PreTrainedTokenizerBase:
    """The checkpoint's tokenizer.

    Raises:
        ModelLoadError: If there is none, or the checkpoint cannot be read.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(place, revision=revision)
    except (OSError, ValueError) as error:
        raise ModelLoadError(
            f"expected a model with a tokenizer at {place!r}, found none: {_first_line(error)}; "
            "check the name, the folder and the network"
        ) from error
    return tokenizer


def read_weights(source: Source) -> Any:
    """The transformers model.

    Raises:
        ModelLoadError: If the weights are missing, broken, or of an unknown architecture.
    """
    with no_progress_bar():
        try:
            # Eager attention: the bridge reads patterns, and both backends agree to rounding.
            model: Any = AutoModelForCausalLM.from_pretrained(
                source.place,
                dtype=source.torch_dtype,
                revision=source.revision,
                attn_implementation="eager",
                device_map=source.device_map,
            )
        except (OSError, ValueError, SafetensorError) as error:
            raise ModelLoadError(
                f"expected the weights of a causal language model at {source.place!r}, could not "
                f"read them: {_first_line(error)}; check the folder, or download it again"
            ) from error
    # What is spread lies where it belongs.
    return model.to(source.device) if source.device_map is None else model


def stop_ids(tokenizer: PreTrainedTokenizerBase, hf_model: Any | None) -> tuple[int, ...]:
    """Ids that end an answer: the generation config's, one or a list, and the tokenizer's."""
    configured = getattr(getattr(hf_model, "generation_config", None), "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    return tuple(sorted({int(i) for i in [*listed, tokenizer.eos_token_id] if i is not None}))


def ties_embeddings(hf_model: Any) -> bool:
    """Whether embedding and unembedding are one matrix in memory."""
    unembedding = hf_model.get_output_embeddings()
    if unembedding is None:
        return False
    embedding = hf_model.get_input_embeddings()
    if unembedding.weight.is_meta or embedding.weight.is_meta:
        # On disk; in memory there is nothing to compare.
        return bool(hf_model.config.tie_word_embeddings)
    return bool(unembedding.weight.data_ptr() == embedding.weight.data_ptr())


def parameters_of(hf_model: Any) -> Iterator[tuple[str, Tensor]]:
    """Every parameter by its name; one that is kept on disk is read for as long as it is shown."""
    for name, parameter in hf_model.named_parameters():
        if parameter.is_meta:
            from accelerate.utils import align_module_device  # type: ignore[import-untyped]

            path, _, leaf = name.rpartition(".")
            module = hf_model.get_submodule(path)
            with align_module_device(module):
                yield name, getattr(module, leaf)
        else:
            yield name, parameter


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
