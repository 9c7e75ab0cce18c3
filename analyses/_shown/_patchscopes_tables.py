"""The tables of the part on Patchscopes."""

from analyses._scope_types import CharityEffect
from analyses._shown._patchscopes_figures import PLACES
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
from analyses.patchscopes import PatchscopeReadings, claim_place
from lens_personas.statistics import Interval


def tables(found: PatchscopeReadings) -> tuple[ShownTable, ...]:
    """The tables that have rows, personas first; of texts only counts and lengths."""
    each = (_people(found), _settings(found), _controls(found), _effects(found), _texts(found))
    return tuple(table for table in each if table.rows)


def _people(found: PatchscopeReadings) -> ShownTable:
    """One row a persona, as text: what each place says beside the control."""
    by_arm = {(e.persona, e.place): e for e in found.effects if e.treatment == "prompt"}
    rows = []
    at = claim_place(found) or "direct"
    tested = PLACES[at]
    for (persona, place), last in by_arm.items():
        if place != at or last.kind == "null":
            continue
        each = {other: by_arm.get((persona, other)) for other in PLACES}
        rows.append(
            (
                persona,
                SIDES.get(last.group, last.group),
                *(
                    MISSING if (e := each[other]) is None else with_interval(_shown(e))
                    for other in PLACES
                ),
                MISSING if last.null_range is None else span(*last.null_range),
                p_value(last.p),
            )
        )
    return ShownTable(
        title=f"Charity under each persona's text, {found.n} harmful requests",
        columns=(
            "Who",
            "Side",
            *(words.capitalize() for words in PLACES.values()),
            f"One more null, {tested}",
            f"p, {tested}",
        ),
        rows=tuple(rows),
        note="Log-odds of good against bad motives (nats) minus the control persona's, paired by "
        "request, with 95 % interval; for the control itself, minus the request alone. p: sign "
        "flips of requests, not corrected.",
    )


def _shown(effect: CharityEffect) -> Interval:
    return effect.change if effect.kind == "control" else effect.difference


def _effects(found: PatchscopeReadings) -> ShownTable:
    order = {"control": 0, "persona": 1, "null": 2}
    shown = sorted(
        (e for e in found.effects if e.kind in order),
        key=lambda e: (
            list(TREATMENTS).index(e.treatment),
            list(PLACES).index(e.place),
            order[e.kind],
        ),
    )
    rows = tuple(
        (
            e.persona,
            "null" if e.kind == "null" else SIDES.get(e.group, e.group),
            TREATMENTS[e.treatment],
            PLACES[e.place],
            MISSING if e.source_layer is None else str(e.source_layer),
            number(e.score),
            with_interval(e.change),
            with_interval(e.difference),
            MISSING if e.other_request is None else with_interval(e.other_request),
            MISSING if e.null_range is None else span(*e.null_range),
            MISSING if e.place == "before" else p_value(e.p),
        )
        for e in shown
    )
    return ShownTable(
        title="Every arm, treatment and reading",
        columns=(
            "Who",
            "Side",
            "Treatment",
            "Reading",
            "Source layer",
            "Score",
            "Change [95 %]",
            "Minus control [95 %]",
            "Control of another request",
            "One more null",
            "p",
        ),
        rows=rows,
        note="Score: p(good) − p(bad) over their sum after the text "
        f"“{found.asked}”. Changes and differences are log-odds in nats. “Control of another "
        "request” takes the control's state from a request that was not asked: what belongs to "
        "the persona stays. p: sign flips of requests, not corrected.",
    )


def _settings(found: PatchscopeReadings) -> ShownTable:
    rows = tuple(
        (
            PLACES[s.place],
            s.target,
            str(s.source_layer),
            str(s.target_layer),
            f"{s.scale:g}",
            number(s.gap, 3),
            str(s.paper_layer),
            number(s.paper_gap, 3),
        )
        for s in found.settings
    )
    return ShownTable(
        title="Settings chosen on the layer split",
        columns=(
            "State",
            "Put into",
            "Source layer",
            "Target layer",
            "Deviation taken",
            "Gap",
            "Paper's target layer",
            "Gap there, states as they are",
        ),
        rows=rows,
        note="Gap: mean absolute difference of the personas' scores from the control's.",
    )


def _controls(found: PatchscopeReadings) -> ShownTable:
    gaps = {each.place: each.gap for each in found.harmless}
    by_place = {each.place: each for each in found.requests}
    rows = []
    for place, words in PLACES.items():
        request, gap = by_place.get(place), gaps.get(place)
        if request is None and gap is None:
            continue
        rows.append(
            (
                words,
                MISSING if gap is None else with_interval(gap),
                MISSING if request is None else number(request.agreement),
                MISSING
                if request is None
                else f"{number(request.agreement_other)} "
                f"(97.5 %: {number(request.agreement_other_high)})",
                MISSING if request is None else percent(request.persona_share),
                MISSING if request is None else percent(request.request_share),
            )
        )
    return ShownTable(
        title="Does the reading read the request at all?",
        columns=(
            "Reading",
            "Harmful − harmless [95 %]",
            "Agreement on the request",
            "With another request",
            "Variance between personas",
            "Between requests",
        ),
        rows=tuple(rows),
        note="Log-odds in nats of requests alone; agreement is the correlation over requests of "
        "one persona's reading with the others', which must vanish with another request's.",
    )


def _texts(found: PatchscopeReadings) -> ShownTable:
    summary = [] if found.texts is None else found.texts.summary.to_dict(orient="records")
    rows = tuple(
        (
            PLACES[row["place"]],
            str(row["asked"]),
            "request alone" if row["group"] == "none" else SIDES.get(row["group"], row["group"]),
            str(int(row["n"])),
            str(int(row["n_distinct"])),
            number(float(row["n_tokens"]), 1),
            percent(float(row["degenerate"])),
        )
        for row in summary
    )
    return ShownTable(
        title="What was written of the states, without the text",
        columns=("State", "Asked", "Side", "Texts", "Different", "Tokens", "Degenerate"),
        rows=rows,
        note="The texts are kept with the run; none is shown, since what a model writes of a "
        "harmful request may be harmful.",
    )
