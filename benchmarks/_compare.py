"""Whether two ways gave the same numbers."""

from collections.abc import Mapping

import numpy as np


def largest_error(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> float:
    """Largest difference as a share of our largest value; the share that differs for tokens.

    Arrays that both have are compared; what theirs marks as NaN it cannot give.

    Raises:
        ValueError: If they have no array in common, one has another shape, or ours is not finite.
    """
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        raise ValueError(f"expected an array among {sorted(ours)}, got {sorted(theirs)}")
    return max(_error(name, ours[name], theirs[name]) for name in common)


def _error(name: str, ours: np.ndarray, theirs: np.ndarray) -> float:
    if ours.shape != theirs.shape:
        raise ValueError(f"expected {name} of shape {ours.shape}, got {theirs.shape}")
    if np.issubdtype(ours.dtype, np.integer):
        return float((ours != theirs).mean())
    given = ~np.isnan(theirs)
    if not np.isfinite(ours).all() or not given.any():
        raise ValueError(f"expected finite values of {name} to compare, got none")
    difference = np.abs(ours[given].astype(np.float64) - theirs[given])
    return float(difference.max() / max(np.abs(ours[given]).max(), np.finfo(np.float64).tiny))
