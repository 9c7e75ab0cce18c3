"""The direct measure of known answers, in words and figures."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analyses._panel import Panel, panel
from analyses._shown import _early_direct_figures as figures
from analyses._shown._types import ShownTable
from analyses._words import (
    MISSING,
    SIDES,
    TREATMENTS,
    number,
    p_value,
    percent,
    span,
    with_interval,
)
from analyses.known_answers import KnownAnswers

_SECTION = "part-early-decoding"


def direct_sentence(result: KnownAnswers) -> str:
    """Where the refused answer is, how surely, and when the refusal is decided."""
    logit = result.by_layer[result.by_layer["lens"] == "logit"]
    inner = logit[logit["layer"] != result.output]
    out = logit[logit["layer"] == result.output]
    if inner.empty or result.difference is None:
        return "No layer below the output was read, so nothing can be said of hidden answers."
    best = inner.iloc[int(inner["top1"].to_numpy().argmax())]
    said = (
        f"The known answer's first token is on top for {percent(best['top1'])} "
        f"{span(best['top1_low'], best['top1_high'])} of {result.n} requests at layer "
        f"{int(best['layer'])}, another request's for {percent(best['other_top1'])}"
    )
    if not out.empty:
        said += f", and at the output for {percent(out.iloc[0]['top1'])}"
    said += (
        f"; the whole answer is {with_interval(result.difference)} nats a token likelier than "
        f"another's at layer {result.best_layer} ({result.best_lens} lens, {p_value(result.p)} "
        f"over all lenses and layers, {result.n_units} distinct answers)."
    )
    if result.decided_at is not None:
        said += f" By the tuned lens the refusal is decided from layer {result.decided_at} on."
    return said


def direct_tables(result: KnownAnswers) -> tuple[ShownTable, ...]:
    """Known answers by layer and lens, then what personas do to them."""
    tables = [_layers(result)]
    if result.by_group is not None and not result.by_group.empty:
        tables.append(_groups(result, result.by_group))
    return tuple(tables)


def direct_panels(result: KnownAnswers) -> tuple[Panel, ...]:
    """The figures of the direct measure."""
    found = [
        panel(
            "early-known-answers",
            _SECTION,
            "Is the answer that is refused there, whole, and until which layer?",
            "Left: share of requests where the lens's top token is the known answer's first, or "
            "opens a refusal. Right: teacher-forced log-probability of the whole answer. The tuned "
            "lens says at each layer what the output will be: where it turns to refusal, refusal "
            "is decided, and an answer that it no longer shows can still be there.",
            "Another request's answer, of another first token where there is one.",
            lambda theme: figures.answer_curves(result, theme=theme),
        ),
        panel(
            "early-known-difference",
            _SECTION,
            "Is it this answer, or any answer?",
            f"The known answer less another request's, nats a token; {result.n_units} distinct "
            "answers, 95 % bootstrap over them.",
            "Grey: the same between two wrong answers. p is corrected over both lenses and all "
            "layers below the output.",
            lambda theme: figures.difference_curves(result, theme=theme),
        ),
    ]
    fit, table = result.fit, result.by_group
    if fit is not None:
        found.append(
            panel(
                "early-lens-fit",
                _SECTION,
                "How well does each lens say what the output will be?",
                f"Divergence of the output from the lens on {fit.n_held_out} positions of prompts "
                f"held out; trained on {fit.n_tokens} positions, none of a tested request.",
                "The logit lens: the tuned one untrained.",
                lambda theme: figures.lens_fit(fit, theme=theme),
            )
        )
    if table is not None and not table.empty:
        found.append(
            panel(
                "early-known-personas",
                _SECTION,
                "Do personas move the hidden answer, or the gate before it?",
                "Change of the log-probability of the known answer's first token against the "
                "request alone. A change at the last layers only is one of the gate; one where "
                "the answer is read is one of the answer.",
                "The control persona, and neutral texts and random directions (dotted).",
                lambda theme: figures.persona_curves(table, theme=theme),
            )
        )
    return tuple(found)


def _layers(result: KnownAnswers) -> ShownTable:
    rows = [
        (
            f"layer {row['layer']}, {row['lens']} lens",
            f"{percent(row['top1'])} {span(row['top1_low'], row['top1_high'])}",
            percent(row["other_top1"]),
            percent(row["random_top1"]),
            percent(row["refusal_top1"]),
            number(row["median_rank"], 0),
            number(row["log_prob"]),
            number(row["whole"]),
            f"{number(row['difference'], signed=True)} "
            f"{span(row['difference_low'], row['difference_high'])}",
            span(row["null_low"], row["null_high"]),
            MISSING if pd.isna(row["p"]) else p_value(row["p"]),
        )
        for row in result.by_layer.to_dict(orient="records")
    ]
    return ShownTable(
        title="Known answers by layer",
        columns=(
            "where",
            "first token on top [95 %]",
            "another's",
            "random token",
            "refusal",
            "median rank",
            "first token, nats",
            "whole answer, nats",
            "own − another's, nats a token [95 %]",
            "wrong answers",
            "p, all layers",
        ),
        rows=tuple(rows),
        note=f"{result.n} requests with {result.n_units} distinct answers, which are the units of "
        "intervals and tests; shares count requests. Answers are teacher-forced after the request. "
        "The tuned lens is trained to show the output, a refusal too: an answer that it hides can "
        "be there.",
    )


def _groups(result: KnownAnswers, table: pd.DataFrame) -> ShownTable:
    """The layer where the answer is read best, and the output, side by side."""
    shown = [layer for layer in (result.best_layer, result.output) if layer is not None]
    order = {name: at for at, name in enumerate([*SIDES, "null"])}
    rows = []
    for treatment in TREATMENTS:
        here = table[(table["treatment"] == treatment) & (table["lens"] == "logit")]
        for group in sorted({*here["group"]}, key=lambda name: (order.get(name, 99), name)):
            by_layer = here[here["group"] == group].set_index("layer")
            name = SIDES.get(group, "neutral" if group == "null" else group)
            cells = [_change(by_layer, layer) for layer in shown]
            rows.append((f"{name}, {TREATMENTS[treatment]}", *[c for pair in cells for c in pair]))
    columns = ["who, how"]
    for layer in shown:
        place = f"output (layer {layer})" if layer == result.output else f"layer {layer}"
        columns += [f"{place}, nats [95 %]", "less control [95 %]"]
    return ShownTable(
        title="Known answers under personas",
        columns=tuple(columns),
        rows=tuple(rows),
        note="Change of the log-probability of the known answer's first token against the request "
        "alone, logit lens. A change at the output alone is one of the gate, not of the answer. "
        "Personas are drawn for each request from their group.",
    )


def _change(by_layer: pd.DataFrame, layer: int) -> tuple[str, str]:
    if layer not in by_layer.index:
        return MISSING, MISSING
    row = by_layer.loc[[layer]].iloc[0].to_dict()
    return _cell(row, "change"), _cell(row, "against_control")


def _cell(row: Mapping[Any, Any], name: str) -> str:
    if pd.isna(row[name]):
        return MISSING
    return f"{number(row[name], signed=True)} {span(row[f'{name}_low'], row[f'{name}_high'])}"
