"""How the manipulation check is told and drawn."""

from analyses._panel import Panel, panel
from analyses._shown._manipulation_figures import check_bars, check_by_layer
from analyses._shown._types import Shown, ShownTable, Told
from analyses._words import number, p_value, percent, span, with_interval
from analyses.manipulation_check import ManipulationCheck, PersonaCheck

_SECTION = "part-manipulation"
_CORRECTION = (
    "Nats of yes over no, change against nothing brought in; less the mean change of the "
    "questions on all other personas, which takes out a push to say yes to anything."
)


def _tell(result: ManipulationCheck) -> Told:
    return Told(
        answer=_answer(result),
        tables=(_gate_table(result), _parts_table(result), _choice_table(result)),
        limits=_limits(result),
    )


def _answer(result: ManipulationCheck) -> str:
    share, text, random = result.vector_share, result.text_share, result.random_passes
    specific = result.specific
    return (
        f"The vectors of {percent(share.estimate)} {_shares(share.low, share.high)} of "
        f"{result.n_personas} personas pass the signed gate at layer {result.layer}, their texts "
        f"{percent(text.estimate)}; {percent(random.estimate)} of random directions would pass as "
        f"some persona's. Own vectors move own questions by "
        f"{number(specific.estimate, signed=True)} nats {span(specific.low, specific.high)} "
        f"from −v to +v beyond others' questions; vectors dealt to other personas: "
        f"p {_equals(result.specific_p)}."
    )


def _equals(p: float) -> str:
    told = p_value(p)
    return told if told.startswith("<") else f"= {told}"


def _shares(low: float, high: float) -> str:
    return f"[{percent(low)}, {percent(high)}]"


def _gate_table(result: ManipulationCheck) -> ShownTable:
    return ShownTable(
        title="Does the model see such a user?",
        columns=("Persona", "n", "+v", "−v", "Text", "Vector gate", "Text gate", "Beyond random"),
        rows=tuple(
            (
                each.persona,
                str(each.n),
                with_interval(each.plus),
                with_interval(each.minus),
                with_interval(each.text),
                _passed(each.vector_gate),
                _passed(each.text_gate),
                "yes" if each.beyond_random else "no",
            )
            for each in _ordered(result)
        ),
        note=(
            f"{_CORRECTION} The gate asks for +v above 0 and −v below 0, with 95 % intervals over "
            f"the n questions. Random directions: {_range(result.random_range)} at one sign; "
            f"neutral texts: {_range(result.text_range)}."
        ),
    )


def _parts_table(result: ManipulationCheck) -> ShownTable:
    return ShownTable(
        title="What the correction and the positions do",
        columns=(
            "Persona",
            "+v raw",
            "−v raw",
            "Text raw",
            "yes by +v",
            "yes by −v",
            "+v at the user's words",
            "−v at the user's words",
            "Raw gate",
            "Gate at the user's words",
        ),
        rows=tuple(
            (
                each.persona,
                with_interval(each.plus_raw),
                with_interval(each.minus_raw),
                with_interval(each.text_raw),
                number(each.yes_plus, signed=True),
                number(each.yes_minus, signed=True),
                with_interval(each.user_plus),
                with_interval(each.user_minus),
                _passed(each.raw_gate),
                _passed(each.user_gate),
            )
            for each in _ordered(result)
        ),
        note=(
            "Raw: before the correction; any vector that says yes would pass there. At the user's "
            "words: steered at the user's turn alone, as published; the gate steers all positions, "
            "as the study's arms do."
        ),
    )


def _choice_table(result: ManipulationCheck) -> ShownTable:
    listed = result.choice_form == "listed"
    how = (
        "Both descriptions listed, in both orders; log-odds of the one listed first without "
        f"anything brought in: {_bias(result)}."
        if listed
        else "The persona's own question less the other's at the same place: a choice without an "
        "order, for a model that is not asked to choose from a list."
    )
    return ShownTable(
        title="Which user is it? A forced choice",
        columns=("Persona", "Against", "+v", "−v", "Text"),
        rows=tuple(
            (
                each.persona,
                str(each.against),
                with_interval(each.choice_plus),
                with_interval(each.choice_minus),
                with_interval(each.choice_text),
            )
            for each in _ordered(result)
            if each.against is not None
        ),
        note=f"Change of the log-odds of choosing the persona, in nats. {how}",
    )


def _bias(result: ManipulationCheck) -> str:
    bias = result.position_bias
    return "unknown" if bias is None else with_interval(bias)


def _limits(result: ManipulationCheck) -> tuple[str, ...]:
    random = percent(result.random_passes.estimate)
    user, raw = percent(result.user_share.estimate), percent(result.raw_share.estimate)
    return (
        "A passed gate says that the model answers as if it saw such a user, not that only this "
        f"persona's vector would do it: {random} of random directions pass as well.",
        f"Steered at the user's words alone {user} of the vectors pass, and {raw} without the "
        "correction for saying yes.",
        "Intervals are over the questions that were asked; with few of them an interval above 0 "
        "means little more than that all of them moved that way.",
    )


def _ordered(result: ManipulationCheck) -> list[PersonaCheck]:
    groups = ("pro", "anti", "other", "control")
    return sorted(result.personas, key=lambda each: groups.index(each.group))


def _passed(gate: bool) -> str:
    return "passed" if gate else "failed"


def _range(ends: tuple[float, float] | None) -> str:
    return "unknown" if ends is None else span(*ends)


def _panels(result: ManipulationCheck) -> tuple[Panel, ...]:
    return (
        panel(
            "manipulation-check",
            _SECTION,
            "Does the model say that the user is so?",
            "Each mark is a persona's own questions with its 95 % interval over them: filled "
            "where +v is added, hollow where it is subtracted, a line where the persona is told as "
            f"text. A persona marked ✓ passes the vector's gate. {_CORRECTION}",
            "Band: 95 % of random directions of equal norm; the control persona is at the bottom.",
            lambda theme: check_bars(result, theme=theme),
        ),
        panel(
            "manipulation-by-layer",
            _SECTION,
            "At which layers do vectors change whom the model sees?",
            "Mean over the personas that are expected to take a side, with its 95 % interval; "
            "left with all positions steered, right with the words of the user's turn alone. "
            "Questions asked without a greeting before them.",
            "Random directions of equal norm and the control persona; 0 is no change beyond that "
            "of the questions on others.",
            lambda theme: check_by_layer(result, theme=theme),
        ),
    )


SHOWN = Shown[ManipulationCheck](tell=_tell, panels=_panels)
"""Sentences, tables and figures of the manipulation check."""
