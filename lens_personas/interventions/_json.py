"""One way to write data with vectors as JSON, so that equal content gives equal bytes."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

_MARK = "float32"


def encoded(fields: Mapping[str, object]) -> str:
    """Canonical JSON: sorted keys, no spaces; a vector is ``{"float32": base64}``.

    Raises:
        ValueError: If a number is NaN or infinite.
    """
    return json.dumps(
        fields, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_packed
    )


def decoded(text: str, *, expected: tuple[str, ...]) -> dict[str, Any]:
    """Fields of one JSON object, vectors as float32 tensors.

    Raises:
        ValueError: If it is no object with exactly the expected fields, or a vector is malformed.
    """
    fields = json.loads(text, object_hook=_unpacked)
    if not isinstance(fields, dict) or set(fields) != set(expected):
        found = sorted(fields) if isinstance(fields, dict) else type(fields).__name__
        raise ValueError(f"expected JSON with the fields {sorted(expected)}, got {found}")
    return fields


def _packed(value: object) -> dict[str, str]:
    if not isinstance(value, Tensor):
        raise TypeError(f"expected data, got {type(value).__name__}")
    return {_MARK: base64.b64encode(value.numpy().astype("<f4").tobytes()).decode("ascii")}


def _unpacked(fields: dict[str, Any]) -> Any:
    if set(fields) != {_MARK}:
        return fields
    try:
        raw = base64.b64decode(fields[_MARK], validate=True)
        return torch.from_numpy(np.frombuffer(raw, dtype="<f4").astype(np.float32))
    except (binascii.Error, TypeError, ValueError) as error:
        raise ValueError(f"expected a vector as base64 of float32 values, got {error}") from error
