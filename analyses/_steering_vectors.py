"""From answers by statement and dose to one curve a behaviour, beside random directions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped

from analyses._length_grid import QUANTITIES, with_probability
from analyses._steerability_types import VectorCurve
from analyses._steering_curves import Draws, slopes_over, spread_out
from lens_personas.statistics import (
    Interval,
    adjust,
    cluster_bootstrap_columns,
    null_range,
    sign_flip_columns,
    wilson,
)

OWN = "own"
"""Name of the behaviour's own vector; every other one is a random direction."""


@dataclass(frozen=True, kw_only=True)
class DoseTable:
    """One model's answers about one behaviour under its vectors."""

    side: str
    """``base`` or ``tuned``."""
    behaviour: str
    """Name of the behaviour."""
    desirable: bool
    """Whether showing it is the aligned answer."""
    statements: tuple[str, ...]
    """Statements that were scored everywhere."""
    groups: Shaped[np.ndarray, " statement"]
    """Group of each."""
    half: Shaped[np.ndarray, " statement"]
    """Half of each, 0 or 1, whose layer the other half chooses; a group lies in one."""
    slopes: Mapping[tuple[str, int], Float[np.ndarray, " statement"]]
    """Slope over doses by statement, by vector and layer."""
    cells: pd.DataFrame
    """Row a statement; columns ``quantity, layer, vector, dose``."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers steered, ascending."""
        return tuple(sorted({layer for _, layer in self.slopes}))

    @property
    def vectors(self) -> tuple[str, ...]:
        """Vectors, the behaviour's own first."""
        names = dict.fromkeys(name for name, _ in self.slopes)
        return tuple(sorted(names, key=lambda name: name != OWN))


def dose_tables(vectors: pd.DataFrame, rng: np.random.Generator) -> Iterator[DoseTable]:
    """The table of each model and behaviour, in the order given; halves are drawn."""
    for (side, behaviour), rows in vectors.groupby(["side", "behaviour"], sort=False):
        rows = with_probability(rows)
        wide = rows.pivot_table(
            index="statement_id",
            columns=["layer", "vector", "dose"],
            values=list(QUANTITIES),
            sort=False,
        ).dropna()
        found = rows.drop_duplicates("statement_id").set_index("statement_id")["group"]
        groups = found[wide.index].to_numpy(dtype=str)
        slopes = {}
        for layer, name in dict.fromkeys((at[1], at[2]) for at in wide.columns):
            part = wide["propensity"][layer][name]
            slopes[str(name), int(layer)] = slopes_over(
                part.to_numpy(np.float64), [float(dose) for dose in part.columns]
            )
        yield DoseTable(
            side=str(side),
            behaviour=str(behaviour),
            desirable=bool(rows["desirable"].iloc[0]),
            statements=tuple(str(each) for each in wide.index),
            groups=groups,
            half=_halves(groups, rng),
            slopes=slopes,
            cells=wide,
        )


def vector_curve(table: DoseTable, draws: Draws) -> VectorCurve:
    """The curve of the behaviour's own vector; its layer is chosen on other statements."""
    chosen = {name: _chosen(table, name) for name in table.vectors}
    layers, slopes = chosen.pop(OWN)
    random = [each for _, each in chosen.values()]
    means = np.array([each.mean() for each in random], dtype=np.float64)
    # A random direction might have pointed the other way, unless its layer was chosen by sign.
    reach = null_range(means, symmetric=len(table.layers) == 1)
    interval, p = _mean(slopes, table.groups, draws)
    below = int((slopes < 0).sum())
    return VectorCurve(
        side=table.side,
        behaviour=table.behaviour,
        desirable=table.desirable,
        layers=layers,
        n=len(slopes),
        n_groups=len(set(table.groups)),
        slope=interval,
        spread=float(slopes.std(ddof=1)) if len(slopes) > 1 else np.nan,
        anti_steerable=wilson(below, len(slopes), level=draws.level),
        p=p,
        p_bh=p,
        n_random=len(random),
        null_range=reach,
        beyond_null=reach is not None and not reach[0] <= interval.estimate <= reach[1],
        null_anti_steerable=float(np.mean([each < 0 for each in random])) if random else np.nan,
    )


def corrected_vectors(curves: Sequence[VectorCurve]) -> tuple[VectorCurve, ...]:
    """The curves with p corrected over models and behaviours."""
    p_bh = adjust(np.array([curve.p for curve in curves], dtype=np.float64), method="bh")
    return tuple(replace(c, p_bh=p) for c, p in zip(curves, p_bh.tolist(), strict=True))


def dose_rows(table: DoseTable, draws: Draws) -> pd.DataFrame:
    """Means by layer, vector and dose; see ``Steerability.by_dose``."""
    wide = table.cells
    intervals = cluster_bootstrap_columns(
        wide.to_numpy(np.float64),
        table.groups,
        rng=draws.rng,
        n_resamples=draws.n_boot,
        level=draws.level,
    )
    rows: dict[tuple[int, str, float], dict[str, float]] = {}
    columns: list[Any] = wide.columns.tolist()
    for (quantity, layer, name, dose), found in zip(columns, intervals, strict=True):
        cell = rows.setdefault((int(layer), str(name), float(dose)), {})
        cell.update(spread_out(quantity, found, len(wide)))
    about = {"side": table.side, "behaviour": table.behaviour, "desirable": table.desirable}
    return pd.DataFrame(
        [
            about | {"layer": layer, "vector": name, "dose": dose} | row
            for (layer, name, dose), row in sorted(rows.items())
        ]
    )


def layer_rows(table: DoseTable, draws: Draws) -> pd.DataFrame:
    """Slope and anti-steerable share of each layer; see ``Steerability.by_layer``."""
    rows = []
    for layer in table.layers:
        slopes = table.slopes[OWN, layer]
        random = [table.slopes[n, layer].mean() for n in table.vectors if n != OWN]
        reach = null_range(np.array(random, dtype=np.float64), symmetric=True) or (np.nan, np.nan)
        interval, _ = _mean(slopes, table.groups, draws)
        anti = wilson(int((slopes < 0).sum()), len(slopes), level=draws.level)
        rows.append(
            {
                "side": table.side,
                "behaviour": table.behaviour,
                "desirable": table.desirable,
                "layer": layer,
                "slope": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "anti": anti.estimate,
                "anti_low": anti.low,
                "anti_high": anti.high,
                "null_low": reach[0],
                "null_high": reach[1],
            }
        )
    return pd.DataFrame(rows)


def statement_slopes(table: DoseTable) -> pd.DataFrame:
    """Slope of each statement at its layer; see ``Steerability.by_statement``."""
    _, slopes = _chosen(table, OWN)
    return pd.DataFrame(
        {
            "side": table.side,
            "behaviour": table.behaviour,
            "desirable": table.desirable,
            "measure": "vector slope",
            "statement_id": table.statements,
            "group": table.groups,
            "value": slopes,
        }
    )


def _mean(
    slopes: Float[np.ndarray, " statement"],
    groups: Shaped[np.ndarray, " statement"],
    draws: Draws,
) -> tuple[Interval, float]:
    column = slopes[:, None]
    (interval,) = cluster_bootstrap_columns(
        column, groups, rng=draws.rng, n_resamples=draws.n_boot, level=draws.level
    )
    p = sign_flip_columns(column, groups, rng=draws.rng, n_permutations=draws.n_perm)
    return interval, float(p[0])


def _halves(
    groups: Shaped[np.ndarray, " statement"], rng: np.random.Generator
) -> Shaped[np.ndarray, " statement"]:
    """Half of each statement, 0 or 1; a group lies in one."""
    names, index = np.unique(groups, return_inverse=True)
    return np.asarray((rng.permutation(len(names)) % 2)[index])


def _chosen(table: DoseTable, name: str) -> tuple[tuple[int, ...], Float[np.ndarray, " statement"]]:
    """Slopes of a vector, each half's at the layer at which the other half's mean is largest."""
    half = table.half
    slopes, layers = np.empty(len(half)), []
    for own in sorted(set(half.tolist())):
        others = half != own if (half != own).any() else half == own
        layer = max(table.layers, key=lambda at: table.slopes[name, at][others].mean())
        slopes[half == own] = table.slopes[name, layer][half == own]
        layers.append(layer)
    return tuple(layers), slopes
