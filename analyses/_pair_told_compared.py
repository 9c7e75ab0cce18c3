"""What tuning changes, in words and tables."""

from collections.abc import Sequence

from analyses._pair_words import ARM_NAMES, counted, measure_name
from analyses._shown import ShownTable, Told
from analyses._side_shift_types import BaseAgainstTuned, MeasureCorrelation, MeasureShift
from analyses._words import MISSING, number, p_value, percent, span, with_interval

_TOLD_FIRST = ("wasserstein", "auroc", "net prompt trend", "vector slope")
"""Measures that the sentence names: fixed beforehand, since the best of many is no finding."""


def tell_comparison(found: BaseAgainstTuned) -> Told:
    """The base against the tuned model in words."""
    tables = (_shifts(found), _interactions(found), _within(found), _correlations(found))
    return Told(
        answer=_answer(found),
        tables=tuple(table for table in tables if table.rows),
        limits=(*_power(found), *found.left_out),
    )


def _answer(found: BaseAgainstTuned) -> str:
    told = [each for name in _TOLD_FIRST for each in found.shifts if each.measure == name]
    if not told:
        return "Nothing could be held against each other."
    n = counted(len(found.behaviours), "behaviour")
    return f"From the base to the tuned model, over {n}: {'; '.join(map(_shift, told))}."


def _shift(shift: MeasureShift) -> str:
    test = shift.test
    return (
        f"{measure_name(shift.measure)} {number(shift.base)} → {number(shift.tuned)} "
        f"({test.up} up, {test.down} down, Wilcoxon p {p_value(test.p)}, BH {p_value(shift.p_bh)})"
    )


def _power(found: BaseAgainstTuned) -> tuple[str, ...]:
    told = [each for name in _TOLD_FIRST for each in found.shifts if each.measure == name]
    said = ", ".join(
        f"{measure_name(each.measure)} {number(each.detectable)}"
        for each in told
        if number(each.detectable) != MISSING
    )
    if not said:
        return ()
    return (
        f"Over {counted(len(found.behaviours), 'behaviour')} a shift is found with a chance of "
        f"{percent(found.power)} at level {found.alpha:g} only from this size on: {said}. A "
        "smaller one that was not found is no proof of none.",
    )


def _shifts(found: BaseAgainstTuned) -> ShownTable:
    return ShownTable(
        title="Every measure, base against tuned, over behaviours",
        columns=(
            "Measure",
            "n",
            "Base",
            "Tuned",
            "Difference",
            "Up / down",
            "p",
            "p, BH",
            "Detectable",
        ),
        rows=tuple(
            (
                measure_name(each.measure),
                str(each.n),
                number(each.base),
                number(each.tuned),
                with_interval(each.difference),
                f"{each.test.up} / {each.test.down}",
                p_value(each.test.p),
                p_value(each.p_bh),
                number(each.detectable),
            )
            for each in found.shifts
        ),
        note="Wilcoxon's signed ranks over behaviours; BH over measures of a kind. Detectable: the "
        f"smallest mean shift found with a chance of {percent(found.power)}.",
    )


def _interactions(found: BaseAgainstTuned) -> ShownTable:
    return ShownTable(
        title="Misaligned answers by length, base against tuned",
        columns=("Prompt", "Base slope", "Tuned slope", "Interaction", "p", "Clusters"),
        rows=tuple(
            (
                ARM_NAMES.get(each.arm, each.arm),
                with_interval(each.base_slope),
                with_interval(each.tuned_slope),
                with_interval(each.interaction),
                p_value(each.p),
                f"{each.n_clusters} by {each.clusters}",
            )
            for each in found.interactions
        ),
        note="Population-averaged logistic: log-odds of a misaligned answer a sentence. The "
        "filler's row is the null.",
    )


def _within(found: BaseAgainstTuned) -> ShownTable:
    return ShownTable(
        title="Behaviours one by one, paired by statement",
        columns=("Behaviour", "Measure", "n", "Base", "Tuned", "Difference", "p", "p, BH"),
        rows=tuple(
            (
                each.behaviour,
                measure_name(each.measure),
                str(each.n),
                number(each.base),
                number(each.tuned),
                number(each.difference, signed=True),
                p_value(each.p),
                p_value(each.p_bh),
            )
            for name in _TOLD_FIRST
            for each in found.within
            if each.measure == name
        ),
        note="The two models are swapped within statement; BH over behaviours of a measure.",
    )


def _correlations(found: BaseAgainstTuned) -> ShownTable:
    return ShownTable(
        title="Are the behaviours that are told apart those that can be steered?",
        columns=("Measure", "Steerability", "Model", "n", "Spearman", "p", "p, BH"),
        rows=tuple(
            (
                measure_name(each.metric),
                measure_name(each.steerability),
                each.side,
                str(each.correlation.n),
                _rho(each),
                p_value(each.correlation.p),
                p_value(each.p_bh),
            )
            for each in _first(found.correlations)
        ),
        note="Over behaviours. Change: of the tuned less the base model, both ways.",
    )


def _first(found: Sequence[MeasureCorrelation]) -> list[MeasureCorrelation]:
    """Of the measures of steerability named above, or all where there is none of them."""
    return [each for each in found if each.steerability in _TOLD_FIRST] or list(found)


def _rho(each: MeasureCorrelation) -> str:
    rho = each.correlation
    return f"{number(rho.estimate, signed=True)} {span(rho.low, rho.high)}"
