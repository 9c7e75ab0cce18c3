"""How far prompts and vectors steer, in words and tables."""

from typing import TypeVar

import pandas as pd

from analyses._pair_words import ARM_NAMES, counted, percent_span
from analyses._shown import ShownTable, Told
from analyses._steerability_types import ArmCurve, Steerability, VectorCurve
from analyses._words import MISSING, number, p_value, percent, span, with_interval
from lens_personas.statistics import Interval

C = TypeVar("C", ArmCurve, VectorCurve)


def tell_steerability(found: Steerability) -> Told:
    """Steerability in words."""
    tables = (_arms(found), _by_prompt(found), _by_vector(found))
    return Told(
        answer=_steering_answer(found),
        tables=tuple(table for table in tables if table.rows),
        limits=found.left_out,
    )


def _steering_answer(found: Steerability) -> str:
    prompts = [each for each in found.prompts if each.arm == "misaligned"]
    said = []
    for side in found.sides:
        here = [each for each in prompts if each.side == side]
        moved = sum(each.p_bh < 1 - found.level and _trend(each).estimate > 0 for each in here)
        if here:
            said.append(f"in the {side} model {_shares(found.pooled, side)}{moved} of {len(here)}")
    if not said:
        return _vector_answer(found)
    return (
        "Longer misaligned personas move answers towards the misaligned one, beyond a neutral text "
        f"of the same length and after correction, for this many behaviours: {'; '.join(said)}. "
        f"{_vector_answer(found)}"
    ).rstrip()


def _shares(pooled: pd.DataFrame, side: str) -> str:
    rows = pooled[
        (pooled["side"] == side) & (pooled["desirable"] == "all") & (pooled["arm"] == "misaligned")
    ].sort_values("n_sentences")
    if not len(rows):
        return ""
    first, last = rows.iloc[0], rows.iloc[-1]
    return (
        f"(misaligned share {percent(first['share'])} at {int(first['n_sentences'])}, "
        f"{percent(last['share'])} at {counted(int(last['n_sentences']), 'sentence')}) "
    )


def _vector_answer(found: Steerability) -> str:
    said = [
        f"{sum(each.beyond_null and each.p_bh < 1 - found.level for each in here)} of {len(here)} "
        f"in the {side} model"
        for side in found.sides
        if (here := [each for each in found.vectors if each.side == side])
    ]
    if not said:
        return ""
    return f"A behaviour's own vector does so beyond random directions for {', '.join(said)}."


def _trend(curve: ArmCurve) -> Interval:
    return curve.trend if curve.net_trend is None else curve.net_trend


def _arms(found: Steerability) -> ShownTable:
    """Shares at the longest prompt of each arm, over behaviours."""
    table = found.pooled
    rows = []
    for arm in ARM_NAMES if len(table) else ():
        here = table[(table["arm"] == arm) & (table["desirable"] == "all")]
        if not len(here):
            continue
        longest = int(here["n_sentences"].max())
        cells = [_pooled_cells(here, side, longest) for side in found.sides]
        rows.append((ARM_NAMES[arm], str(longest), *(each for pair in cells for each in pair)))
    heads = [(f"{s}: misaligned", f"{s}: less filler (nats)") for s in found.sides]
    return ShownTable(
        title="Misaligned answers after the longest prompt of each kind",
        columns=("Prompt", "Sentences", *(each for pair in heads for each in pair)),
        rows=tuple(rows),
        note="Mean over behaviours, statements and random assemblies; intervals by behaviour. The "
        "neutral filler of the same length is the null.",
    )


def _pooled_cells(table: pd.DataFrame, side: str, length: int) -> tuple[str, str]:
    rows = table[(table["side"] == side) & (table["n_sentences"] == length)]
    if not len(rows):
        return MISSING, MISSING
    row = rows.iloc[0]
    share = f"{percent(row['share'])} {percent_span(row['share_low'], row['share_high'])}"
    net = f"{number(row['net'], signed=True)} {span(row['net_low'], row['net_high'])}"
    return share, MISSING if pd.isna(row["net"]) else net


def _by_prompt(found: Steerability) -> ShownTable:
    rows = tuple(
        (
            each.behaviour,
            each.side,
            str(each.n),
            with_interval(each.trend),
            MISSING if each.net_trend is None else with_interval(each.net_trend),
            p_value(each.p_bh),
            with_interval(each.slope),
            with_interval(each.half_length, signed=False),
            with_interval(each.index),
        )
        for each in _in_rows(found, [c for c in found.prompts if c.arm == "misaligned"])
    )
    return ShownTable(
        title="Steered by a misaligned persona, by behaviour",
        columns=(
            "Behaviour",
            "Model",
            "n",
            "Nats a sentence",
            "Less filler",
            "p, BH",
            "Logistic slope",
            "Half-length",
            "Index",
        ),
        rows=rows,
        note="n: statements. Less filler: against neutral text of the same length, which the p "
        "is of. Half-length: sentences at which half of the answers are misaligned, by the "
        "logistic curve. Index: 1 is all the way to the extreme, 0 no movement.",
    )


def _by_vector(found: Steerability) -> ShownTable:
    rows = tuple(
        (
            each.behaviour,
            each.side,
            "/".join(str(layer) for layer in dict.fromkeys(each.layers)) or MISSING,
            str(each.n),
            with_interval(each.slope),
            MISSING if each.null_range is None else span(*each.null_range),
            p_value(each.p_bh),
            f"{percent(each.anti_steerable.estimate)} "
            f"{percent_span(each.anti_steerable.low, each.anti_steerable.high)}",
            percent(each.null_anti_steerable),
        )
        for each in _in_rows(found, list(found.vectors))
    )
    return ShownTable(
        title="Steered by the behaviour's own vector",
        columns=(
            "Behaviour",
            "Model",
            "Layer",
            "n",
            "Slope",
            "Random directions",
            "p, BH",
            "Anti-steerable",
            "Random",
        ),
        rows=rows,
        note="Slope of the misaligned log-odds on the dose, nats a residual norm. Random "
        "directions: where one more of the same length would fall. Anti-steerable: share of "
        "statements that go the wrong way.",
    )


def _in_rows(found: Steerability, curves: list[C]) -> list[C]:
    """By behaviour, the base model first."""
    behaviours, sides = list(found.behaviours), list(found.sides)
    return sorted(curves, key=lambda c: (behaviours.index(c.behaviour), sides.index(c.side)))
