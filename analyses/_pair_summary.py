"""The headline numbers of a study of two models, as they are written to ``summary.json``."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from analyses._json import json_safe
from analyses.shift import Shift

_LARGE = ("statements", "by_statement", "by_dose", "by_length", "matrix")
_PARTS = ("distinguishability", "internal", "divergence", "steerability", "comparison")


def pair_summary(result: Shift) -> dict[str, Any]:
    """Every number with its n, interval, p and null; undefined numbers are None.

    Tables of one row a statement, a dose, a length or a pair of measures are left out: they are
    in the run's results.
    """
    found = {
        "study": result.study,
        "status": result.status,
        "message": result.message,
        "seed": result.seed,
        "models": result.models,
        "data": result.data,
        "mass": _mass(result),
        **{name: _told(getattr(result, name)) for name in _PARTS},
    }
    safe: dict[str, Any] = json_safe(found)
    return safe


def _mass(result: Shift) -> dict[str, float]:
    """Mean P(Yes) + P(No) by side."""
    means = result.scores.groupby("side", sort=False)["mass"].mean()
    return {str(side): float(mean) for side, mean in means.items()}


def _told(value: object) -> Any:
    if is_dataclass(value):
        return {
            each.name: _told(getattr(value, each.name))
            for each in fields(value)
            if each.name not in _LARGE and not isinstance(getattr(value, each.name), Tensor)
        }
    if isinstance(value, Mapping):
        return {str(key): _told(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_told(each) for each in value]
    return value
