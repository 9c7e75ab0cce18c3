"""Tables of doses and lengths, worded."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analyses._shown._types import ShownTable
from analyses._words import GROUPS, MISSING, number, percent, span, with_interval
from analyses.dose_response import KL_BOUND, DoseMatch, DoseResponse
from lens_personas.statistics import Interval


def match_table(result: DoseResponse) -> ShownTable:
    """Prompting beside steering, a row a persona."""
    bounds = [match.filler_kl for match in result.matches if np.isfinite(match.filler_kl)]
    fillers = f" (neutral texts: {max(bounds):.2g})" if bounds else ""
    return ShownTable(
        title="Prompting beside steering",
        columns=(
            "persona",
            "statements",
            "text (nats)",
            "dose that does as much",
            "KL of the text",
            "largest harmless dose",
            "vector there (nats)",
            "text less vector",
        ),
        rows=tuple(_match_row(match) for match in _in_order_matches(result.matches)),
        note="Dose of the added vector, residual norms; a dash where none that was tried does as "
        f"much. Harmless is a dose up to which the KL on {result.n_harmless} harmless requests "
        f"stays within {KL_BOUND} nats or what neutral texts do{fillers}.",
    )


def _match_row(match: DoseMatch) -> tuple[str, ...]:
    return (
        match.persona,
        str(match.statements),
        with_interval(match.text),
        _equal(match.equal_dose),
        f"{match.text_kl:.2g}" if np.isfinite(match.text_kl) else MISSING,
        dose_text(match.bounded_dose),
        MISSING if match.bounded is None else with_interval(match.bounded),
        MISSING if match.text_less_bounded is None else with_interval(match.text_less_bounded),
    )


def _equal(dose: Interval | None) -> str:
    if dose is None:
        return MISSING
    ends = [number(end) if np.isfinite(end) else "beyond" for end in (dose.low, dose.high)]
    return f"{number(dose.estimate)} [{ends[0]}, {ends[1]}]"


def length_table(result: DoseResponse) -> ShownTable:
    """Tokens and effects of control and fillers, a row a length."""
    rows = []
    for length, here in result.by_length.groupby("statements"):
        said, fillers = here[here["kind"] == "persona"], here[here["kind"] == "filler"]
        control = here[here["kind"] == "control"]
        rows.append(
            (
                str(length),
                _tokens(said),
                _tokens(control),
                _tokens(fillers),
                _mean_change(control),
                _mean_change(fillers),
                span(float(here["null_low"].iloc[0]), float(here["null_high"].iloc[0])),
            )
        )
    return ShownTable(
        title="Lengths of texts, and of the fillers beside them",
        columns=(
            "statements",
            "tokens, personas",
            "control",
            "fillers",
            "control (nats)",
            "fillers (nats)",
            "one more filler",
        ),
        rows=tuple(rows),
        note="Tokens that a text adds to the prompt, mean over requests and from the shortest to "
        "the longest of the kind. Fillers are whole neutral sentences, as near to the personas' "
        "mean as these allow.",
    )


def _tokens(rows: pd.DataFrame) -> str:
    if rows.empty:
        return MISSING
    low, high = float(rows["tokens"].min()), float(rows["tokens"].max())
    return number(low, 1) if high - low < 0.05 else f"{number(low, 1)} to {number(high, 1)}"


def _mean_change(rows: pd.DataFrame) -> str:
    return number(float(rows["change"].mean()), signed=True) if len(rows) else MISSING


def written_table(written: pd.DataFrame) -> ShownTable:
    """What the sampled arms answered, a row an arm and dose."""
    keys = ["persona", "treatment", "dose"]
    rows = []
    for (persona, treatment, dose), here in written.groupby(keys, sort=False):
        harmful, harmless = here[here["harmful"]], here[~here["harmful"]]
        done = {"baseline": "alone", "prompt": "as text"}.get(str(treatment))
        rows.append(
            (
                f"{persona} {done or number(float(str(dose)), signed=True)}",
                *(_cell(harmful, what) for what in ("answered", "known", "degenerate")),
                *(_cell(harmless, what) for what in ("answered", "known", "degenerate")),
                _perplexity(harmless),
            )
        )
    return ShownTable(
        title="Answers that were written",
        columns=(
            "arm and dose",
            "harmful: answered",
            "known answer",
            "no text",
            "harmless: answered",
            "known answer",
            "no text",
            "perplexity",
        ),
        rows=tuple(rows),
        note=f"n = {_largest(written, True)} harmful and {_largest(written, False)} harmless "
        "requests. Known answer: the whole of it is in the answer, of requests that have one. "
        "Perplexity: median under the plain model after the request alone.",
    )


def _largest(written: pd.DataFrame, harmful: bool) -> int:
    n = written.loc[written["harmful"] == harmful, "n"]
    return int(n.max()) if len(n) else 0


def _cell(rows: pd.DataFrame, column: str) -> str:
    return percent(float(rows[column].iloc[0])) if len(rows) else MISSING


def _perplexity(rows: pd.DataFrame) -> str:
    return number(float(rows["perplexity"].iloc[0])) if len(rows) else MISSING


def _in_order_matches(matches: Sequence[DoseMatch]) -> list[DoseMatch]:
    return sorted(
        matches, key=lambda m: (m.kind != "persona", side_order(m.group), m.text.estimate)
    )


def side_order(group: str) -> int:
    """Place of a side in a table; that of an unknown one is the last."""
    return GROUPS.index(group) if group in GROUPS else len(GROUPS)


def dose_text(dose: float | None) -> str:
    """A dose; a dash for none."""
    return MISSING if dose is None else f"{dose:g}"
