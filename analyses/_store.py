"""A study's result on disk: one JSON file, its tables as parquet."""

import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analyses.shift import Shift
from analyses.whos_asking import WhosAsking
from lens_personas import __version__

Result = WhosAsking | Shift
"""What a study finds."""

FORMATS: dict[str, type] = {
    "lens_personas.whos_asking/2": WhosAsking,
    "lens_personas.shift/1": Shift,
}
"""Name and version of each layout, with the result it holds; a reader refuses any other."""


def _dataclasses_in(*roots: type) -> dict[str, type]:
    """Every dataclass that results of these types can hold, by name.

    Raises:
        TypeError: If two of them share a name: a reader could not tell them apart.
    """
    found: dict[str, type] = {}
    waiting: list[Any] = list(roots)
    while waiting:
        kind = waiting.pop()
        waiting += get_args(kind)
        if not (isinstance(kind, type) and is_dataclass(kind)) or found.get(kind.__name__) is kind:
            continue
        if kind.__name__ in found:
            raise TypeError(
                f"expected one type of that name, got {found[kind.__name__]} and {kind}"
            )
        found[kind.__name__] = kind
        waiting += get_type_hints(kind).values()
    return found


_TYPES = _dataclasses_in(*FORMATS.values())
_TAG = "$"
_DTYPES = {str(dtype): dtype for dtype in (torch.float32, torch.float64)}


def save_result(result: Result, folder: Path) -> Path:
    """Path of ``results/result.json`` in the run's folder, which now holds the whole result.

    A process that is killed leaves the former result or the new one: tables are named by their
    content, and the file that points to them is replaced last.

    Raises:
        TypeError: If a setting is neither a plain value nor a list, tuple or mapping of them.
    """
    target = folder / "results"
    target.mkdir(parents=True, exist_ok=True)
    tables: set[str] = set()

    def keep(name: str, content: bytes) -> str:
        full = f"{name}-{hashlib.sha256(content).hexdigest()[:12]}.parquet"
        _replace(target / full, content)
        tables.add(full)
        return full

    body = _encode(result, "result", keep)
    (layout,) = (name for name, kind in FORMATS.items() if isinstance(result, kind))
    whole = {"format": layout, "lens_personas": __version__, "result": body}
    path = target / "result.json"
    _replace(path, json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False).encode())
    for old in target.glob("result.*.parquet"):
        if old.name not in tables:
            old.unlink()
    return path


def load_result(folder: Path) -> Result:
    """The result that :func:`save_result` wrote to the run's folder, number for number.

    Raises:
        ValueError: If the folder holds no result, one of another version, or a damaged one.
    """
    path = folder / "results" / "result.json"
    if not path.is_file():
        raise ValueError(
            f"expected the folder of a finished run, got {folder}, which has no "
            "results/result.json; give the folder that --out named, or run the study again"
        )
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"expected JSON in {path}, got: {error}; run the study again") from error
    found = whole.get("format") if isinstance(whole, dict) else None
    if found not in FORMATS:
        raise ValueError(
            f"expected a result of format {' or '.join(map(repr, FORMATS))} in {path}, got "
            f"{found!r}; read it with the version that wrote it, or run the study again"
        )
    return _loaded(whole, path, FORMATS[found])


def _loaded(whole: dict[str, Any], path: Path, kind: type) -> Result:
    try:
        result = _decode(whole["result"], path.parent)
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(
            f"expected a result that lens_personas {__version__} can read in {path}, got one that "
            f"{whole.get('lens_personas')} wrote and that does not fit: {error!r}; "
            "read it with that version, or run the study again"
        ) from error
    if not isinstance(result, kind) or not isinstance(result, Result):
        raise ValueError(f"expected a {kind.__name__} in {path}, got {type(result).__name__}")
    return result


def _encode(value: object, name: str, keep: Callable[[str, bytes], str]) -> Any:
    """JSON of the value; what JSON cannot hold is an object with a ``$`` key that says what."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {_TAG: "float", "value": str(value)}
    if isinstance(value, pd.DataFrame):
        kinds = {str(column): str(dtype) for column, dtype in value.dtypes.items()}
        return {_TAG: "table", "file": keep(name, _parquet(value)), "dtypes": kinds}
    if isinstance(value, Tensor):
        flat = pd.DataFrame({"value": value.detach().cpu().reshape(-1).numpy()})
        kept = keep(name, _parquet(flat))
        return {_TAG: "tensor", "file": kept, "shape": list(value.shape), "dtype": str(value.dtype)}
    if isinstance(value, (list, tuple)):
        items = [_encode(each, f"{name}.{at}", keep) for at, each in enumerate(value)]
        return items if isinstance(value, list) else {_TAG: "tuple", "items": items}
    if isinstance(value, Mapping):
        return {str(key): _encode(each, f"{name}.{key}", keep) for key, each in value.items()}
    if is_dataclass(value) and type(value).__name__ in _TYPES:
        body = {
            each.name: _encode(getattr(value, each.name), f"{name}.{each.name}", keep)
            for each in fields(value)
        }
        return {_TAG: "type", "name": type(value).__name__, "fields": body}
    raise TypeError(
        f"expected plain values in a result, got {type(value).__name__} at {name}; "
        "turn it into text, a number, a list or a mapping"
    )


def _decode(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_decode(each, folder) for each in value]
    if not isinstance(value, dict):
        return value
    match value.get(_TAG):
        case "float":
            return float(value["value"])
        case "tuple":
            return tuple(_decode(each, folder) for each in value["items"])
        case "table":
            return pd.read_parquet(folder / value["file"]).astype(value["dtypes"])
        case "tensor":
            flat = pd.read_parquet(folder / value["file"])["value"].to_numpy()
            dtype = _DTYPES[value["dtype"]]
            return torch.from_numpy(np.array(flat)).to(dtype).reshape(value["shape"])
        case "type":
            body = {key: _decode(each, folder) for key, each in value["fields"].items()}
            return _TYPES[value["name"]](**body)
        case _:
            return {key: _decode(each, folder) for key, each in value.items()}


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer)
    return buffer.getvalue()


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
