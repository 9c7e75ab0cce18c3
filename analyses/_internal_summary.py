"""Probes of many behaviours and two models, layer by layer, summed up."""

from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Float

from lens_personas.statistics import adjust, max_statistic, paired_bootstrap

_CURVES: Final = ("auroc", "d_prime", "answer_auroc")
"""Measures of which the mean over behaviours is taken."""
_SHIFTS: Final = ("auroc", "answer_auroc")
"""Measures in which the sides are compared."""


def peaks_of(table: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """The best layer of every side and behaviour, corrected over the side's behaviours."""
    rows = []
    for (side, behaviour), layers in table.groupby(["side", "behaviour"], sort=False):
        lasting = layers.loc[layers["p"] < alpha, "layer"]
        rows.append(
            {
                **layers.iloc[int(_numbers(layers["auroc"]).argmax())],
                "side": side,
                "behaviour": behaviour,
                "auroc_mean": float(layers["auroc"].mean()),
                "d_prime_mean": float(layers["d_prime"].mean()),
                "first_layer": int(lasting.min()) if len(lasting) else -1,
            }
        )
    peaks = pd.DataFrame(rows).astype({"layer": int, "n": int}).assign(p_bh=1.0)
    for at in peaks.groupby("side").indices.values():
        corrected = adjust(peaks["p"].to_numpy(np.float64)[at], method="bh")
        peaks.loc[peaks.index[at], "p_bh"] = corrected
    return peaks.assign(found=peaks["p_bh"] < alpha)


def curves_of(table: pd.DataFrame, rng: np.random.Generator, level: float) -> pd.DataFrame:
    """Means over behaviours by side and layer, behaviours resampled."""
    rows = []
    for (side, layer), here in table.groupby(["side", "layer"], sort=False):
        row = {"side": side, "layer": layer}
        for name in _CURVES:
            # d' is undefined where a layer's states are all the same.
            mean = paired_bootstrap(_numbers(here[name].dropna()), rng=rng, level=level)
            row |= {name: mean.estimate, f"{name}_low": mean.low, f"{name}_high": mean.high}
        null = float(here["null_auroc_95"].mean())
        rows.append({**row, "null_auroc_95": null, "n_behaviours": len(here)})
    return pd.DataFrame(rows)


def shifts_of(table: pd.DataFrame, rng: np.random.Generator, level: float) -> pd.DataFrame:
    """Tuned less base by measure and layer, p corrected over layers; empty without the same."""
    columns = ["measure", "layer", "shift", "low", "high", "p", "n_behaviours"]
    rows: list[tuple[str, int, float, float, float, float, int]] = []
    layers = [set(here["layer"]) for _, here in table.groupby("side")]
    if len(layers) < 2 or layers[0] != layers[1]:
        return pd.DataFrame(columns=columns)
    for measure in _SHIFTS:
        gaps = tuned_less_base(table, measure, by=["layer"]).unstack("layer").dropna()
        if not len(gaps):
            continue
        p = max_statistic(gaps.to_numpy(np.float64), rng=rng)
        for at, layer in enumerate(gaps.columns):
            mean = paired_bootstrap(_numbers(gaps[layer]), rng=rng, level=level)
            bounds = (mean.estimate, mean.low, mean.high)
            rows.append((measure, int(layer), *bounds, float(p[at]), len(gaps)))
    return pd.DataFrame(rows, columns=columns)


def tuned_less_base(table: pd.DataFrame, value: str, by: list[str] | None = None) -> pd.Series:
    """Difference of the sides by behaviour, and by more columns, of what both have."""
    wide = table.set_index(["behaviour", *(by or []), "side"])[value].unstack("side")
    if not {"base", "tuned"} <= set(wide.columns):
        return pd.Series(dtype=np.float64)
    return (wide["tuned"] - wide["base"]).dropna()


def _numbers(values: pd.Series) -> Float[np.ndarray, " behaviour"]:
    return np.asarray(values.to_numpy(np.float64))
