"""How far does the misaligned voice depart a sentence, and how many would misalign the model?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd

from analyses._misaligning_length import forecasts, observed_lengths, predicted_length
from analyses._sentence_decay import fit_decay, fitted_curve
from analyses._sentence_divergence_types import (
    BETA_COLUMNS,
    BetaShift,
    DecayFit,
    LengthForecast,
    PrefixHalf,
    Reference,
    SentenceBeta,
    SentenceDivergence,
)
from lens_personas.statistics import (
    Interval,
    adjust,
    cluster_bootstrap_columns,
    sign_flip_columns,
)

__all__ = [
    "BETA_COLUMNS",
    "BetaShift",
    "DecayFit",
    "LengthForecast",
    "PrefixHalf",
    "Reference",
    "SentenceBeta",
    "SentenceDivergence",
    "sentence_divergence",
]

_NULL: Reference = "filler"
_About = tuple[str, str, Reference]
_ABOUT = ["side", "behaviour", "reference"]


def sentence_divergence(
    beta: pd.DataFrame,
    lengths: pd.DataFrame | None = None,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    n_boot: int = 2000,
) -> SentenceDivergence:
    """β with intervals by number of sentences, its decay, and the misaligning length it foretells.

    Wolf et al. (https://arxiv.org/abs/2304.11082): where the model holds a misaligned voice P− with
    weight α, and a sentence of P− tells it from P+ by β nats, about ``log(1/α)/β`` such sentences
    misalign it. α is taken to be the share of misaligned answers without any prompt.

    Args:
        beta: One row a side, behaviour, reference, half of the prefix, number of sentences and
            prefix, with the columns of ``BETA_COLUMNS``.
        lengths: Scored statements under persona prompts of several lengths: ``side, behaviour,
            arm, n_sentences, aligned, log_odds`` (Yes over No); None for no observed length.
        rng: Source of every draw.
        level: Confidence level of the intervals.
        n_boot: Bootstrap resamples.

    Raises:
        ValueError: If the table is empty or lacks a column.
    """
    _check(beta)
    tables = {
        cast(_About, about): table
        for about, table in beta.groupby(_ABOUT, sort=False)
        if cast(_About, about)[2] != _NULL
    }
    means = _Means(_measures(beta, tables), rng=rng, level=level, n_boot=n_boot)
    observed = observed_lengths(lengths)
    rows = [
        _row(about, table, means, observed.get(about[:2], (np.nan, np.nan)))
        for about, table in tables.items()
    ]
    rows = _corrected(rows)
    return SentenceDivergence(
        level=level,
        rows=tuple(rows),
        shifts=tuple(_shifts(tables, means)),
        forecasts=forecasts(rows, rng),
        by_length=_by_length(beta, rows, rng=rng, level=level, n_boot=n_boot),
    )


class _Means:
    """Means over prefixes with their intervals and tests, all from one set of draws."""

    def __init__(
        self,
        measures: "Mapping[tuple[Any, ...], pd.Series[float]]",
        *,
        rng: np.random.Generator,
        level: float,
        n_boot: int,
    ) -> None:
        frame = pd.concat(list(measures.values()), axis=1)
        values, prefixes = frame.to_numpy(dtype=np.float64), frame.index.to_numpy()
        intervals = cluster_bootstrap_columns(
            values, prefixes, rng=rng, n_resamples=n_boot, level=level
        )
        p_values = sign_flip_columns(values, prefixes, rng=rng)
        self._intervals = dict(zip(measures, intervals, strict=True))
        self._p_values = dict(zip(measures, p_values.tolist(), strict=True))

    def interval(self, *key: Any) -> Interval:
        return self._intervals[key]

    def known(self, *key: Any) -> Interval | None:
        return self._intervals.get(key)

    def p(self, *key: Any) -> float:
        return float(self._p_values.get(key, 1.0))


def _check(beta: pd.DataFrame) -> None:
    lacking = sorted(set(BETA_COLUMNS) - set(beta.columns))
    if lacking:
        raise ValueError(f"expected the columns {', '.join(BETA_COLUMNS)}, {lacking} are missing")
    if beta.empty:
        raise ValueError("expected at least one row of divergences, got an empty table")
    by = [*_ABOUT, "half_of_prefix", "n_sentences", "prefix"]
    again = beta.duplicated(by)
    if again.any():
        raise ValueError(
            f"expected one row for each {', '.join(by)}, got {int(again.sum())} once more, such as "
            f"{tuple(beta.loc[again, by].iloc[0])}"
        )


def _measures(
    beta: pd.DataFrame, tables: Mapping[_About, pd.DataFrame]
) -> "dict[tuple[Any, ...], pd.Series[float]]":
    """What is averaged over prefixes, by what it is and of what."""
    found: dict[tuple[Any, ...], pd.Series[float]] = {}
    for about, table in tables.items():
        said = _of(table, "misaligned")
        found["beta", *about] = _by_prefix(said, "kl")
        found["first", *about] = _by_prefix(said, "kl_first")
        found["slope", *about] = _slopes(_grid(said))
        neutral = _of(table, "filler")
        null = _of(_null_of(about, beta), "misaligned")
        if len(neutral):
            found["filler", *about] = _by_prefix(neutral, "kl")
            found["beyond filler", *about] = _by_prefix(said, "kl") - _by_prefix(neutral, "kl")
        if len(null):
            found["beyond null", *about] = _by_prefix(said, "kl") - _by_prefix(null, "kl")
    for side, *rest in tables:
        if side == "tuned" and ("beta", "base", *rest) in found:
            change = found["beta", "tuned", *rest] - found["beta", "base", *rest]
            found["shift", *rest] = change
    return found


def _of(table: pd.DataFrame, half: PrefixHalf) -> pd.DataFrame:
    return table[table["half_of_prefix"] == half]


def _by_prefix(table: pd.DataFrame, column: str) -> "pd.Series[float]":
    """Mean over the lengths of each prefix."""
    return cast("pd.Series[float]", table.groupby("prefix")[column].mean())


def _grid(table: pd.DataFrame) -> pd.DataFrame:
    return table.pivot(index="prefix", columns="n_sentences", values="kl")


def _null_of(about: _About, beta: pd.DataFrame) -> pd.DataFrame:
    """Rows of the null reference; none but for prompts."""
    side, behaviour, reference = about
    mine = (beta["side"] == side) & (beta["behaviour"] == behaviour)
    return beta[mine & (beta["reference"] == _NULL) & (reference == "prompt")]


def _slopes(grid: pd.DataFrame) -> "pd.Series[float]":
    """Least-squares slope over the number of sentences, of each prefix; NaN with one length."""
    at = grid.columns.to_numpy(dtype=np.float64)
    away = at - at.mean()
    with np.errstate(invalid="ignore"):
        slopes = grid.to_numpy(dtype=np.float64) @ away / (away**2).sum()
    return pd.Series(slopes, index=grid.index)


def _row(
    about: _About, table: pd.DataFrame, means: _Means, observed: tuple[float, float]
) -> SentenceBeta:
    said = _of(table, "misaligned")
    # The less noisy of the two estimates: few samples bend the curve.
    by_length = said.groupby("n_sentences")["kl_by_token"].mean()
    lengths = tuple(int(n) for n in by_length.index)
    beta, (alpha, length) = means.interval("beta", *about), observed
    return SentenceBeta(
        side=about[0],
        behaviour=about[1],
        reference=about[2],
        n_prefixes=int(said["prefix"].nunique()),
        n_samples=int(table["n_samples"].min()),
        lengths=lengths,
        beta=beta,
        beta_first=means.interval("first", *about),
        first_exact=float(_by_prefix(said, "kl_first_exact").mean()),
        by_token=float(_by_prefix(said, "kl_by_token").mean()),
        filler=means.known("filler", *about),
        beyond_filler=means.known("beyond filler", *about),
        p_filler=means.p("beyond filler", *about),
        beyond_null=means.known("beyond null", *about),
        p_null=means.p("beyond null", *about),
        p_null_bh=1.0,
        slope=means.interval("slope", *about),
        decay=fit_decay(lengths, by_length.to_numpy(dtype=np.float64)),
        alpha=alpha,
        predicted_length=predicted_length(alpha, beta),
        observed_length=length,
    )


def _corrected(rows: Sequence[SentenceBeta]) -> list[SentenceBeta]:
    """The rows with p over behaviours, within a side and reference."""
    families = [(row.side, row.reference) for row in rows]
    adjusted = _adjusted([row.p_null for row in rows], families)
    return [replace(row, p_null_bh=p) for row, p in zip(rows, adjusted, strict=True)]


def _adjusted(p_values: Sequence[float], families: Sequence[object]) -> list[float]:
    """Benjamini and Hochberg within each family."""
    found = np.ones(len(p_values))
    for family in dict.fromkeys(families):
        members = [at for at, each in enumerate(families) if each == family]
        found[members] = adjust(np.array([p_values[at] for at in members]), method="bh")
    return [float(p) for p in found]


def _shifts(tables: Mapping[_About, pd.DataFrame], means: _Means) -> list[BetaShift]:
    found = []
    for (side, behaviour, reference), table in tables.items():
        difference = means.known("shift", behaviour, reference)
        if side != "tuned" or difference is None:
            continue
        found.append(
            BetaShift(
                behaviour=behaviour,
                reference=reference,
                n_prefixes=int(_of(table, "misaligned")["prefix"].nunique()),
                difference=difference,
                p=means.p("shift", behaviour, reference),
                p_bh=1.0,
            )
        )
    adjusted = _adjusted([each.p for each in found], [each.reference for each in found])
    return [replace(each, p_bh=p) for each, p in zip(found, adjusted, strict=True)]


def _by_length(
    beta: pd.DataFrame,
    rows: Sequence[SentenceBeta],
    *,
    rng: np.random.Generator,
    level: float,
    n_boot: int,
) -> pd.DataFrame:
    by = [*_ABOUT, "half_of_prefix", "n_sentences"]
    columns = ["kl_first_exact", "kl_by_token"]
    means = beta.groupby(by, sort=False)[columns].mean()
    sizes = beta.groupby(by, sort=False)["prefix"].nunique()
    found = means.assign(n_prefixes=sizes)
    for column, low, high in (("kl", "low", "high"), ("kl_first", "first_low", "first_high")):
        wide = beta.pivot(index="prefix", columns=by, values=column)[list(means.index)]
        drawn = cluster_bootstrap_columns(
            wide.to_numpy(dtype=np.float64),
            wide.index.to_numpy(),
            rng=rng,
            n_resamples=n_boot,
            level=level,
        )
        found[column] = [each.estimate for each in drawn]
        found[low], found[high] = [each.low for each in drawn], [each.high for each in drawn]
    fits = {(row.side, row.behaviour, row.reference): row.decay for row in rows}
    theory = [_theory(key, fits) for key in cast("list[tuple[Any, ...]]", list(means.index))]
    return found.assign(theory=theory).reset_index()


def _theory(key: tuple[Any, ...], fits: Mapping[_About, DecayFit | None]) -> float:
    *about, half, n = key
    fit = fits.get(cast(_About, tuple(about))) if half == "misaligned" else None
    return float(fitted_curve(fit, np.array([float(n)]))[0])
