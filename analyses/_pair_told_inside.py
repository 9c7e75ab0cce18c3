"""What states inside tell apart, and how far sentences diverge, in words and tables."""

import math
from typing import Final

import pandas as pd

from analyses._pair_words import counted
from analyses._sentence_divergence_types import LengthForecast, SentenceBeta, SentenceDivergence
from analyses._shown import ShownTable, Told
from analyses._words import MISSING, number, p_value, span, with_interval
from analyses.internal_distinguishability import InternalDistinguishability
from lens_personas.statistics import Interval

REFERENCE_NAMES: Final = {
    "prompt": "persona prompt",
    "vector": "steering vector",
    "tuned_on": "tuned on sentences",
    "filler": "neutral prompt",
}
"""What stands for the misaligned voice."""
_SHORT: Final = {"prompt": "prompt", "vector": "vector", "tuned_on": "tuned", "filler": "neutral"}


def tell_internal(found: InternalDistinguishability) -> Told:
    """Internal distinguishability in words."""
    return Told(answer=_internal_answer(found), tables=(_peaks(found),))


def tell_divergence(found: SentenceDivergence) -> Told:
    """Divergence of sentences in words."""
    tables = (_betas(found), _lengths(found))
    return Told(
        answer=_divergence_answer(found),
        tables=tuple(table for table in tables if table.rows),
        limits=_beta_limits(found),
    )


def _internal_answer(found: InternalDistinguishability) -> str:
    peaks = found.peaks
    said = "; ".join(
        f"{int(rows['found'].sum())} of {len(rows)} in the {side} model"
        for side, rows in peaks.groupby("side", sort=False)
    )
    shift, test = found.shift, found.shift_test
    compared = (
        ""
        if shift is None or test is None
        else f" Averaged over layers, the probe's AUROC changes by {with_interval(shift)} from the "
        f"base to the tuned model ({test.up} up, {test.down} down, Wilcoxon p {p_value(test.p)})."
    )
    return (
        "A linear probe tells the halves apart on statements that it was not fitted to, at some "
        "layer, beyond labels dealt anew and over all layers and behaviours corrected: for "
        f"{said}.{compared}"
    )


def _peaks(found: InternalDistinguishability) -> ShownTable:
    rows = found.peaks.sort_values(["behaviour", "side"], kind="stable")
    return ShownTable(
        title="Where a probe tells the halves apart best, by behaviour",
        columns=(
            "Behaviour",
            "Model",
            "n",
            "Layer",
            "AUROC",
            "Null",
            "p, BH",
            "d′",
            "Mean AUROC",
            "From layer",
        ),
        rows=tuple(_peak(row) for _, row in rows.iterrows()),
        note="Null: what the best layer exceeds in 5 % of labels dealt anew. The best of many "
        "layers is too high by choice; the mean over layers is not. From layer: the lowest at "
        "which the halves are told apart.",
    )


def _peak(row: pd.Series) -> tuple[str, ...]:
    first = int(row["first_layer"])
    return (
        str(row["behaviour"]),
        str(row["side"]),
        str(int(row["n"])),
        str(int(row["layer"])),
        f"{number(row['auroc'])} {span(row['auroc_low'], row['auroc_high'])}",
        number(row["null_auroc_95"]),
        p_value(row["p_bh"]),
        f"{number(row['d_prime'], signed=True)} {span(row['d_prime_low'], row['d_prime_high'])}",
        number(row["auroc_mean"]),
        MISSING if first < 0 else str(first),
    )


def _divergence_answer(found: SentenceDivergence) -> str:
    said = []
    for side in dict.fromkeys(row.side for row in found.rows):
        for reference in dict.fromkeys(row.reference for row in found.rows if row.side == side):
            rows = [r for r in found.rows if (r.side, r.reference) == (side, reference)]
            mean = sum(row.beta.estimate for row in rows) / len(rows)
            said.append(
                f"{number(mean)} in the {side} model ({REFERENCE_NAMES[reference]}"
                f"{_beyond_null(rows)})"
            )
    forecasts = " ".join(_forecast(each) for each in found.forecasts)
    return (
        "Mean divergence of the misaligned voice, nats a sentence over behaviours: "
        f"{'; '.join(said)}. {forecasts}"
    ).rstrip()


def _beyond_null(rows: list[SentenceBeta]) -> str:
    held = [row for row in rows if row.beyond_null is not None]
    if not held:
        return ""
    beyond = sum(
        row.beyond_null is not None
        and row.beyond_null.estimate > 0
        and row.p_null_bh < 1 - row.beta.level
        for row in held
    )
    return f", beyond a neutral prompt for {beyond} of {len(held)}"


def _forecast(each: LengthForecast) -> str:
    rho = each.correlation
    together = (
        "too few different lengths for a correlation"
        if math.isnan(rho.estimate)
        else f"rank correlation {number(rho.estimate, signed=True)} {span(rho.low, rho.high)}, "
        f"p {p_value(rho.p)}"
    )
    return (
        f"In the {each.side} model half of the answers become misaligned for {each.n_reached} of "
        f"{counted(each.n_behaviours, 'behaviour')}; predicted and observed length: {together} "
        f"({REFERENCE_NAMES[each.reference]})."
    )


def _betas(found: SentenceDivergence) -> ShownTable:
    return ShownTable(
        title="β by behaviour, nats a sentence",
        columns=(
            "Behaviour",
            "Model",
            "Reference",
            "Prefixes",
            "β",
            "First token",
            "Exact",
            "Less null",
            "p, BH",
            "Slope",
        ),
        rows=tuple(
            (
                row.behaviour,
                row.side,
                _SHORT[row.reference],
                str(row.n_prefixes),
                with_interval(row.beta, signed=False),
                with_interval(row.beta_first, signed=False),
                number(row.first_exact),
                _maybe(row.beyond_null),
                MISSING if row.beyond_null is None else p_value(row.p_null_bh),
                with_interval(row.slope),
            )
            for row in _in_rows(found)
        ),
        note="The first token is kept and shown alone, beside its exact value. Null: a prompt of "
        "neutral sentences in place of the misaligned one. Slope: change of the divergence with a "
        "further sentence.",
    )


def _lengths(found: SentenceDivergence) -> ShownTable:
    return ShownTable(
        title="Predicted and observed misaligning length, sentences",
        columns=("Behaviour", "Model", "Reference", "α", "Predicted", "Observed"),
        rows=tuple(
            (
                row.behaviour,
                row.side,
                _SHORT[row.reference],
                number(row.alpha),
                _sentences(row.predicted_length),
                _length(row.observed_length),
            )
            for row in _in_rows(found)
            if math.isfinite(row.alpha)
        ),
        note="Predicted: log(1/α) / β, with α the share of misaligned answers without any prompt. "
        "Observed: the shortest prompt tried with half of the answers misaligned.",
    )


def _in_rows(found: SentenceDivergence) -> list[SentenceBeta]:
    order = list(dict.fromkeys(row.behaviour for row in found.rows))
    return sorted(found.rows, key=lambda row: (row.reference, order.index(row.behaviour), row.side))


def _maybe(interval: Interval | None) -> str:
    return MISSING if interval is None else with_interval(interval)


def _sentences(length: Interval) -> str:
    ends = ", ".join(_length(each) for each in (length.low, length.high))
    return f"{_length(length.estimate)} [{ends}]"


def _length(value: float) -> str:
    if math.isinf(value):
        return "∞"
    return number(value, 1)


def _beta_limits(found: SentenceDivergence) -> tuple[str, ...]:
    few = min((row.n_prefixes for row in found.rows), default=0)
    if not few:
        return ()
    return (
        f"β rests on {counted(few, 'prefix', 'prefixes')} a behaviour, of the sentences at hand: "
        "an interval covers other orders of them, not other behaviours. The misaligned voice is a "
        "stand-in; the theory's own would be a model tuned on misaligned text.",
    )
