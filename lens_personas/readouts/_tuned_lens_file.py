"""A tuned lens on disk: one safetensors file that says what it is; published ones read in."""

import json
import pickle
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from lens_personas.activations import (
    MismatchError,
    ModelField,
    check_same_model,
    read_tensors,
    write_tensors,
)
from lens_personas.models import ModelCard
from lens_personas.readouts._tuned_lens_types import LensSource, LensTraining, TunedLens

FORMAT: Final = "lens_personas/tuned-lens/1"
_TENSORS: Final = ("weights", "biases")


def save_tuned_lens(lens: TunedLens, path: Path | str) -> None:
    """Write a lens and what is known of it as one ``.safetensors`` file, whole or not at all.

    Raises:
        ValueError: If the path has another ending.
        OSError: If it cannot be written.
    """
    tensors = {name: getattr(lens, name) for name in _TENSORS}
    write_tensors(path, tensors, {"format": FORMAT, "lens": json.dumps(about(lens))})


def load_tuned_lens(
    path: Path | str,
    *,
    for_card: ModelCard | None = None,
    allow_mismatch: Collection[ModelField] = (),
) -> TunedLens:
    """Read a lens, and refuse it for a model that it was not trained on.

    Args:
        path: File written by :func:`save_tuned_lens`.
        for_card: Card of the model it is to be used on; None to only look at it.
        allow_mismatch: Facts that may differ; the lens then counts as one for ``for_card``.

    Raises:
        FileNotFoundError: If there is no such file.
        MismatchError: If it does not fit; both sides are named.
        ValueError: If it is not the file of a tuned lens.
    """
    metadata, tensors = read_tensors(
        Path(path),
        what="the file of a tuned lens",
        otherwise="import a published lens with import_tuned_lens",
    )
    if metadata.get("format") != FORMAT or {*tensors} != {*_TENSORS}:
        raise ValueError(
            f"expected format {FORMAT!r} with the tensors {list(_TENSORS)} in {path}, got "
            f"{metadata.get('format')!r} with {sorted(tensors)}; import a published lens with "
            "import_tuned_lens"
        )
    lens = lens_of(tensors, json.loads(metadata["lens"]))
    if for_card is None:
        return lens
    check_same_model(
        asdict(lens.source), for_card, what="the tuned lens", allow_mismatch=allow_mismatch
    )
    return lens_of(tensors, about(lens) | {"source": asdict(LensSource.of(for_card))})


def import_tuned_lens(folder: Path | str, *, card: ModelCard) -> TunedLens:
    """Read a lens as EleutherAI publishes it: ``config.json`` and ``params.pt`` in a folder.

    Of theirs, ``h + W h + b`` too, the translator of ``layers[i]`` is for the *input* of block
    ``i``; ours is for the output of a block, so their translator 0, of the embeddings, is left
    out, and their translator ``i`` becomes that of layer ``i - 1``. Their file tells the model
    by name alone: width and number of blocks are checked, that it is the same model is not.

    Raises:
        FileNotFoundError: If a file is missing.
        MismatchError: If width or number of blocks differ; both sides are named.
        ValueError: If a file is not what such a folder holds; a pickled program is never run.
    """
    found = Path(folder)
    config = _config(found / "config.json")
    n_layers = int(config.get("num_hidden_layers", config.get("num_layers", 0)))
    if (config.get("d_model"), n_layers) != (card.d_model, card.n_layers):
        raise MismatchError(
            f"the tuned lens in {found} is for d_model={config.get('d_model')} and {n_layers} "
            f"layers (model {config.get('base_model_name_or_path')!r}), expected "
            f"d_model={card.d_model} and {card.n_layers} layers of {card.model_id!r}"
        )
    state = _state(found / "params.pt")
    layers = tuple(range(n_layers - 1))
    rows = [_translator(state, layer + 1, card.d_model) for layer in layers]
    return TunedLens(
        weights=torch.stack([weight for weight, _ in rows]),
        biases=torch.stack([bias for _, bias in rows]),
        layers=layers,
        source=LensSource.of(card),
        training=None,
    )


def about(lens: TunedLens) -> dict[str, Any]:
    """What is known of a lens beside its tensors, as plain JSON values."""
    training = None if lens.training is None else asdict(lens.training)
    return {"layers": list(lens.layers), "source": asdict(lens.source), "training": training}


def lens_of(tensors: Mapping[str, Tensor], known: Mapping[str, Any]) -> TunedLens:
    """The lens of its tensors and what :func:`about` told of it."""
    training = known["training"]
    if training is not None:
        curves = {name: tuple(training[name]) for name in ("kl_before", "kl_after")}
        training = LensTraining(**training | curves)
    return TunedLens(
        weights=tensors["weights"],
        biases=tensors["biases"],
        layers=tuple(known["layers"]),
        source=LensSource(**known["source"]),
        training=training,
    )


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"expected the settings of a tuned lens, found none at {path}")
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"expected a JSON object in {path}, got {type(found).__name__}")
    return found


def _state(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"expected the weights of a tuned lens, found none at {path}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"expected tensors alone in {path}, got something that would have to be run"
        ) from error
    return dict(found)


def _translator(state: Mapping[str, Tensor], number: int, d_model: int) -> tuple[Tensor, Tensor]:
    weight, bias = state.get(f"{number}.weight"), state.get(f"{number}.bias")
    if weight is None or weight.shape != (d_model, d_model):
        shape = None if weight is None else tuple(weight.shape)
        raise ValueError(
            f"expected {number}.weight of shape {(d_model, d_model)} in the lens, got {shape}"
        )
    return weight.float(), (torch.zeros(d_model) if bias is None else bias.float())
