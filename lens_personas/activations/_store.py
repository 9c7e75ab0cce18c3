"""Cached activations on disk: safetensors shards and an index."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from lens_personas.activations._cached import CachedActivations
from lens_personas.activations._files import replacing
from lens_personas.activations._provenance import (
    ActivationProvenance,
    MismatchError,
    check_same_model,
)
from lens_personas.activations._read_at import ReadAt
from lens_personas.hooks import Site
from lens_personas.models import ModelCard

FORMAT = "lens_personas.activations/1"
INDEX = "index.json"


def save_activations(activations: CachedActivations, folder: Path, *, max_shard_bytes: int) -> None:
    """Write the shards, then the index that names them, then drop shards of an earlier save.

    Shards are named by their content, so an older index stays valid until it is replaced.

    Raises:
        ValueError: If the shard size is not positive.
        OSError: If the folder cannot be written.
    """
    if max_shard_bytes < 1:
        raise ValueError(f"expected a shard size of at least 1 byte, got {max_shard_bytes}")
    shards = [
        {"site": site.value, "start": start, "stop": stop, "file": _write_shard(folder, site, part)}
        for site, start, stop, part in _parts(activations, max_shard_bytes)
    ]
    norms = {site.value: each.tolist() for site, each in activations.prompt_norms.items()}
    index = {
        "format": FORMAT,
        "sites": [site.value for site in activations.sites],
        "layers": list(activations.layers),
        "prompt_ids": list(activations.prompt_ids),
        "prompt_hashes": list(activations.prompt_hashes),
        "data_hash": activations.data_hash,
        "prompt_norms": norms,
        "n_positions": activations.n_positions.tolist(),
        "read_at": asdict(activations.read_at),
        "provenance": asdict(activations.provenance),
        "shards": shards,
    }
    with replacing(folder / INDEX) as temporary:
        temporary.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    _drop_others(folder, keep={str(shard["file"]) for shard in shards})


def load_activations(folder: Path, *, expected_card: ModelCard | None) -> CachedActivations:
    """Read what :func:`save_activations` wrote.

    Raises:
        FileNotFoundError: If there is no index.
        MismatchError: If the activations are of another model, or do not fit their index.
    """
    index = _read_index(folder)
    card = index["provenance"]["card"]
    if expected_card is not None:
        check_same_model(card, expected_card, what=f"the activations in {folder}")
    shape = (len(index["prompt_ids"]), len(index["layers"]), card["d_model"])
    sites = [Site(name) for name in index["sites"]]
    return CachedActivations(
        values={site: _read_site(folder, index, site, shape) for site in sites},
        prompt_norms={
            Site(name): torch.tensor(each).reshape(shape[:2])
            for name, each in index["prompt_norms"].items()
        },
        n_positions=torch.tensor(index["n_positions"], dtype=torch.long),
        prompt_ids=tuple(index["prompt_ids"]),
        prompt_hashes=tuple(index["prompt_hashes"]),
        layers=tuple(index["layers"]),
        read_at=ReadAt(**index["read_at"]),
        provenance=ActivationProvenance(**index["provenance"]),
    )


def _parts(
    activations: CachedActivations, max_shard_bytes: int
) -> Iterator[tuple[Site, int, int, Tensor]]:
    for site, values in activations.values.items():
        row_bytes = max(values[:1].numel() * values.element_size(), 1)
        step = max(max_shard_bytes // row_bytes, 1)
        for start in range(0, len(values), step):
            stop = min(start + step, len(values))
            yield site, start, stop, values[start:stop]


def _write_shard(folder: Path, site: Site, part: Float[Tensor, "prompt layer d_model"]) -> str:
    # A view keeps its whole storage, and safetensors refuses memory that is shared.
    own = part.detach().cpu().contiguous().clone()
    name = f"{site.value}-{_content(own)}.safetensors"
    with replacing(folder / name) as temporary:
        save_file({"activations": own}, temporary, metadata={"format": FORMAT, "site": site.value})
    return name


def check_contents(folder: Path) -> None:
    """Read every shard and compare it with the hash in its name, one at a time.

    Raises:
        FileNotFoundError: If there is no index.
        MismatchError: If a shard is missing, cut short or changed.
    """
    for shard in _read_index(folder)["shards"]:
        path = folder / shard["file"]
        found = _content(_read_shard(path))
        if not path.stem.endswith(f"-{found}"):
            raise MismatchError(
                f"{path} holds content {found}, expected what its name says; "
                "delete its folder and collect again"
            )


def read_place(folder: Path, site: Site, layer: int) -> Float[Tensor, "prompt d_model"]:
    """One site and layer of a folder, read without the rest.

    Raises:
        FileNotFoundError: If there is no index.
        ValueError: If that place was not read.
        MismatchError: If a shard is missing or cut short.
    """
    index = _read_index(folder)
    if site.value not in index["sites"] or layer not in index["layers"]:
        raise ValueError(
            f"expected one of the sites {index['sites']} and layers {index['layers']}, got "
            f"{site.value!r} and {layer}; collect it as well"
        )
    column = index["layers"].index(layer)
    shards = sorted(
        (s for s in index["shards"] if s["site"] == site.value), key=lambda s: int(s["start"])
    )
    return torch.cat([_read_column(folder / shard["file"], column) for shard in shards])


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    if not path.is_file():
        raise FileNotFoundError(
            f"expected a folder of activations with {INDEX}, found none at {folder}; "
            "a save that was interrupted leaves no index: collect again"
        )
    index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if index.get("format") != FORMAT:
        raise MismatchError(
            f"{path} has format {index.get('format')!r}, expected {FORMAT!r}; "
            "it was written by another tool or version"
        )
    return index


def _read_site(
    folder: Path, index: dict[str, Any], site: Site, shape: tuple[int, int, int]
) -> Float[Tensor, "prompt layer d_model"]:
    shards = sorted(
        (s for s in index["shards"] if s["site"] == site.value), key=lambda s: int(s["start"])
    )
    parts = [_read_shard(folder / shard["file"]) for shard in shards]
    values = torch.cat(parts) if parts else torch.empty(0, *shape[1:])
    if tuple(values.shape) != shape:
        raise MismatchError(
            f"the shards of {site.value} in {folder} hold a tensor of shape {tuple(values.shape)}, "
            f"expected {shape} by their index; collect again"
        )
    return values


def _read_shard(path: Path) -> Float[Tensor, "prompt layer d_model"]:
    with _shard_errors(path):
        return load_file(path)["activations"]


def _read_column(path: Path, column: int) -> Float[Tensor, "prompt d_model"]:
    with _shard_errors(path), safe_open(path, framework="pt") as shard:
        found: Tensor = shard.get_slice("activations")[:, column]
        return found


@contextmanager
def _shard_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, FileNotFoundError, KeyError) as error:
        raise MismatchError(
            f"{path} is named by the index, expected a safetensors file with 'activations', "
            f"got: {error}; delete its folder and collect again"
        ) from error


def _content(values: Float[Tensor, "prompt layer d_model"]) -> str:
    return hashlib.sha256(values.numpy().tobytes()).hexdigest()[:16]


def _drop_others(folder: Path, *, keep: set[str]) -> None:
    for site in Site:
        for path in folder.glob(f"{site.value}-*.safetensors"):
            if path.name not in keep:
                path.unlink(missing_ok=True)
