"""A cell's result on disk: one file, whole or absent, known by its hash."""

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import load, save
from torch import Tensor

from analyses._cells import Cell, Done, Shard
from lens_personas.activations import replacing

_ABOUT = "about"


class BrokenShardError(ValueError):
    """A cell's file is missing or is not what was written."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, kw_only=True, eq=False)
class Tensors:
    """A result of tensors, with what has to be known of them."""

    tensors: Mapping[str, Tensor]
    """Tensors by name."""
    about: Mapping[str, Any]
    """Plain JSON values."""


Content = pd.DataFrame | Tensors
"""What a cell computes."""


def write_shard(folder: Path, cell: Cell, content: Content) -> Shard:
    """Put a result into its file, which then is on the disk and whole.

    Raises:
        OSError: If the disk refuses; no file is left then.
    """
    data = _bytes(content)
    with replacing(folder / cell.path) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        # Else a power cut could leave the name without the content.
        os.fsync(file.fileno())
    rows = len(content) if isinstance(content, pd.DataFrame) else len(content.tensors)
    return Shard(path=cell.path, sha256=sha256(data).hexdigest(), rows=rows)


def read_shard(folder: Path, done: Done) -> Content:
    """The result of a cell.

    Raises:
        BrokenShardError: If its file is missing or is not what was written.
    """
    data = shard_bytes(folder, done)
    if done.shard.path.endswith(".parquet"):
        return pd.read_parquet(io.BytesIO(data))
    return Tensors(tensors=load(data), about=json.loads(_metadata(data)[_ABOUT]))


def shard_bytes(folder: Path, done: Done) -> bytes:
    """The file of a cell, checked against its hash.

    Raises:
        BrokenShardError: If it is missing or is not what was written.
    """
    try:
        data = (folder / done.shard.path).read_bytes()
    except FileNotFoundError:
        raise BrokenShardError(done.cell.key, f"{done.shard.path} is missing") from None
    if sha256(data).hexdigest() != done.shard.sha256:
        raise BrokenShardError(done.cell.key, f"{done.shard.path} is not what was written")
    return data


def _bytes(content: Content) -> bytes:
    if isinstance(content, pd.DataFrame):
        buffer = io.BytesIO()
        content.to_parquet(buffer)
        return buffer.getvalue()
    # A view of a larger tensor would take that tensor's whole storage along.
    tensors = {
        name: each.detach().cpu().contiguous().clone() for name, each in content.tensors.items()
    }
    # One entry: the order of several is not fixed, and with it the file's hash.
    saved: bytes = save(tensors, metadata={_ABOUT: json.dumps(dict(content.about))})
    return saved


def _metadata(data: bytes) -> dict[str, str]:
    """The header's metadata: eight bytes of length, then JSON."""
    length = int.from_bytes(data[:8], "little")
    found: dict[str, str] = json.loads(data[8 : 8 + length])["__metadata__"]
    return found
