"""The part on Patchscopes, in words and figures."""

from analyses._panel import Panel, panel
from analyses._scope_types import CharityEffect
from analyses._shown import _patchscopes_figures as figures
from analyses._shown._patchscopes_figures import PLACES
from analyses._shown._patchscopes_tables import tables
from analyses._shown._types import Shown, Told
from analyses._words import (
    number,
    span,
)
from analyses.patchscopes import PatchscopeReadings, claim_place

_SECTION = "part-patchscopes"
_LEAST_MASS = 0.01


def tell(found: PatchscopeReadings) -> Told:
    """The part in words; of texts only counts and lengths."""
    return Told(answer=_answer(found), tables=tables(found), limits=_limits(found))


def panels(found: PatchscopeReadings) -> tuple[Panel, ...]:
    """The part's figures."""
    return (
        panel(
            "patchscopes-layers",
            _SECTION,
            "From which layer on does who asks change what the request looks like?",
            "Score of good against bad motives, from -1 to 1, minus that of the request alone, by "
            "the layer a state is taken from; bands are 95 % over requests, the mean over each "
            f"side's personas. Vectors are added at layer {found.steered_at}; below it nothing is "
            "changed.",
            "The control persona, and neutral texts or random directions of equal norm.",
            lambda theme: figures.readings_by_layer(found, theme=theme),
        ),
        panel(
            "patchscopes-personas",
            _SECTION,
            "Which users are read charitably?",
            "Change of the log-odds of good against bad motives by each persona's text, with 95 % "
            "interval over requests; the state before the request is one for all requests and has "
            "none.",
            "Dotted: the control persona's change; crosses: neutral texts.",
            lambda theme: figures.persona_dots(found, theme=theme),
        ),
        panel(
            "patchscopes-target",
            _SECTION,
            "Where do states have to be put to be read?",
            "Mean absolute difference of the personas' scores from the control's, on the requests "
            "kept for choosing, by the layer the state comes from and the one it is put in at.",
            "The setting with the largest gap is the one that is tested, on other requests.",
            lambda theme: figures.layer_heatmap(found, theme=theme),
        ),
        panel(
            "patchscopes-random",
            _SECTION,
            "Would any state of that length say as much?",
            "Mean score under each side's texts by source layer, last token's state.",
            "Bands: 95 % of random states of a state's norm, and of the mean state moved in a "
            "random direction as far as personas move it.",
            lambda theme: figures.random_states(found, theme=theme),
        ),
    )


def _answer(found: PatchscopeReadings) -> str:
    said = []
    for place, words in PLACES.items():
        sides = {side: _mean(found, place, side) for side in ("pro", "anti", "control")}
        if all(value == value for value in sides.values()):
            said.append(
                f"{words}: pro-social {number(sides['pro'])}, anti-social "
                f"{number(sides['anti'])}, control {number(sides['control'])}"
            )
    scores = "; ".join(said) or "no persona of an expected side was read"
    tested_at = claim_place(found) or "direct"
    tested = _personas(found, tested_at)
    beyond = [e for e in tested if e.p < 0.05 and e.beyond_nulls]
    agree = "; ".join(
        f"{PLACES[each.place]} {number(each.correlation.estimate)} "
        f"{span(each.correlation.low, each.correlation.high)}"
        for each in found.refusal
    )
    refusal = f" Rank correlation of charity with refusal over personas: {agree}." if agree else ""
    return (
        f"Mean score of good against bad motives (−1 to 1) under persona texts, {found.n} harmful "
        f"requests: {scores}. {len(beyond)} of {len(tested)} personas differ from the control "
        f"beyond neutral texts, {PLACES[tested_at]} (p below .05 before "
        f"correction).{refusal}"
    )


def _mean(found: PatchscopeReadings, place: str, side: str) -> float:
    scores = [
        e.score
        for e in found.effects
        if (e.place, e.treatment) == (place, "prompt")
        and ("control" if e.kind == "control" else e.group) == side
    ]
    return sum(scores) / len(scores) if scores else float("nan")


def _personas(found: PatchscopeReadings, place: str) -> list[CharityEffect]:
    return [
        e for e in found.effects if (e.kind, e.treatment, e.place) == ("persona", "prompt", place)
    ]


def _limits(found: PatchscopeReadings) -> tuple[str, ...]:
    limits = [
        "A Patchscope shows what a prompt makes of a state, not what the model itself uses it for; "
        "a reading asked outright is an answer, which safety tuning may have shaped."
    ]
    mass = float(found.by_request["mass"].astype(float).median())
    if not mass >= _LEAST_MASS:
        limits.append(
            f"The two words together have a median probability of {number(mass, 4)}: which of "
            "them is likelier says little."
        )
    if any(e.place == "before" for e in found.effects):
        limits.append(
            "The state before the request is the same for all requests: over requests it has no "
            "interval and no p."
        )
    failed = [PLACES[each.place] for each in found.harmless if not each.passes]
    if failed:
        limits.append(
            f"Harmful requests are not read as worse than harmless ones by {' or '.join(failed)}: "
            "what is shown there claims nothing."
        )
    if claim_place(found) is None:
        limits.append(
            "No reading tells harmful from harmless requests alone, so nothing is claimed of any."
        )
    if not found.refusal:
        limits.append("Refusal was not scored, so that charity has nothing to be held against.")
    return tuple(limits)


SHOWN = Shown[PatchscopeReadings](tell=tell, panels=panels)
