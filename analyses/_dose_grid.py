"""Changes of refusal by request and dose, or by request and length."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float


@dataclass(frozen=True)
class DoseGrid:
    """Changes of one arm: a row a request, a column a level, both ascending."""

    levels: tuple[float, ...]
    """Doses or lengths."""
    values: Float[np.ndarray, "prompt level"]
    """Changes in nats."""

    def at(self, levels: Iterable[float]) -> "DoseGrid":
        """The grid at some of its levels."""
        chosen = tuple(levels)
        return DoseGrid(chosen, self.values[:, [self.levels.index(level) for level in chosen]])

    def with_zero(self) -> "DoseGrid":
        """The grid with level 0, where nothing changes."""
        grid = DoseGrid((*self.levels, 0.0), np.pad(self.values, ((0, 0), (0, 1))))
        return grid.at(sorted(grid.levels))

    @property
    def slopes(self) -> Float[np.ndarray, " prompt"]:
        """Least squares over the levels, by request."""
        centred = np.array(self.levels) - np.mean(self.levels)
        return np.asarray(self.values @ (centred / (centred**2).sum()))


def dose_grids(changes: pd.DataFrame, level: str) -> dict[str, DoseGrid]:
    """The grid of each arm; ``level`` is the column of its levels."""
    grids = {}
    for persona, rows in changes.groupby("persona", sort=False):
        wide = rows.pivot(index="prompt_id", columns=level, values="change").sort_index(axis=1)
        levels = tuple(float(str(at)) for at in wide.columns)
        grids[str(persona)] = DoseGrid(levels, wide.to_numpy(np.float64))
    return grids
