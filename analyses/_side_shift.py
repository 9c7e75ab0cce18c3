"""Measures of the base model and the tuned one over behaviours: shifts and correlations."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Float

from analyses._side_shift_types import MeasureCorrelation, MeasureShift
from lens_personas.statistics import (
    Correlation,
    Interval,
    adjust,
    correlation_matrix,
    minimal_detectable_effect,
    paired_bootstrap,
    wilcoxon,
)

BASE: Final = "base"
TUNED: Final = "tuned"
CHANGE: Final = "change"
"""Tuned less base."""


@dataclass(frozen=True, kw_only=True)
class Tests:
    """How shifts are tested."""

    rng: np.random.Generator
    """Source of every draw."""
    level: float
    """Confidence level."""
    alpha: float
    """Level of the power statement."""
    power: float
    """Its chance of finding the shift."""
    n_boot: int
    """Bootstrap resamples."""
    n_perm: int
    """Permutations."""


def paired_values(measures: pd.DataFrame) -> pd.DataFrame:
    """One row ``behaviour, measure, kind``: ``base, tuned, difference``; NaN where one lacks it."""
    finite = measures[np.isfinite(measures["estimate"].astype(float))]
    wide = finite.pivot_table(
        index=["behaviour", "measure", "kind"], columns="side", values="estimate", sort=False
    ).reindex(columns=[BASE, TUNED])
    table = wide.reset_index().rename_axis(columns=None)
    return table.assign(difference=table[TUNED] - table[BASE])


def measure_shifts(values: pd.DataFrame, tests: Tests) -> tuple[MeasureShift, ...]:
    """Every measure, over the behaviours that have it in both models."""
    found = []
    for (measure, kind), rows in values.groupby(["measure", "kind"], sort=False):
        both = rows.dropna(subset=["difference"])
        if len(both):
            found.append(_shift(str(measure), str(kind), both, tests))
    for kind in dict.fromkeys(each.kind for each in found):
        chosen = [at for at, each in enumerate(found) if each.kind == kind]
        p_bh = adjust(np.array([found[at].test.p for at in chosen]), method="bh")
        for at, p in zip(chosen, p_bh.tolist(), strict=True):
            found[at] = replace(found[at], p_bh=p)
    return tuple(found)


def measure_matrices(
    values: pd.DataFrame, tests: Tests
) -> tuple[pd.DataFrame, dict[str, tuple[tuple[Correlation, ...], ...]]]:
    """Correlation of every measure with every other over behaviours, as a table and by side."""
    names = list(dict.fromkeys(values["measure"]))
    by_side, rows = {}, []
    for side, column in ((BASE, BASE), (TUNED, TUNED), (CHANGE, "difference")):
        wide = values.pivot_table(index="behaviour", columns="measure", values=column, sort=False)
        table = wide.reindex(columns=names).to_numpy(np.float64)
        matrix = correlation_matrix(
            table, rng=tests.rng, n_resamples=tests.n_boot, n_permutations=tests.n_perm
        )
        by_side[side] = matrix
        rows += [
            {
                "side": side,
                "measure": name,
                "other": other,
                "rho": found.estimate,
                "low": found.low,
                "high": found.high,
                "p": found.p,
                "n": found.n,
            }
            for name, line in zip(names, matrix, strict=True)
            for other, found in zip(names, line, strict=True)
        ]
    return pd.DataFrame(rows), by_side


def steering_correlations(
    values: pd.DataFrame, by_side: dict[str, tuple[tuple[Correlation, ...], ...]]
) -> tuple[MeasureCorrelation, ...]:
    """Every measure of steerability with every one of distinguishability."""
    kinds = values.drop_duplicates("measure").set_index("measure")["kind"]
    names = list(kinds.index)
    steering = [at for at, name in enumerate(names) if kinds[name] == "steerability"]
    metrics = [at for at, name in enumerate(names) if kinds[name] == "distinguishability"]
    found: list[MeasureCorrelation] = []
    for side, matrix in by_side.items():
        for row in steering:
            line = [matrix[row][at] for at in metrics]
            p_bh = adjust(np.array([each.p for each in line], dtype=np.float64), method="bh")
            found += [
                MeasureCorrelation(
                    side=side,
                    steerability=names[row],
                    metric=names[at],
                    correlation=each,
                    p_bh=p,
                )
                for at, each, p in zip(metrics, line, p_bh.tolist(), strict=True)
            ]
    return tuple(found)


def _shift(measure: str, kind: str, both: pd.DataFrame, tests: Tests) -> MeasureShift:
    differences = both["difference"].to_numpy(np.float64)
    test = wilcoxon(differences)
    spread = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    detectable = minimal_detectable_effect(
        spread, len(differences), power=tests.power, alpha=tests.alpha
    )
    return MeasureShift(
        measure=measure,
        kind=kind,
        n=len(differences),
        base=float(both[BASE].mean()),
        tuned=float(both[TUNED].mean()),
        difference=_mean(differences, tests),
        test=test,
        p_bh=test.p,
        detectable=detectable,
        detectable_sd=detectable / spread if spread > 0 else float("nan"),
    )


def _mean(differences: Float[np.ndarray, " behaviour"], tests: Tests) -> Interval:
    return paired_bootstrap(differences, rng=tests.rng, n_resamples=tests.n_boot, level=tests.level)


def in_both(values: pd.DataFrame) -> tuple[str, ...]:
    """Behaviours that have some measure in both models."""
    both: Sequence[str] = values.dropna(subset=["difference"])["behaviour"].tolist()
    return tuple(dict.fromkeys(both))
