"""Tables over doses, lengths and written answers, from what every arm did on every request."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from analyses._parts._dose_response_matches import dose_of
from analyses.dose_response import mean_interval, null_ranges
from lens_personas.statistics import wilson

_RESAMPLES = 500
_ABOUT = ["persona", "group", "kind"]
_LENGTH_COLUMNS = (
    *_ABOUT,
    *("statements", "full", "change", "low", "high", "null_low", "null_high"),
    *("tokens", "kl", "equal_dose"),
)


def by_dose_table(steered: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Means by vector and dose; see :class:`analyses.dose_response.DoseResponse`."""
    ranges = null_ranges(steered[steered["harmful"]], "dose")
    rows = []
    for keys, here in steered.groupby([*_ABOUT, "dose"], sort=False):
        kl = mean_interval(_of(here, "kl", harmful=False), rng, n_resamples=_RESAMPLES)
        rows.append(
            dict[str, Any](zip([*_ABOUT, "dose"], keys, strict=True))
            | _change(here, ranges.get(float(str(keys[-1]))), rng)
            | {"kl": kl.estimate, "kl_low": kl.low, "kl_high": kl.high}
        )
    return pd.DataFrame(rows).sort_values("dose", kind="stable", ignore_index=True)


def by_length_table(
    said: pd.DataFrame, steered: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """Means by text and length; see :class:`analyses.dose_response.DoseResponse`."""
    if said.empty:
        return pd.DataFrame(columns=list(_LENGTH_COLUMNS))
    ranges = null_ranges(said[said["harmful"]], "statements")
    added = steered[steered["harmful"] & (steered["dose"] > 0)]
    curves = added.groupby(["persona", "dose"])["change"].mean()
    keys = [*_ABOUT, "statements", "full"]
    rows = []
    for names, here in said.groupby(keys, sort=False):
        row = dict[str, Any](zip(keys, names, strict=True)) | _change(
            here, ranges.get(float(str(names[3]))), rng
        )
        rows.append(
            row
            | {
                "tokens": float(here.loc[here["harmful"], "tokens"].mean()),
                "kl": float(here.loc[~here["harmful"], "kl"].mean()),
                "equal_dose": _equal(curves, str(names[0]), float(row["change"])),
            }
        )
    return pd.DataFrame(rows).sort_values("statements", kind="stable", ignore_index=True)


def written_table(written: pd.DataFrame) -> pd.DataFrame:
    """Shares by sampled arm, dose and kind of request; see the result's ``written``."""
    keys = [*_ABOUT, "treatment", "dose", "harmful"]
    rows = []
    for names, here in written.groupby(keys, sort=False):
        n = len(here)
        answered = wilson(int((here["label"] == "answer").sum()), n)
        known = here["known"].dropna().astype(float)
        rows.append(
            dict[str, Any](zip(keys, names, strict=True))
            | {
                "n": n,
                "answered": answered.estimate,
                "low": answered.low,
                "high": answered.high,
                "degenerate": float((here["label"] == "degenerate").mean()),
                "known": float(known.mean()) if len(known) else np.nan,
                "perplexity": float(here["perplexity"].median()),
                "empty": float(here["perplexity"].isna().mean()),
            }
        )
    return pd.DataFrame(rows)


def request_table(steered: pd.DataFrame, said: pd.DataFrame) -> pd.DataFrame:
    """What every arm did on every request; see the result's ``by_request``."""
    kept = ["persona", "kind", "treatment", "dose", "statements", "prompt_id", "harmful"]
    both = pd.concat(
        [
            steered.assign(treatment="dose", statements=np.nan),
            said.assign(treatment="prompt", dose=np.nan),
        ],
        ignore_index=True,
    )
    return both[[*kept, "change", "kl"]]


def _change(
    here: pd.DataFrame, bounds: tuple[float, float] | None, rng: np.random.Generator
) -> dict[str, Any]:
    mean = mean_interval(_of(here, "change", harmful=True), rng, n_resamples=_RESAMPLES)
    low, high = bounds or (np.nan, np.nan)
    return {
        "change": mean.estimate,
        "low": mean.low,
        "high": mean.high,
        "null_low": low,
        "null_high": high,
    }


def _of(here: pd.DataFrame, column: str, *, harmful: bool) -> Float[np.ndarray, " prompt"]:
    return here.loc[here["harmful"] == harmful, column].to_numpy(np.float64)


def _equal(curves: pd.Series, persona: str, change: float) -> float:
    """Dose of the added vector that does as much; NaN beyond the doses tried."""
    if persona not in curves.index.get_level_values("persona") or not np.isfinite(change):
        return float("nan")
    curve = curves[persona]
    doses = [float(dose) for dose in curve.index]
    (found,) = dose_of(np.array([change]), curve.to_numpy(float)[None], doses)
    return float(found) if np.isfinite(found) else float("nan")
