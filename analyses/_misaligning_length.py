"""How many misaligned sentences should misalign a model, and how many do."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import expit

from analyses._sentence_divergence_types import LengthForecast, SentenceBeta
from lens_personas.statistics import Interval, correlation


def predicted_length(alpha: float, beta: Interval) -> Interval:
    """``log(1/α)/β``, 0 where α is one half or more; β's bounds swap their places."""
    if not 0.0 < alpha < 1.0:
        none = np.inf if alpha == 0.0 else np.nan
        return Interval(estimate=none, low=np.nan, high=np.nan, level=beta.level)
    needed = -float(np.log(alpha)) if alpha < 0.5 else 0.0

    def sentences(nats: float) -> float:
        if np.isnan(nats) or needed == 0.0:
            return needed if needed == 0.0 else np.nan
        return needed / nats if nats > 0.0 else np.inf

    return Interval(
        estimate=sentences(beta.estimate),
        low=sentences(beta.high),
        high=sentences(beta.low),
        level=beta.level,
    )


def observed_lengths(lengths: pd.DataFrame | None) -> dict[tuple[str, str], tuple[float, float]]:
    """α and the observed misaligning length, by side and behaviour."""
    if lengths is None or lengths.empty:
        return {}
    ours = lengths[lengths["arm"].isin(["misaligned", "none"])]
    towards = np.where(ours["aligned"], -1.0, 1.0)
    table = ours.assign(share=expit(ours["log_odds"].to_numpy(np.float64) * towards))
    means = table.groupby(["side", "behaviour", "n_sentences"])["share"].mean().reset_index()
    return {
        (str(side), str(behaviour)): _reached(rows)
        for (side, behaviour), rows in means.groupby(["side", "behaviour"])
    }


def _reached(rows: pd.DataFrame) -> tuple[float, float]:
    alone = rows.loc[rows["n_sentences"] == 0, "share"]
    enough = rows.loc[rows["share"] >= 0.5, "n_sentences"]
    alpha = float(alone.iloc[0]) if len(alone) else np.nan
    return alpha, float(enough.min()) if len(enough) else np.inf


def forecasts(rows: Sequence[SentenceBeta], rng: np.random.Generator) -> tuple[LengthForecast, ...]:
    """Predicted beside observed lengths, by side and reference; none without length curves."""
    known = [row for row in rows if not np.isnan(row.observed_length)]
    found = []
    for family in dict.fromkeys((row.side, row.reference) for row in known):
        side, reference = family
        members = [row for row in known if (row.side, row.reference) == family]
        pairs = [(row.predicted_length.estimate, row.observed_length) for row in members]
        reached = [pair for pair in pairs if np.isfinite(pair).all() and pair[1] > 0]
        predicted, observed = np.array(reached, dtype=np.float64).reshape(-1, 2).T
        found.append(
            LengthForecast(
                side=side,
                reference=reference,
                n_reached=len(reached),
                n_behaviours=len(members),
                correlation=correlation(predicted, observed, rng=rng, method="spearman"),
            )
        )
    return tuple(found)
