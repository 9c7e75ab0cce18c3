"""Test of many cells at once: which differ from 0, with the family-wise error held."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from lens_personas.statistics._checks import require_finite

_BLOCK = 512


def max_statistic(
    differences: Float[np.ndarray, "prompt cell"],
    *,
    rng: np.random.Generator,
    n_permutations: int = 10_000,
) -> Float[np.ndarray, " cell"]:
    """Two-sided p of each cell's mean difference, corrected over all cells (layers, personas).

    The signs of whole prompts are flipped and the largest absolute t over the cells is kept, so
    that correlation between cells costs nothing (Westfall and Young; Nichols and Holmes,
    https://doi.org/10.1002/hbm.1058). Exact where all ``2**n`` flips are no more than
    ``n_permutations``; else the observed one is counted.

    Raises:
        ValueError: If a difference is not finite.
    """
    require_finite("differences", differences)
    n, cells = differences.shape
    if n == 0 or cells == 0:
        return np.ones(cells)
    scaled = _scaled(differences)
    # A flip that only rounds differently from the observed one must count as equal.
    observed = np.abs(scaled.sum(axis=0)) * (1.0 - 1e-12)
    exact = 2**n <= n_permutations
    reached, total = (np.zeros(cells), 0) if exact else (np.ones(cells), 1)
    for signs in _all_signs(n) if exact else _drawn_signs(n, n_permutations, rng):
        largest = np.abs(signs @ scaled).max(axis=1)
        reached += (largest[:, None] >= observed).sum(axis=0)
        total += len(signs)
    return np.asarray(reached / total, dtype=np.float64)


def _scaled(differences: Float[np.ndarray, "prompt cell"]) -> Float[np.ndarray, "prompt cell"]:
    # Flips keep the sum of squares, so |sum| / root of it is a rising function of |t|, the same
    # in all cells, and it stays finite where all differences are equal.
    peak = np.abs(differences).max(axis=0)
    wide = differences.astype(np.float64) / np.where(peak > 0, peak, 1.0)
    norm = np.sqrt((wide**2).sum(axis=0))
    return np.asarray(wide / np.where(norm > 0, norm, 1.0))


def _all_signs(n: int) -> Iterator[Float[np.ndarray, "flip prompt"]]:
    for start in range(0, 2**n, _BLOCK):
        codes = np.arange(start, min(start + _BLOCK, 2**n))
        yield 1.0 - 2.0 * ((codes[:, None] >> np.arange(n)) & 1)


def _drawn_signs(
    n: int, draws: int, rng: np.random.Generator
) -> Iterator[Float[np.ndarray, "flip prompt"]]:
    for start in range(0, draws, _BLOCK):
        yield 1.0 - 2.0 * rng.integers(0, 2, size=(min(_BLOCK, draws - start), n))
