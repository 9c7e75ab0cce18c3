"""From answers by statement and length to one curve an arm, beside the filler's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped

from analyses._length_grid import ALONE, FILLER, QUANTITIES, LengthGrid
from analyses._steerability_types import ArmCurve
from lens_personas.statistics import (
    Interval,
    SteeringTarget,
    adjust,
    cluster_bootstrap_columns,
    logistic_curve,
    sign_flip_columns,
    steerability_index,
    wilson,
)

_TARGETS: Final[Mapping[str, SteeringTarget]] = {"misaligned": "up", "aligned": "down"}
"""Where an arm is meant to lead the share of misaligned answers."""


@dataclass(frozen=True, kw_only=True)
class Draws:
    """How chance is drawn."""

    rng: np.random.Generator
    """Source of every draw."""
    level: float
    """Confidence level."""
    n_boot: int
    """Bootstrap resamples."""
    n_perm: int
    """Permutations."""


def arm_curves(grid: LengthGrid, draws: Draws) -> list[ArmCurve]:
    """The curve of each arm of one model and behaviour; ``p_bh`` is not yet set."""
    columns = [_by_statement(grid, arm) for arm in grid.arms]
    flat = np.concatenate([np.stack(list(each.values()), axis=1) for each in columns], axis=1)
    intervals = iter(
        cluster_bootstrap_columns(
            flat, grid.groups, rng=draws.rng, n_resamples=draws.n_boot, level=draws.level
        )
    )
    p_values = iter(
        sign_flip_columns(flat, grid.groups, rng=draws.rng, n_permutations=draws.n_perm).tolist()
    )
    curves = []
    for arm, values in zip(grid.arms, columns, strict=True):
        found = {name: next(intervals) for name in values}
        p = {name: next(p_values) for name in values}
        curves.append(_curve(grid, arm, found, p, draws))
    return curves


def corrected(curves: Sequence[ArmCurve]) -> tuple[ArmCurve, ...]:
    """The curves with p corrected over models and behaviours, each arm by itself."""
    found = list(curves)
    for arm in dict.fromkeys(curve.arm for curve in curves):
        rows = [row for row, curve in enumerate(curves) if curve.arm == arm]
        p_bh = adjust(np.array([curves[row].p for row in rows], dtype=np.float64), method="bh")
        for row, p in zip(rows, p_bh.tolist(), strict=True):
            found[row] = replace(curves[row], p_bh=p)
    return tuple(found)


def length_rows(grid: LengthGrid, draws: Draws) -> pd.DataFrame:
    """Means of one model and behaviour by arm and length; see ``Steerability.by_length``."""
    net = np.stack([_net(grid, column) for column in range(len(grid.columns))], axis=1)
    values = {**grid.values, "net": net}
    intervals = cluster_bootstrap_columns(
        np.concatenate(list(values.values()), axis=1),
        grid.groups,
        rng=draws.rng,
        n_resamples=draws.n_boot,
        level=draws.level,
    )
    k = len(grid.columns)
    rows = []
    for at, (arm, n_sentences) in enumerate(grid.columns):
        spread = _assembly_means(grid, at)
        row = {
            "side": grid.side,
            "behaviour": grid.behaviour,
            "desirable": grid.desirable,
            "arm": arm,
            "n_sentences": n_sentences,
            "n_tokens": grid.tokens[at],
            "n": int(np.isfinite(grid.values["propensity"][:, at]).sum()),
            "n_assemblies": max(len(spread), 1),
            "assembly_sd": float(spread.std(ddof=1)) if len(spread) > 1 else np.nan,
            "mass": grid.mass[at],
        }
        for number, name in enumerate(values):
            row |= spread_out(name, intervals[number * k + at], row["n"])
        rows.append(row)
    return pd.DataFrame(rows)


def pooled_rows(by_length: pd.DataFrame, draws: Draws) -> pd.DataFrame:
    """The same over behaviours, resampled; see ``Steerability.pooled``."""
    found: list[dict[str, object]] = []
    if not len(by_length):
        return pd.DataFrame()
    sets = {
        "all": by_length,
        "yes": by_length[by_length["desirable"]],
        "no": by_length[~by_length["desirable"]],
    }
    names = [*QUANTITIES, "net"]
    for desirable, part in sets.items():
        for (side, arm, n), rows in part.groupby(["side", "arm", "n_sentences"], sort=False):
            intervals = cluster_bootstrap_columns(
                rows[names].to_numpy(np.float64),
                rows["behaviour"].to_numpy(dtype=str),
                rng=draws.rng,
                n_resamples=draws.n_boot,
                level=draws.level,
            )
            row = {"side": side, "desirable": desirable, "arm": arm, "n_sentences": n}
            row["n_behaviours"] = len(rows)
            for name, interval in zip(names, intervals, strict=True):
                row |= spread_out(name, interval, len(rows))
            found.append(row)
    return pd.DataFrame(found)


def statement_trends(grid: LengthGrid) -> pd.DataFrame:
    """Trend of each statement under misaligned prompts; see ``Steerability.by_statement``."""
    if "misaligned" not in grid.arms:
        return pd.DataFrame()
    values = _by_statement(grid, "misaligned")
    measures = {"prompt trend": "trend", "net prompt trend": "net_trend"}
    parts = [
        pd.DataFrame(
            {
                "side": grid.side,
                "behaviour": grid.behaviour,
                "desirable": grid.desirable,
                "measure": measure,
                "statement_id": grid.statements,
                "group": grid.groups,
                "value": values[key],
            }
        )
        for measure, key in measures.items()
        if key in values
    ]
    return pd.concat(parts, ignore_index=True).dropna(subset="value")


def slopes_over(
    values: Float[np.ndarray, "row level"], levels: Sequence[float | int]
) -> Float[np.ndarray, " row"]:
    """Least-squares slope of each row; NaN with one level, or where a value is missing."""
    centred = np.array(levels, dtype=np.float64) - np.mean(levels)
    if len(levels) < 2:
        return np.full(len(values), np.nan)
    return np.asarray(values @ (centred / (centred**2).sum()))


def _by_statement(grid: LengthGrid, arm: str) -> dict[str, Float[np.ndarray, " statement"]]:
    """What is averaged over statements into a curve."""
    lengths = grid.lengths(arm)
    values = grid.of("propensity", arm, lengths)
    change = values[:, -1] - values[:, 0] if lengths[0] == 0 else np.full(len(values), np.nan)
    found = {"trend": slopes_over(values, lengths), "change": change}
    if arm == FILLER or FILLER not in grid.arms:
        return found
    shared = tuple(n for n in lengths if n in grid.lengths(FILLER))
    net = grid.of("propensity", arm, shared) - grid.of("propensity", FILLER, shared)
    longest = net[:, -1] if shared and shared[-1] > 0 else np.full(len(values), np.nan)
    return {**found, "net_trend": slopes_over(net, shared), "net_change": longest}


def _curve(
    grid: LengthGrid, arm: str, found: dict[str, Interval], p: dict[str, float], draws: Draws
) -> ArmCurve:
    lengths = grid.lengths(arm)
    probability = grid.of("probability", arm, lengths)
    whole = np.isfinite(probability).all(axis=1)
    groups = grid.groups[whole]
    fit = logistic_curve(
        np.tile(np.array(lengths, dtype=np.float64), len(groups)),
        probability[whole].ravel(),
        np.repeat(groups, len(lengths)),
        level=draws.level,
    )
    by_assembly = grid.assembly_means(arm, lengths)
    by_column = [_assembly_means(grid, at) for at, (name, _) in enumerate(grid.columns)
                 if name == arm]  # fmt: skip
    tested = p.get("net_trend", p["trend"])
    return ArmCurve(
        side=grid.side,
        behaviour=grid.behaviour,
        desirable=grid.desirable,
        arm=arm,
        n=int(whole.sum()),
        n_groups=len(set(groups)),
        n_assemblies=min(len(each) for each in by_column),
        lengths=lengths,
        slope=fit.slope,
        half_length=fit.half_length,
        trend=found["trend"],
        net_trend=found.get("net_trend"),
        p=tested,
        p_bh=tested,
        change=found["change"],
        net_change=found.get("net_change"),
        not_fitted=fit.reason,
        index=_index(arm, probability[whole], groups, lengths, draws),
        trend_by_assembly=tuple(slopes_over(by_assembly, lengths).tolist()),
    )


def _index(
    arm: str,
    probability: Float[np.ndarray, "row len"],
    groups: Shaped[np.ndarray, " row"],
    lengths: tuple[int, ...],
    draws: Draws,
) -> Interval:
    if arm not in _TARGETS or lengths[0] != 0 or not len(groups):
        nan = float("nan")
        return Interval(estimate=nan, low=nan, high=nan, level=draws.level)
    return steerability_index(
        probability[:, 0],
        probability[:, -1],
        groups,
        target=_TARGETS[arm],
        rng=draws.rng,
        n_resamples=draws.n_boot,
        level=draws.level,
    )


def _net(grid: LengthGrid, column: int) -> Float[np.ndarray, " statement"]:
    """Propensity less the filler's of that length; missing where there is none."""
    arm, n_sentences = grid.columns[column]
    values = grid.values["propensity"]
    if arm in (FILLER, ALONE) or (FILLER, n_sentences) not in grid.columns:
        return np.full(len(values), np.nan)
    filler = grid.columns.index((FILLER, n_sentences))
    return np.asarray(values[:, column] - values[:, filler])


def _assembly_means(grid: LengthGrid, column: int) -> Float[np.ndarray, " assembly"]:
    if grid.columns[column] not in grid.assemblies.columns:
        return np.empty(0)
    return grid.assemblies[grid.columns[column]].dropna().to_numpy(np.float64)


def spread_out(name: str, interval: Interval, n: int) -> dict[str, float]:
    """An estimate with its bounds as columns; a share of all or none has Wilson's bounds."""
    if name == "share" and interval.estimate in (0.0, 1.0):
        interval = wilson(round(interval.estimate) * n, n, level=interval.level)
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
