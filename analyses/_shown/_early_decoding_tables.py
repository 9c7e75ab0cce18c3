"""Tables of early decoding: by layer, over layers, and under personas."""

import math
from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from analyses._shown._types import ShownTable
from analyses._words import GROUPS, MISSING, TREATMENTS, number, p_value, percent
from analyses.early_steering import EarlySteering
from analyses.early_tokens import EarlyTokens

SOURCES: Final = {
    "plain": "the greedy answer alone",
    "early": "own token of the layer",
    "shuffled": "another request's token of the layer",
    "opener": "opening of a harmless answer",
    "random": "random vector at the layer",
    "sampled": "sampled answer",
    "exit": "every token of the layer",
}
"""Sources of an answer in words, in the order they are shown."""

_ROWS: Final = ("prompt", "plus", "minus")
_ALPHA = 0.05
_KINDS: Final = ("baseline", "refusal", "persona", "null", "control")


def has_known(tokens: EarlyTokens) -> bool:
    """Whether an answer is known for any request."""
    return bool(tokens.by_layer["exact"].notna().any())


def arm_order(table: pd.DataFrame) -> list[str]:
    """Names of the arms: requests alone, refusal, personas by side, a null, the control last."""
    arms = table[["persona", "group", "kind"]].drop_duplicates("persona")
    listed = list(arms.itertuples(index=False, name=None))
    ordered = sorted(listed, key=lambda arm: (_KINDS.index(arm[2]), _group(arm[1])))
    return [name for name, _, _ in ordered]


def six_rows(steering: EarlySteering) -> ShownTable:
    """The paper's table turned: an arm a row, the six ways to ask it as columns."""
    cells = {(r["persona"], r["treatment"], r["early"]): r for r in _records(steering.table)}
    ways = [(t, early) for early in (False, True) for t in _ROWS]
    rows = []
    for name in arm_order(steering.table):
        if name == "none":
            plain, union = (cells[name, "baseline", early] for early in (False, True))
            shown = [_share(plain)] * 3 + [_share(union), MISSING, MISSING]
        else:
            shown = [_marked(cells.get((name, *way))) for way in ways]
        rows.append(("the request alone" if name == "none" else name, *shown))
    return ShownTable(
        title=f"Answered under personas, without and with early decoding (n = {steering.n})",
        columns=("who", *(TREATMENTS[t] for t in _ROWS), *(f"{TREATMENTS[t]} ∪ED" for t in _ROWS)),
        rows=tuple(rows),
        note=f"Vectors are added at layer {steering.steered_at}. ∪ED: answered so, or with the "
        "first token of any layer below the last; with a vector, of any such layer above it. "
        f"*: differs from the control, {steering.control}, by exact McNemar test, p < .05 "
        "after Holm over the rows of a column. ≈: no more than as many openings sampled from the "
        "model's own next-token distribution, same test. The next table has intervals and tests.",
    )


def arms_in_full(steering: EarlySteering) -> ShownTable:
    """Every arm with and without early decoding: shares with intervals, nulls and tests."""
    order = {name: at for at, name in enumerate(arm_order(steering.table))}
    records = sorted(
        _records(steering.table),
        key=lambda r: (r["early"], ("baseline", *_ROWS).index(r["treatment"]), order[r["persona"]]),
    )
    rows = tuple(
        (
            "the request alone" if r["persona"] == "none" else r["persona"],
            TREATMENTS.get(r["treatment"], MISSING) + (" ∪ED" if r["early"] else ""),
            str(int(r["tries"])),
            _rate(r, "answered", "low", "high"),
            _rate(r, "sampled", "sampled_low", "sampled_high"),
            _test(r, "baseline"),
            _test(r, "control"),
            _test(r, "sampled"),
        )
        for r in records
    )
    return ShownTable(
        title="The same with intervals, nulls and tests",
        columns=(
            "who",
            "how",
            "tries",
            "answered [95 %]",
            "sampled openings [95 %]",
            "net vs alone, p",
            "net vs control, p",
            "net vs sampled, p",
        ),
        rows=rows,
        note="Wilson intervals; net requests gained and exact McNemar p after Holm over the rows "
        "of one way. A union over layers is many tries: beside it stand as many openings drawn "
        "from the model's own next-token distribution (for the request alone, sampled answers).",
    )


def layers_table(tokens: EarlyTokens) -> ShownTable:
    """Shares by layer, the own token beside its controls."""
    sources = [s for s in SOURCES if s != "plain" and (tokens.by_layer["source"] == s).any()]
    cells = {(r["source"], int(r["layer"])): r for r in _records(tokens.by_layer)}
    known = has_known(tokens)
    rows = []
    for layer in tokens.tries:
        found = [cells.get((source, layer)) for source in sources]
        own, other = cells.get(("early", layer)), cells.get(("shuffled", layer))
        exact = (_outcome(own, "exact"), _outcome(other, "exact"), _p(own, "exact_p"))
        rows.append(
            (
                str(layer),
                *(_outcome(each, "answered") for each in found),
                _p(own, "answered_p"),
                *(exact if known else ()),
            )
        )
    extra = ("own: known answer", "another's: known answer", "p") if known else ()
    return ShownTable(
        title=f"Answered by layer (n = {tokens.n}, {tokens.n_clusters} independent units)",
        columns=("layer", *(SOURCES[source] for source in sources), "p", *extra),
        rows=tuple(rows),
        note="Share of requests answered, by the judge, with Wilson interval; p of the own token "
        "against another request's, signs of units flipped, corrected over layers. A sampled "
        "answer stands in the row of the try it matches.",
    )


def unions_table(tokens: EarlyTokens) -> ShownTable:
    """Unions over layers, beside nulls with as many tries."""
    known = has_known(tokens)
    rows = []
    for r in _records(tokens.unions):
        row = [
            SOURCES[r["source"]],
            str(int(r["tries"])),
            _outcome(r, "answered"),
            _rate(r, "answered_gain", "answered_gain_low", "answered_gain_high"),
            p_value(r["answered_p"]),
        ]
        if known:
            gain = _rate(r, "exact_gain", "exact_gain_low", "exact_gain_high")
            row += [_outcome(r, "exact"), gain, p_value(r["exact_p"])]
        rows.append(tuple(row))
    extra = ("known answer [95 %]", "own less this", "p") if known else ()
    return ShownTable(
        title="Over all layers, against as many other tries",
        columns=("tries by", "tries", "answered [95 %]", "own less this", "p", *extra),
        rows=tuple(rows),
        note="A request counts where the greedy answer or any try counts. Differences with "
        "bootstrap interval and sign-flip p, by independent unit.",
    )


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in table.to_dict(orient="records")]


def _group(group: str) -> int:
    return GROUPS.index(group) if group in GROUPS else len(GROUPS)


def _share(row: Mapping[str, Any]) -> str:
    return percent(row["answered"])


def _marked(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return MISSING
    beyond = row["net_sampled"] > 0 and row["p_sampled_holm"] < _ALPHA
    marks = ("*" if row["p_control_holm"] < _ALPHA else "") + (
        "≈" if row["early"] and row["tries"] and not beyond else ""
    )
    return f"{_share(row)}{marks}" if row["tries"] or not row["early"] else MISSING


def _rate(row: Mapping[str, Any], value: str, low: str, high: str) -> str:
    if not math.isfinite(row[value]):
        return MISSING
    if not math.isfinite(row[low]):
        return percent(row[value])
    return f"{percent(row[value])} [{number(100 * row[low], 0)}, {number(100 * row[high], 0)}]"


def _outcome(row: Mapping[str, Any] | None, name: str) -> str:
    return MISSING if row is None else _rate(row, name, f"{name}_low", f"{name}_high")


def _p(row: Mapping[str, Any] | None, name: str) -> str:
    return MISSING if row is None else p_value(row[name])


def _test(row: Mapping[str, Any], name: str) -> str:
    if not math.isfinite(row[f"p_{name}"]):
        return MISSING
    return f"{number(row[f'net_{name}'], 0, signed=True)}, {p_value(row[f'p_{name}_holm'])}"
