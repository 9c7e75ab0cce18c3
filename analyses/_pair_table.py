"""One table of the numbers of a study of two models, for a paper."""

import pandas as pd

from analyses.shift import Shift
from analyses.steerability import ArmCurve, VectorCurve
from lens_personas.statistics import Interval

COLUMNS = ("part", "side", "behaviour", "measure", "n", "estimate", "low", "high", "p", "p_bh")
"""Columns: estimates with their intervals; p uncorrected, and after Benjamini and Hochberg."""


def pair_table(result: Shift) -> pd.DataFrame:
    """Every measure of every behaviour and model; columns :data:`COLUMNS`."""
    tables = [_apart(result), _inside(result), _diverged(result), _steered(result), _shifts(result)]
    whole = [table.reindex(columns=list(COLUMNS)) for table in tables if len(table)]
    if not whole:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.concat([table.astype(object) for table in whole], ignore_index=True)


def _apart(result: Shift) -> pd.DataFrame:
    found = result.distinguishability
    if found is None:
        return pd.DataFrame()
    table = found.table.rename(columns={"metric": "measure"})
    n = table["n_aligned"] + table["n_misaligned"]
    return table.assign(part="distinguishability", n=n)


def _inside(result: Shift) -> pd.DataFrame:
    found = result.internal
    if found is None:
        return pd.DataFrame()
    peaks = found.peaks.rename(
        columns={"auroc": "estimate", "auroc_low": "low", "auroc_high": "high"}
    )
    measure = [f"probe AUROC at layer {layer}" for layer in peaks["layer"]]
    return peaks.assign(part="internal", measure=measure)


def _diverged(result: Shift) -> pd.DataFrame:
    found = result.divergence
    if found is None:
        return pd.DataFrame()
    return pd.DataFrame(
        {
            "part": "divergence",
            "side": row.side,
            "behaviour": row.behaviour,
            "measure": f"beta ({row.reference})",
            "n": row.n_prefixes,
            "estimate": row.beta.estimate,
            "low": row.beta.low,
            "high": row.beta.high,
            "p": row.p_null,
            "p_bh": row.p_null_bh,
        }
        for row in found.rows
    )


def _steered(result: Shift) -> pd.DataFrame:
    found = result.steerability
    if found is None:
        return pd.DataFrame()
    curves: list[tuple[str, Interval, ArmCurve | VectorCurve]] = [
        (f"prompt trend ({curve.arm})", curve.trend, curve) for curve in found.prompts
    ]
    curves += [("vector slope", curve.slope, curve) for curve in found.vectors]
    return pd.DataFrame(
        {
            "part": "steerability",
            "side": curve.side,
            "behaviour": curve.behaviour,
            "measure": measure,
            "n": curve.n,
            "estimate": value.estimate,
            "low": value.low,
            "high": value.high,
            "p": curve.p,
            "p_bh": curve.p_bh,
        }
        for measure, value, curve in curves
    )


def _shifts(result: Shift) -> pd.DataFrame:
    found = result.comparison
    if found is None:
        return pd.DataFrame()
    return pd.DataFrame(
        {
            "part": "comparison",
            "side": "tuned less base",
            "behaviour": "",
            "measure": shift.measure,
            "n": shift.n,
            "estimate": shift.difference.estimate,
            "low": shift.difference.low,
            "high": shift.difference.high,
            "p": shift.test.p,
            "p_bh": shift.p_bh,
        }
        for shift in found.shifts
    )
