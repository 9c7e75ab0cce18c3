"""How doses and lengths are told."""

from collections.abc import Sequence

import numpy as np

from analyses._panel import Panel, panel
from analyses._parts._dose_response_claims import beyond
from analyses._shown._dose_response_figures import dose_curves, length_curves, side_effects
from analyses._shown._dose_response_tables import (
    dose_text,
    length_table,
    match_table,
    side_order,
    written_table,
)
from analyses._shown._types import Shown, ShownTable, Told
from analyses._words import (
    MISSING,
    SIDES,
    p_value,
    span,
    with_interval,
)
from analyses.dose_response import KL_BOUND, DoseResponse, DoseSlope
from lens_personas.statistics import adjust

_ALPHA = 0.05
_SECTION = "part-dose-response"


def tell(result: DoseResponse) -> Told:
    """Slopes over doses and lengths, prompting beside steering, and what answers become."""
    tables = [_slope_table(result), match_table(result), length_table(result)]
    if result.written is not None:
        tables.append(written_table(result.written))
    return Told(answer=_answer(result), tables=tuple(tables), limits=_limits(result))


def panels(result: DoseResponse) -> tuple[Panel, ...]:
    """Curves over doses and lengths, and side effects by dose."""
    shown = []
    if result.by_dose["change"].notna().any():
        shown.append(
            panel(
                "dose-curves",
                _SECTION,
                "How far does refusal follow the dose of a persona's vector?",
                "Each line is a persona: below 0 the model refuses less than to the request "
                "alone. Left of 0 the vector is subtracted. Dotted: the dose of the rest of the "
                f"study, within which slopes are taken. n = {result.n} requests.",
                "The band is where one more random direction or vector fitted with exchanged "
                "labels, of the same length, would fall; the dashed line is the control persona.",
                lambda theme: dose_curves(result, theme=theme),
            )
        )
    if result.by_length["change"].notna().any():
        shown.append(
            panel(
                "length-curves",
                _SECTION,
                "How far does refusal follow how much is said of the user?",
                "Each line is a persona: mean change against the request alone under so many of "
                f"its statements, drawn anew for each request. n = {result.n} requests.",
                "The band is where one more neutral text of as many tokens would fall; the dashed "
                "line is the control persona.",
                lambda theme: length_curves(result, theme=theme),
            )
        )
    if result.n_harmless and result.by_dose["kl"].notna().any():
        shown.append(
            panel(
                "dose-side-effects",
                _SECTION,
                "What else does a dose do?",
                "KL between the next token's distributions without and with the vector on "
                f"{result.n_harmless} harmless requests, and shares of the answers that were "
                "written under some arms.",
                f"Dotted: {KL_BOUND} nats, up to which an edit is taken as harmless. Random "
                "directions and vectors with exchanged labels are grey, the control is dashed.",
                lambda theme: side_effects(result, theme=theme),
            )
        )
    return tuple(shown)


def _answer(result: DoseResponse) -> str:
    where = f"within ±{result.study_dose} residual norms at layer {result.layer}"
    by_vector = _found(result.vectors, "the dose of", "persona vectors", "a residual norm", where)
    by_text = _found(result.texts, "the length of", "persona texts", "a doubling", "")
    if by_vector is None and by_text is None:
        return (
            "No token of this model tells a refusal, so no slope over doses or lengths is known; "
            "what doses cost elsewhere is below."
        )
    return " ".join(each for each in (by_vector, by_text) if each is not None)


def _found(
    slopes: Sequence[DoseSlope], over: str, things: str, unit: str, where: str
) -> str | None:
    personas = [s for s in slopes if s.kind == "persona" and np.isfinite(s.slope.estimate)]
    if not personas:
        return None
    corrected = _corrected(slopes)
    held = [s for s in personas if corrected[s.persona] < _ALPHA and beyond(s)]
    control = personas[0].control
    text = (
        f"Refusal follows {over} {len(held)} of {len(personas)} {things}{where and ' '}{where} "
        "otherwise than the control's and beyond the nulls (Holm over these)"
    )
    steepest = max(held or personas, key=lambda s: abs(s.difference.estimate))
    text += (
        f"; farthest from the control: {steepest.persona}, {with_interval(steepest.slope)} nats "
        f"{unit}"
    )
    if control is not None:
        text += f", the control {with_interval(control)}"
    return f"{text}; n = {steepest.n} requests."


def _corrected(slopes: Sequence[DoseSlope]) -> dict[str, float]:
    personas = [slope for slope in slopes if slope.kind == "persona"]
    found = adjust(np.array([slope.p for slope in personas], dtype=np.float64), method="holm")
    return {slope.persona: float(p) for slope, p in zip(personas, found, strict=True)}


def _slope_table(result: DoseResponse) -> ShownTable:
    texts = {slope.persona: slope for slope in result.texts}
    p_vectors, p_texts = _corrected(result.vectors), _corrected(result.texts)
    rows = []
    for slope in _in_order(result.vectors):
        text = texts.get(slope.persona)
        rows.append(
            (
                slope.persona,
                SIDES.get(slope.group, slope.kind),
                with_interval(slope.slope),
                p_value(p_vectors.get(slope.persona, np.nan)),
                _yes(beyond(slope)) if slope.kind in ("persona", "refusal") else MISSING,
                f"{dose_text(slope.leaves_added)} / {dose_text(slope.leaves_subtracted)}",
                f"{dose_text(slope.saturates_added)} / {dose_text(slope.saturates_subtracted)}",
                MISSING if text is None else with_interval(text.slope),
                p_value(p_texts.get(slope.persona, np.nan)),
                _yes(beyond(text)) if text is not None and text.kind == "persona" else MISSING,
            )
        )
    return ShownTable(
        title="Slopes over doses and lengths",
        columns=(
            "persona",
            "side",
            "nats a norm",
            "p",
            "beyond nulls",
            "leaves nulls at +/−",
            "nine tenths at +/−",
            "nats a doubling",
            "p of text",
            "beyond fillers",
        ),
        rows=tuple(rows),
        note=f"n = {result.n} requests, intervals by request. p: against the control persona "
        f"{result.control}, after Holm over the personas of a column. " + _ranges(result),
    )


def _ranges(result: DoseResponse) -> str:
    told = [
        (slopes[0].null_range, name)
        for slopes, name in (
            (result.vectors, "one more random direction or vector with exchanged labels"),
            (result.texts, "one more neutral text of as many tokens"),
        )
        if slopes
    ]
    return " ".join(
        f"Slope of {name}: {span(*bounds)}." for bounds, name in told if bounds is not None
    )


def _limits(result: DoseResponse) -> tuple[str, ...]:
    return (
        f"Vectors were tried at layer {result.layer} alone.",
        "A vector fitted with exchanged labels is short by itself; it is lengthened to the dose "
        "like all others.",
        "A dose that does as much as a text is read off straight lines between doses that were "
        "tried, and does not cost the same.",
        *result.left_out,
    )


def _in_order(slopes: Sequence[DoseSlope]) -> list[DoseSlope]:
    kinds = ("persona", "control", "refusal", "random", "shuffled")
    return sorted(
        slopes, key=lambda s: (kinds.index(s.kind), side_order(s.group), s.slope.estimate)
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"


SHOWN = Shown(tell=tell, panels=panels)
"""Doses and lengths in words and figures."""
