"""Cached activations on disk: safetensors shards and an index."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
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
    norms = {s.value: activations.prompt_norms[s].tolist() for s in activations.sites}
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
            site: torch.tensor(index["prompt_norms"][site.value]).reshape(shape[:2])
            for site in sites
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
    content = hashlib.sha256(own.numpy().tobytes()).hexdigest()[:16]
    name = f"{site.value}-{content}.safetensors"
    with replacing(folder / name) as temporary:
        save_file({"activations": own}, temporary, metadata={"format": FORMAT, "site": site.value})
    return name


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
    try:
        return load_file(path)["activations"]
    except (SafetensorError, FileNotFoundError, KeyError) as error:
        raise MismatchError(
            f"{path} is named by the index, expected a safetensors file with 'activations', "
            f"got: {error}; collect again"
        ) from error


def _drop_others(folder: Path, *, keep: set[str]) -> None:
    for site in Site:
        for path in folder.glob(f"{site.value}-*.safetensors"):
            if path.name not in keep:
                path.unlink(missing_ok=True)
