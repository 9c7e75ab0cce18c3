"""A cell: the smallest piece of a study that is computed, kept and never computed twice."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

CellKind = Literal[
    "answers",
    "tokens",
    "norms",
    "vector",
    "lens",
    "baseline",
    "sweep",
    "written",
    "part",
    "part_tensors",
    "pair",
    "files",
]
"""What a cell computes: answers to the requests alone; the tokens that open a refusal; residual
norms; one vector; the lens on refused answers; scores of the requests alone; scores of every arm
of one treatment at one layer, and again with answers where it is tested; a step of a part of the
study, as a table or as tensors; a step of a study of two models; the run's files."""

TENSOR_KINDS: tuple[CellKind, ...] = ("norms", "vector", "lens", "part_tensors")
"""Kinds whose result is tensors; that of the others is a table."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What is to be computed, and from what; see :func:`make_cell`."""

    key: str
    """sha256 of all that the result hangs on, as hexadecimal."""
    kind: CellKind
    """What is computed."""
    spec: Mapping[str, Any]
    """Which one of its kind, as plain JSON values."""
    needs: tuple[str, ...]
    """Keys of the cells whose results it reads."""

    @property
    def path(self) -> str:
        """Its shard, from the run's folder; of the run's files the one that is written last."""
        if self.kind == "files":
            return "run.json"
        ending = "safetensors" if self.kind in TENSOR_KINDS else "parquet"
        return f"results/{self.kind}-{self.key[:16]}.{ending}"

    @property
    def label(self) -> str:
        """The cell in a word or two, for people."""
        return " ".join([self.kind, *(str(self.spec[k]) for k in _TOLD if k in self.spec)])


_TOLD = ("part", "step", "side", "name", "treatment", "layer")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A cell's result on disk."""

    path: str
    """File, from the run's folder."""
    sha256: str
    """Hash of the file."""
    rows: int
    """Rows of the table, or tensors in the file."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """A cell with its result."""

    cell: Cell
    """What was computed."""
    shard: Shard
    """What came out."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A cell to be computed, with all that it reads."""

    cell: Cell
    """What is to be computed."""
    inputs: tuple[Done, ...]
    """The cells it needs, in the order of ``cell.needs``."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """How a job ended: with a shard, or because an input was broken."""

    key: str
    """The cell's key."""
    shard: Shard | None
    """Its result; None where an input was broken."""
    seconds: float
    """Wall time."""
    broken: str | None = None
    """Key of the input whose shard is missing or is not what was written."""


def make_cell(
    kind: CellKind, spec: Mapping[str, Any], needs: tuple[Cell, ...] = (), *, context: str
) -> Cell:
    """A cell under its key.

    Args:
        kind: What is computed.
        spec: Which one of its kind, as plain JSON values.
        needs: The cells whose results it reads.
        context: Hash of what all cells of the run hang on: settings, data, model, version.
    """
    keys = tuple(cell.key for cell in needs)
    key = content_hash({"kind": kind, "spec": spec, "needs": keys, "context": context})
    return Cell(key=key, kind=kind, spec=spec, needs=keys)


def content_hash(value: Any) -> str:
    """sha256 of a plain JSON value, however its mappings are ordered."""
    return sha256(canonical_json(value).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: keys sorted, no spaces, no NaN.

    Raises:
        ValueError: If a number is not finite.
        TypeError: If a value has no JSON form.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
