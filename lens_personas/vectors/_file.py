"""A vector on disk: one safetensors file that says what it is."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Final, Literal

from torch import Tensor

from lens_personas.activations import (
    MismatchError,
    ModelField,
    check_same_model,
    read_tensors,
    write_tensors,
)
from lens_personas.hooks import Site
from lens_personas.models import ModelCard
from lens_personas.vectors._types import SteeringVector, VectorProvenance

FORMAT: Final = "lens_personas/1"
_TENSORS: Final = ("vectors", "resid_norms")
_INTEGERS: Final = ("n_layers", "seed")

Allowed = ModelField | Literal["site"]
"""A fact that may differ between the vector and what it is loaded for."""


def save_vector(vector: SteeringVector, path: Path | str) -> None:
    """Write a vector with its provenance as one ``.safetensors`` file, whole or not at all.

    Raises:
        ValueError: If the path has another ending.
        OSError: If it cannot be written.
    """
    tensors = {name: getattr(vector, name) for name in _TENSORS}
    write_tensors(path, tensors, _metadata(vector))


def load_vector(
    path: Path | str,
    *,
    for_card: ModelCard | None = None,
    for_site: Site | None = None,
    allow_mismatch: Collection[Allowed] = (),
) -> SteeringVector:
    """Read a vector, and refuse it for a model or site that it was not made for.

    Args:
        path: File written by :func:`save_vector`.
        for_card: Card of the model it is to be used on; None to only look at it.
        for_site: Site it is to be used at; None for its own.
        allow_mismatch: Facts that may differ; the width never may.

    Raises:
        FileNotFoundError: If there is no such file.
        MismatchError: If it does not fit; both sides are named.
        ValueError: If it is not a vector file.
    """
    target = Path(path)
    metadata, tensors = read_tensors(
        target,
        what="a vector file",
        otherwise="a .pt file of another tool has to be imported first",
    )
    vector = _vector(target, metadata, tensors)
    if for_card is not None:
        made_with = asdict(vector.provenance) | {"d_model": vector.d_model}
        check_same_model(
            made_with, for_card, what=f"vector {vector.name!r}", allow_mismatch=allow_mismatch
        )
        _check_layers(vector, for_card)
    if for_site not in (None, vector.site) and "site" not in allow_mismatch:
        raise MismatchError(
            f"vector {vector.name!r} was read at {vector.site.value}, expected {for_site.value}; "
            "use it at its own site, or name 'site' in allow_mismatch"
        )
    return vector


def _metadata(vector: SteeringVector) -> dict[str, str]:
    known = {
        "format": FORMAT,
        "name": vector.name,
        "from": vector.from_label,
        "to": vector.to_label,
        "method": vector.method,
        "site": vector.site.value,
        "layers": json.dumps(list(vector.layers)),
        "n_from": vector.n_from,
        "n_to": vector.n_to,
        "normalised": json.dumps(vector.normalised),
        **asdict(vector.provenance),
    }
    # What is not known has no key, so that an empty text keeps its meaning.
    return {key: str(value) for key, value in known.items() if value is not None}


def _vector(
    path: Path, metadata: Mapping[str, str], tensors: Mapping[str, Tensor]
) -> SteeringVector:
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"expected format {FORMAT!r} in {path}, got {metadata.get('format')!r}; "
            "it was written by another tool or version: import it first"
        )
    missing = [name for name in _TENSORS if name not in tensors]
    missing += [key for key in ("name", "from", "to", "method", "site", "layers", "normalised")
                if key not in metadata]  # fmt: skip
    if missing:
        raise ValueError(f"expected {missing} in {path}, got {sorted({*metadata, *tensors})}")
    return SteeringVector(
        name=metadata["name"],
        vectors=tensors["vectors"],
        layers=tuple(json.loads(metadata["layers"])),
        site=Site(metadata["site"]),
        from_label=metadata["from"],
        to_label=metadata["to"],
        method=metadata["method"],
        n_from=_integer(metadata, "n_from"),
        n_to=_integer(metadata, "n_to"),
        resid_norms=tensors["resid_norms"],
        normalised=json.loads(metadata["normalised"]),
        provenance=_provenance(metadata),
    )


def _provenance(metadata: Mapping[str, str]) -> VectorProvenance:
    texts = [f.name for f in fields(VectorProvenance) if f.name not in _INTEGERS]
    return VectorProvenance(
        n_layers=_integer(metadata, "n_layers"),
        seed=_integer(metadata, "seed"),
        **{name: metadata.get(name) for name in texts},
    )


def _integer(metadata: Mapping[str, str], key: str) -> int | None:
    return int(metadata[key]) if key in metadata else None


def _check_layers(vector: SteeringVector, card: ModelCard) -> None:
    beyond = [layer for layer in vector.layers if layer >= card.n_layers]
    if beyond:
        raise MismatchError(
            f"vector {vector.name!r} has layers {beyond}, expected layers below "
            f"{card.n_layers} of {card.model_id!r}"
        )
