"""A grid of patches as a table: every cell with its interval over prompts and its chance."""

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd

from lens_personas.interventions._attribution_grid import AttributionGrid
from lens_personas.interventions._attribution_heads import HeadAttribution
from lens_personas.interventions._head_grid import HeadGrid
from lens_personas.interventions._patch_grid import PatchGrid
from lens_personas.statistics import cluster_bootstrap_columns, max_statistic

Grid = PatchGrid | HeadGrid | AttributionGrid | HeadAttribution
"""What a table can be made of."""


def grid_frame(
    grid: Grid,
    *,
    rng: np.random.Generator,
    clusters: Sequence[Hashable] | None = None,
    n_resamples: int = 2000,
    n_permutations: int = 10_000,
) -> pd.DataFrame:
    """One row a cell: what its patch moves from the corrupted run towards the clean one.

    Columns: ``layer``, ``head`` (-1 for none), ``position`` (missing where all are patched at
    once), ``estimate, low, high`` (mean change of the metric, in its unit, with its 95 %
    bootstrap interval), ``share`` (of the mean way from corrupted to clean: a ratio of means, NaN
    without a way), ``p`` (two-sided, signs of whole clusters flipped, the largest of all cells),
    ``n`` (prompts that have the cell).

    Args:
        grid: Patches or attributions.
        rng: Generator.
        clusters: What each pair belongs to when pairs are resampled and flipped, such as its
            request; None for each to itself.
        n_resamples: Bootstrap resamples.
        n_permutations: Sign flips, where not all are tried.

    Raises:
        ValueError: If there is not one cluster for each pair.
    """
    moved = (grid.values.movedim(0, -1) - grid.corrupted).movedim(-1, 0).double().numpy()
    n, *shape = moved.shape
    owners = list(range(n)) if clusters is None else list(clusters)
    if len(owners) != n:
        raise ValueError(f"expected one cluster for each of {n} pairs, got {len(owners)}")
    cells = moved.reshape(n, -1)
    there = np.isfinite(cells)
    numbers = {owner: at for at, owner in enumerate(dict.fromkeys(owners))}
    index = np.array([numbers[owner] for owner in owners])
    intervals = cluster_bootstrap_columns(cells, index, rng=rng, n_resamples=n_resamples)
    sums = np.zeros((len(numbers), cells.shape[1]))
    # A prompt without the cell adds nothing to either side of its statistic.
    np.add.at(sums, index, np.where(there, cells, 0.0))
    way = (grid.clean - grid.corrupted).double().numpy()[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.nansum(cells, axis=0) / np.where(there, way, 0.0).sum(axis=0)
    return pd.DataFrame(
        _places(grid, shape)
        | {
            "estimate": [each.estimate for each in intervals],
            "low": [each.low for each in intervals],
            "high": [each.high for each in intervals],
            "share": np.where(np.isfinite(share), share, np.nan),
            "p": max_statistic(sums, rng=rng, n_permutations=n_permutations),
            "n": there.sum(axis=0),
        }
    )


def _places(grid: Grid, shape: Sequence[int]) -> dict[str, object]:
    """Layer, head and position of each cell, in the order of the values."""
    at = [each.ravel() for each in np.indices(shape)]
    heads = at[1] if len(shape) == 3 else np.full(at[0].shape, -1)
    positions = pd.array([None] * len(heads), dtype="Int64")
    if grid.positions is not None:
        positions = pd.array(np.array(grid.positions)[at[-1]], dtype="Int64")
    return {"layer": np.array(grid.layers)[at[0]], "head": heads, "position": positions}
