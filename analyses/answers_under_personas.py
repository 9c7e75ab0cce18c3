"""Do personas move the hidden answer, or only the gate behind which it is kept?"""

from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Float

from lens_personas.statistics import Interval, paired_bootstrap

ARM_COLUMNS: Final = ("group", "treatment", "prompt_id", "unit", "lens", "layer", "log_prob")
"""Columns of readings: one row a request, persona drawn from a group, lens and layer, with the
log-probability (nats) of the first token of the request's known answer. ``unit`` is what requests
with one answer share; ``treatment`` is ``baseline`` and ``group`` ``none`` for the request
alone."""

GROUP_COLUMNS: Final = (
    "group",
    "treatment",
    "lens",
    "layer",
    "n",
    "log_prob",
    "change",
    "change_low",
    "change_high",
    "against_control",
    "against_control_low",
    "against_control_high",
)
"""Columns of the result: one row a group, treatment, lens and layer. ``n`` requests; mean
``log_prob`` in nats; ``change`` against the request alone; ``against_control``, the change less
that under the control persona (NaN for the control itself, and where it was not read). Both with
95 % bootstrap intervals over units."""

_RESAMPLES = 500


def answers_under_personas(arms: pd.DataFrame, *, rng: np.random.Generator) -> pd.DataFrame:
    """What each group of personas does to the known answer, at every lens and layer.

    An effect at the output alone is one on the gate; one at the layers where the answer is read
    is on the answer. Several personas drawn from a group for one request, and requests with one
    answer, count once.

    Args:
        arms: Columns :data:`ARM_COLUMNS`, the baseline of every request among the rows.
        rng: Source of every draw.

    Returns:
        Columns :data:`GROUP_COLUMNS`.

    Raises:
        ValueError: If columns or the baseline are missing.
    """
    missing = [name for name in ARM_COLUMNS if name not in arms.columns]
    if missing or not (arms["treatment"] == "baseline").any():
        raise ValueError(
            f"expected columns {ARM_COLUMNS} with rows of the baseline, missing: "
            f"{missing or 'the baseline'}"
        )
    cells = ["treatment", "group", "lens", "layer"]
    # Of several personas drawn for a request first, so that each request counts once in its unit.
    requests = arms.groupby([*cells, "unit", "prompt_id"])["log_prob"].mean()
    units = requests.groupby([*cells, "unit"]).mean().unstack("unit")
    n = requests.groupby(cells).size()
    keys = [(str(k[0]), str(k[1]), str(k[2]), int(k[3])) for k in units.index.to_list()]
    by_cell = dict(zip(keys, units.to_numpy(np.float64), strict=True))
    alone = {key[2:]: values for key, values in by_cell.items() if key[0] == "baseline"}
    rows: list[dict[str, object]] = []
    for key, values in by_cell.items():
        treatment, group = key[:2]
        if treatment == "baseline":
            continue
        control = by_cell.get((treatment, "control", key[2], key[3]))
        beside = None if group == "control" else control
        against = np.empty(0) if beside is None else values - beside
        rows.append(
            {
                "treatment": treatment,
                "group": group,
                "lens": key[2],
                "layer": key[3],
                "n": int(n[key]),
                "log_prob": float(np.nanmean(values)),
                **_spread("change", _mean(values - alone[key[2:]], rng)),
                **_spread("against_control", _mean(against, rng)),
            }
        )
    return pd.DataFrame(rows, columns=list(GROUP_COLUMNS))


def _mean(values: Float[np.ndarray, " unit"], rng: np.random.Generator) -> Interval:
    return paired_bootstrap(values[~np.isnan(values)], rng=rng, n_resamples=_RESAMPLES)


def _spread(name: str, interval: Interval) -> dict[str, float]:
    return {
        name: interval.estimate,
        f"{name}_low": interval.low,
        f"{name}_high": interval.high,
    }
