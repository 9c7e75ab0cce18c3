"""Results as plain JSON values, which have neither NaN nor infinity."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd


def json_safe(value: object) -> Any:
    """The value with plain containers only, and None for every number JSON cannot hold.

    Dataclasses become objects by field, tables lists of rows, arrays nested lists, paths text.

    Raises:
        TypeError: If a value has no JSON form.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, (np.bool_, np.integer)):
        return value.item()
    if isinstance(value, PurePath):
        return str(value)
    return _container(value)


def _container(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: json_safe(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): json_safe(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return [json_safe(each) for each in items]
    if isinstance(value, np.ndarray):
        return json_safe(value.tolist())
    if isinstance(value, pd.DataFrame):
        return [json_safe(row) for row in value.to_dict(orient="records")]
    raise TypeError(
        f"expected a number, text, container, table or dataclass, got {type(value).__name__}; "
        "turn it into one of these before it goes into a result"
    )
