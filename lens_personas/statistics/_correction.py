"""Correction of p values for the number of tests."""

from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import stats

Method = Literal["holm", "bh"]
"""``holm`` holds the chance of any false positive; ``bh`` their expected share of the positives."""


def adjust(
    p_values: Float[np.ndarray, " test"], *, method: Method = "holm"
) -> Float[np.ndarray, " test"]:
    """Corrected p values, in the order given, each at least as large as before and at most 1.

    ``bh`` is ``scipy.stats.false_discovery_control``; ``holm`` is not in scipy, and statsmodels'
    collects garbage on every call.

    Raises:
        ValueError: If a p value is not in [0, 1], or the method is not known.
    """
    if method not in ("holm", "bh"):
        raise ValueError(f"expected method 'holm' or 'bh', got {method!r}")
    bad = ~((p_values >= 0) & (p_values <= 1))
    if bad.any():
        raise ValueError(
            f"expected p values in [0, 1], got {p_values[bad][0]}; "
            "give a test that could not be run p = 1, or leave it out"
        )
    if method == "bh":
        return np.asarray(stats.false_discovery_control(p_values) if len(p_values) else p_values)
    order = np.argsort(p_values)
    stepped = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return corrected
