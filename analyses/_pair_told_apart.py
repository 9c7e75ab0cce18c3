"""What answers tell apart, in words and tables."""

from typing import Final

from analyses._distinguishability_types import AnswerHabit, Distinguishability, ToldApart
from analyses._pair_words import counted, measure_name
from analyses._shown import ShownTable, Told
from analyses._words import MISSING, number, p_value, percent, span, with_interval

HEADLINE_METRIC: Final = "wasserstein"
"""The metric that the sentence is about: fixed beforehand, since the best of ten is no finding."""
_SIGNED: Final = ("d_prime", "beta_proxy")


def tell_distinguishability(found: Distinguishability) -> Told:
    """Distinguishability in words."""
    return Told(
        answer=_answer(found),
        tables=(_headline(found), _metrics(found), _habits(found)),
        limits=found.left_out,
    )


def _answer(found: Distinguishability) -> str:
    said = []
    for side in found.sides:
        rows = [each for each in found.rows if (each.side, each.metric) == (side, HEADLINE_METRIC)]
        apart = [each for each in rows if each.p_bh < 1 - found.level]
        wrong = [each for each in apart if _agrees_with_the_wrong_half(found, each)]
        mean = sum(each.value.estimate for each in rows) / max(len(rows), 1)
        yes = [each for each in found.habits if each.side == side]
        habit = sum(each.acquiescence.estimate for each in yes) / max(len(yes), 1)
        against = f", for {len(wrong)} of them the wrong way round" if wrong else ""
        said.append(
            f"in the {side} model for {len(apart)} of {len(rows)}{against} (mean W1 "
            f"{number(mean)} nats; over all statements the log-odds of “Yes” are "
            f"{number(habit, signed=True)})"
        )
    return (
        "The log-odds of “Yes” tell the halves apart beyond halves dealt anew, corrected over "
        f"{counted(len(found.behaviours), 'behaviour')}: {'; '.join(said)}."
    )


def _agrees_with_the_wrong_half(found: Distinguishability, apart: ToldApart) -> bool:
    return any(
        (each.side, each.behaviour) == (apart.side, apart.behaviour)
        and each.metric == "auroc"
        and each.value.high < 0.5
        for each in found.rows
    )


def _headline(found: Distinguishability) -> ShownTable:
    """Two metrics of each behaviour, both models side by side."""
    by_key = {(each.side, each.behaviour, each.metric): each for each in found.rows}
    rows = []
    for behaviour in found.behaviours:
        cells = [
            cell
            for side in found.sides
            for cell in (
                *_cells(by_key.get((side, behaviour, "wasserstein"))),
                *_cells(by_key.get((side, behaviour, "auroc")))[:1],
            )
        ]
        rows.append((behaviour, *cells))
    heads = [(f"{side}: W1 (nats)", "p, BH", f"{side}: AUROC") for side in found.sides]
    return ShownTable(
        title="How far apart the halves are, by behaviour",
        columns=("Behaviour", *(each for three in heads for each in three)),
        rows=tuple(rows),
        note="With intervals over groups of statements. p: halves dealt anew, corrected over "
        "behaviours. AUROC below .5: the model agrees with the misaligned half.",
    )


def _cells(row: ToldApart | None) -> tuple[str, str]:
    if row is None:
        return MISSING, MISSING
    return with_interval(row.value, signed=False), p_value(row.p_bh)


def _metrics(found: Distinguishability) -> ShownTable:
    return ShownTable(
        title="Every measure",
        columns=(
            "Behaviour",
            "Model",
            "Measure",
            "n",
            "Estimate",
            "As published",
            "Chance",
            "p",
            "p, BH",
        ),
        rows=tuple(_metric(each) for each in found.rows),
        note="n: statements of either half. As published: without the bias taken off that makes "
        "small samples look apart. Chance: where the estimate falls with halves dealt anew.",
    )


def _metric(row: ToldApart) -> tuple[str, ...]:
    return (
        row.behaviour,
        row.side,
        measure_name(row.metric),
        f"{row.n_aligned} + {row.n_misaligned}",
        with_interval(row.value, signed=row.metric in _SIGNED),
        number(row.plug_in, signed=row.metric in _SIGNED),
        span(*row.null),
        p_value(row.p),
        p_value(row.p_bh),
    )


def _habits(found: Distinguishability) -> ShownTable:
    return ShownTable(
        title="Habits of answering, which a distance of the halves is not",
        columns=(
            "Behaviour",
            "Model",
            "“Yes” at all",
            "Corrected",
            "Aligned",
            "Corrected share",
            "Order",
            "Yes + No",
        ),
        rows=tuple(_habit(each) for each in found.habits),
        note="“Yes” at all: mean log-odds of “Yes” over both halves, nats. Corrected: log-odds of "
        "the aligned answer once that is taken off. Aligned: share of statements whose aligned "
        "answer is the likelier. Order: what offering “Yes” first does. Yes + No: probability "
        f"of the two together; below {percent(found.mass_floor)} it is marked with an "
        "exclamation mark.",
    )


def _habit(habit: AnswerHabit) -> tuple[str, ...]:
    return (
        habit.behaviour,
        habit.side,
        with_interval(habit.acquiescence),
        with_interval(habit.corrected),
        percent(habit.aligned_share.estimate),
        percent(habit.corrected_share.estimate),
        with_interval(habit.order_effect),
        f"{percent(habit.mass)}{' !' if habit.low_mass else ''}",
    )
