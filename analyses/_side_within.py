"""Each behaviour in the base model and the tuned one, paired by statement."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd

from analyses._side_shift import BASE, TUNED, Tests
from analyses._side_shift_types import BehaviourShift
from lens_personas.statistics import TwoSampleMetric, adjust, sign_flip_columns, swap_sides

PAIRED_METRICS: Final[tuple[TwoSampleMetric, ...]] = (
    "auroc",
    "d_prime",
    "wasserstein",
    "scale_free_wasserstein",
)
"""Distances whose change is tested in each behaviour."""


def score_shifts(scores: pd.DataFrame, tests: Tests) -> list[BehaviourShift]:
    """Change of the distance between the two halves' log-odds, by behaviour."""
    found = []
    for behaviour, rows in scores.groupby("behaviour", sort=False):
        # The mean over both orders of the answers.
        wide = rows.pivot_table(index="statement_id", columns="side", values="log_odds", sort=False)
        if not {BASE, TUNED} <= set(wide.columns):
            continue
        wide = wide.dropna(subset=[BASE, TUNED])
        about = rows.drop_duplicates("statement_id").set_index("statement_id").loc[wide.index]
        groups = about["group"].to_numpy(dtype=str)
        swapped = swap_sides(
            wide[BASE].to_numpy(np.float64),
            wide[TUNED].to_numpy(np.float64),
            about["aligned"].to_numpy(dtype=bool),
            groups,
            rng=tests.rng,
            metrics=PAIRED_METRICS,
            n_permutations=tests.n_perm,
        )
        found += [
            BehaviourShift(
                behaviour=str(behaviour),
                desirable=bool(rows["desirable"].iloc[0]),
                measure=each.metric,
                n=len(wide),
                n_groups=len(set(groups)),
                base=each.before,
                tuned=each.after,
                difference=each.after - each.before,
                p=each.p,
                p_bh=each.p,
            )
            for each in swapped
        ]
    return found


def trend_shifts(by_statement: pd.DataFrame, tests: Tests) -> list[BehaviourShift]:
    """Change of the mean trend or slope over statements, by behaviour and measure."""
    found = []
    for (measure, behaviour), rows in by_statement.groupby(["measure", "behaviour"], sort=False):
        wide = rows.pivot_table(index="statement_id", columns="side", values="value", sort=False)
        if not {BASE, TUNED} <= set(wide.columns):
            continue
        wide = wide.dropna(subset=[BASE, TUNED])
        if not len(wide):
            continue
        about = rows.drop_duplicates("statement_id").set_index("statement_id").loc[wide.index]
        groups = about["group"].to_numpy(dtype=str)
        gaps = (wide[TUNED] - wide[BASE]).to_numpy(np.float64)
        p = sign_flip_columns(gaps[:, None], groups, rng=tests.rng, n_permutations=tests.n_perm)
        found.append(
            BehaviourShift(
                behaviour=str(behaviour),
                desirable=bool(rows["desirable"].iloc[0]),
                measure=str(measure),
                n=len(wide),
                n_groups=len(set(groups)),
                base=float(wide[BASE].mean()),
                tuned=float(wide[TUNED].mean()),
                difference=float(gaps.mean()),
                p=float(p[0]),
                p_bh=float(p[0]),
            )
        )
    return found


def corrected_shifts(shifts: Sequence[BehaviourShift]) -> tuple[BehaviourShift, ...]:
    """The shifts with p corrected over behaviours, each measure by itself."""
    found = list(shifts)
    for measure in dict.fromkeys(each.measure for each in shifts):
        rows = [at for at, each in enumerate(shifts) if each.measure == measure]
        p_bh = adjust(np.array([shifts[at].p for at in rows], dtype=np.float64), method="bh")
        for at, p in zip(rows, p_bh.tolist(), strict=True):
            found[at] = replace(shifts[at], p_bh=p)
    return tuple(found)
