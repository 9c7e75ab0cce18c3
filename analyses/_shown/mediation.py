"""The part on what carries the effect, in words and figures."""

import pandas as pd

from analyses._panel import Panel, panel
from analyses._shown import _mediation_figures as figures
from analyses._shown._types import Shown, ShownTable, Told
from analyses._words import MISSING, SIDES, layer_name, number, p_value, span, with_interval
from analyses.mediation import HARM, PersonaMediation, SideContrast
from lens_personas.statistics import Interval

_SECTION = "part-mediation"


def tell(found: PersonaMediation) -> Told:
    """The part in words."""
    tables = (_contrasts(found), _movement(found), _paths(found))
    return Told(
        answer=_answer(found),
        tables=tuple(table for table in tables if table.rows),
        limits=_limits(found),
    )


def panels(found: PersonaMediation) -> tuple[Panel, ...]:
    """The part's figures."""
    held = f"layers {found.layers[0]} to {found.layers[-1]}" if found.layers else "no layer"
    return (
        panel(
            "mediation-forest",
            _SECTION,
            "What part of each persona's effect runs through what?",
            f"Whole effect against {found.control} on {found.n} harmful requests, and its part "
            f"through each mediator: held at the other text's value at {held}, both ways round.",
            "Crosses: equally long pushes along random directions. A part through the mediator "
            "that is no larger than theirs is none.",
            lambda theme: figures.path_forest(found, theme=theme),
        ),
        panel(
            "mediation-layers",
            _SECTION,
            "At which layer does refusal's direction begin to carry the difference?",
            "The projection on refusal at the last prompt token is set back to the control's at "
            "one layer alone; what is lost of the difference between anti- and pro-social users.",
            "Dotted: one random direction, pushed as far. Right of the dashed line an edit writes "
            "to the output itself: there it says little.",
            lambda theme: figures.single_layers(found, theme=theme),
        ),
        panel(
            "mediation-movement",
            _SECTION,
            "Do personas change what the request is taken for, or only the gate behind it?",
            "How far a side's texts move the residual from the control's: left along harmful less "
            "harmless at the end of the instruction, right along refusal at the last prompt token; "
            "1 is as far as a harmful lies from a harmless request.",
            "Grey: where one more neutral text would fall.",
            lambda theme: figures.movement_curves(found, theme=theme),
        ),
    )


def _answer(found: PersonaMediation) -> str:
    if not found.contrasts:
        return (
            f"The effects of {len({p.persona for p in found.paths})} personas against "
            f"{found.control} are split up below; they have no two sides to be compared."
        )
    first = found.contrasts[0]
    parts = "; ".join(
        f"through the {each.mediator} {with_interval(each.indirect)} (share "
        f"{_share(each.share)}; random directions {with_interval(each.random)}, "
        f"p {p_value(each.p)})"
        for each in found.contrasts
    )
    return (
        f"Anti-social users' requests score {with_interval(first.total)} nats above pro-social "
        f"users' (n = {first.n}, {first.n_personas} personas a side): {parts}. {_verdict(found)}"
    )


def _verdict(found: PersonaMediation) -> str:
    """Interpretation or late gate, from where readings leave the neutral texts behind."""
    harm = _outside(found, "harmfulness, end of instruction", found.harm_layer)
    refusal = _outside(found, "refusal, last prompt token", found.refusal_layer)
    if harm and refusal:
        return (
            "Both the reading of harm at the end of the instruction and the refusal read-out move "
            "further than neutral texts move them: interpretation changes, not the gate alone."
        )
    if refusal:
        return (
            "Only the refusal read-out moves further than neutral texts move it, the reading of "
            "harm does not: a gate behind the reading."
        )
    if harm:
        return (
            "The reading of harm moves further than neutral texts move it, while the refusal "
            f"read-out does not yet at layer {found.refusal_layer}."
        )
    return "Neither reading moves further than neutral texts move it."


def _outside(found: PersonaMediation, measure: str, layer: int) -> bool:
    """Whether a side's mean, with its interval, lies outside the neutral texts' range."""
    rows = found.movement[
        (found.movement["measure"] == measure)
        & (found.movement["layer"] == layer)
        & found.movement["group"].isin(["pro", "anti"])
    ]
    return bool(((rows["low"] > rows["null_high"]) | (rows["high"] < rows["null_low"])).any())


def _contrasts(found: PersonaMediation) -> ShownTable:
    return ShownTable(
        title="Anti-social less pro-social users, split up",
        columns=(
            "Through",
            "n",
            "Whole (nats)",
            "Part",
            "Random directions",
            "Part less random",
            "One more random",
            "Share",
            "p",
        ),
        rows=tuple(_contrast_row(each) for each in found.contrasts),
        note=(
            f"Every persona against {found.control}, paired by request; the part is the mean of "
            "setting the mediator back under the persona's text and putting it in under the "
            "control's."
        ),
    )


def _contrast_row(each: SideContrast) -> tuple[str, ...]:
    return (
        each.mediator,
        str(each.n),
        with_interval(each.total),
        with_interval(each.indirect),
        with_interval(each.random),
        with_interval(each.beyond_random),
        MISSING if each.null_range is None else span(*each.null_range),
        _share(each.share),
        p_value(each.p),
    )


def _movement(found: PersonaMediation) -> ShownTable:
    chosen = {"harmfulness, end of instruction": found.harm_layer}
    chosen["refusal, last prompt token"] = found.refusal_layer
    table = found.movement
    last = table["layer"].max() if len(table) else -1
    wanted = (table["layer"] == -1) | (table["layer"] == table["measure"].map(chosen))
    late = (table["layer"] == last) & (table["measure"] == "refusal, last prompt token")
    rows = tuple(
        (
            f"{row['measure']}{_at(int(row['layer']))}",
            SIDES.get(str(row["group"]), str(row["group"])),
            f"{number(float(row['estimate']), signed=True)} "
            f"{span(float(row['low']), float(row['high']))}",
            span(float(row["null_low"]), float(row["null_high"])),
            str(row["unit"]),
        )
        for row in table[wanted | late].to_dict(orient="records")
    )
    return ShownTable(
        title="Interpretation or late gate: how far texts move each reading from the control's",
        columns=("Reading", "Side", "Movement", "One more neutral text", "Unit"),
        rows=rows,
        note=f"n = {found.n} harmful requests; charitable reading {found.charity}.",
    )


def _at(layer: int) -> str:
    return "" if layer < 0 else f", layer {layer_name(layer)}"


def _paths(found: PersonaMediation) -> ShownTable:
    rows = tuple(
        (
            path.persona,
            SIDES.get(path.group, path.group),
            path.mediator,
            with_interval(path.total),
            with_interval(path.indirect),
            with_interval(path.direct),
            with_interval(path.random),
            _share(path.share),
            with_interval(path.observed.indirect),
            p_value(path.p_joint),
        )
        for path in found.paths
    )
    return ShownTable(
        title=f"Each persona against {found.control}, n = {found.n}",
        columns=(
            "Persona",
            "Side",
            "Through",
            "Whole (nats)",
            "Part, by patch",
            "Rest",
            "Random",
            "Share",
            "Part, by regression",
            "p, moves and goes with it",
        ),
        rows=rows,
        note=(
            "By patch: what setting the mediator does. By regression over requests: causal only "
            "if nothing else moves both; its p is not corrected over personas."
        ),
    )


def _share(share: Interval) -> str:
    # Without a whole effect there is no share of it.
    if pd.isna(share.low):
        return MISSING
    return with_interval(share, signed=False)


def _limits(found: PersonaMediation) -> tuple[str, ...]:
    out = [
        "A direction that is set to another text's value may carry other things along it; the "
        "part is that of the direction, not of what it is named after.",
        "Parts through several mediators overlap: they do not add up.",
        "Whether a request could cause harm was not asked of the model itself; "
        f"the {HARM} is a direction.",
    ]
    if not found.contrasts:
        out.append("Nothing can be claimed of sides: one of the two has no persona.")
    if not any(path.mediator == "charitable reading" for path in found.paths):
        out.append(f"The charitable reading was {found.charity}.")
    return tuple(out)


SHOWN = Shown(tell=tell, panels=panels)
