"""Prompting beside steering: which dose does as much, and what a dose does that costs no more."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from analyses.dose_response import KL_BOUND, DoseMatch, mean_interval
from lens_personas.statistics import Interval

_RESAMPLES = 1000


def dose_matches(
    steered: pd.DataFrame, said: pd.DataFrame, *, rng: np.random.Generator
) -> tuple[DoseMatch, ...]:
    """Each persona's whole text beside its vector added: at equal effect, at equal side effect.

    Args:
        steered: Changes by vectors, with a column ``kl`` and rows of ``harmful`` False for it.
        said: Changes by texts, the same.
        rng: Source of every draw.
    """
    found = []
    full = said[said["full"].astype(bool) & said["kind"].isin(["persona", "control"])]
    for (persona, statements), rows in full.groupby(["persona", "statements"], sort=False):
        vectors = steered[(steered["persona"] == persona) & (steered["dose"] > 0)]
        fillers = said[(said["kind"] == "filler") & (said["statements"] == statements)]
        text = rows[rows["harmful"]].set_index("prompt_id")["change"]
        curve = vectors[vectors["harmful"]].pivot(
            index="prompt_id", columns="dose", values="change"
        )
        if text.empty or curve.empty:
            continue
        curve, text_kl, bound = curve.loc[text.index], _kl(rows), _largest_kl(fillers)
        dose = _bounded_dose(vectors, np.nanmax([bound, KL_BOUND]))
        bounded = None if dose is None else curve[dose].to_numpy(float)
        said_by = text.to_numpy(float)
        equal, share = _equal_dose(curve, said_by, rng)
        match = DoseMatch(
            persona=str(persona),
            group=str(rows["group"].iloc[0]),
            kind=rows["kind"].iloc[0],
            statements=int(str(statements)),
            n=len(text),
            text=mean_interval(said_by, rng),
            equal_dose=equal,
            in_range=share,
            text_kl=text_kl,
            filler_kl=bound,
            bounded_dose=dose,
            bounded=None if bounded is None else mean_interval(bounded, rng),
            text_less_bounded=None if bounded is None else mean_interval(said_by - bounded, rng),
        )
        found.append(match)
    return tuple(found)


def dose_of(
    targets: Float[np.ndarray, " draw"],
    curves: Float[np.ndarray, "draw dose"],
    doses: Sequence[float],
) -> Float[np.ndarray, " draw"]:
    """Smallest dose at which each curve reaches its target, 0 at dose 0; inf where none does.

    >>> dose_of(np.array([3.0, 9.0]), np.array([[2.0, 4.0], [2.0, 4.0]]), [0.5, 1.0])
    array([0.75,  inf])

    """
    at = np.array([0.0, *doses])
    values = np.concatenate([np.zeros((len(curves), 1)), curves], axis=1)
    gaps = values - targets[:, None]
    crossed = np.signbit(gaps[:, :-1]) != np.signbit(gaps[:, 1:])
    crossed |= (gaps[:, :-1] == 0) | (gaps[:, 1:] == 0)
    first = crossed.argmax(axis=1)
    rows = np.arange(len(curves))
    before, after = gaps[rows, first], gaps[rows, first + 1]
    span = before - after
    share = np.where(span == 0, 0.0, before / np.where(span == 0, 1.0, span))
    reached: Float[np.ndarray, " draw"] = at[first] + share * (at[first + 1] - at[first])
    return np.where(crossed.any(axis=1), reached, np.inf)


def _equal_dose(
    curve: pd.DataFrame, text: Float[np.ndarray, " prompt"], rng: np.random.Generator
) -> tuple[Interval | None, float]:
    """Dose that does as much as the text, and the share of resamples in which one does."""
    changes, n = curve.to_numpy(float), len(text)
    if not (np.isfinite(changes).all() and np.isfinite(text).all()):
        return None, float("nan")
    doses = [float(dose) for dose in curve.columns]
    (estimate,) = dose_of(text.mean(keepdims=True), changes.mean(axis=0, keepdims=True), doses)
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES) / n
    draws = dose_of(drawn @ text, drawn @ changes, doses)
    share = float(np.isfinite(draws).mean())
    if not np.isfinite(estimate):
        return None, share
    # Of the order statistics themselves: a line between a dose and infinity is no number.
    low, high = np.quantile(draws, [0.025, 0.975], method="inverted_cdf")
    low, high = (float(end) if np.isfinite(end) and n > 1 else np.nan for end in (low, high))
    return Interval(estimate=float(estimate), low=low, high=high, level=0.95), share


def _kl(rows: pd.DataFrame) -> float:
    return float(rows.loc[~rows["harmful"], "kl"].mean())


def _largest_kl(fillers: pd.DataFrame) -> float:
    means = fillers[~fillers["harmful"]].groupby("persona")["kl"].mean()
    return float(means.max()) if len(means) else float("nan")


def _bounded_dose(vectors: pd.DataFrame, bound: float) -> float | None:
    """Largest dose up to which the KL on harmless requests stays within the bound."""
    found = None
    for dose, kl in vectors[~vectors["harmful"]].groupby("dose")["kl"].mean().items():
        if not kl <= bound:
            break
        found = float(str(dose))
    return found
