"""The part on the circuit of the persona's effect, in words and figures."""

import pandas as pd

from analyses._panel import Panel, panel
from analyses._shown import _persona_circuit_figures as figures
from analyses._shown._persona_circuit_tables import (
    checks_table,
    direct_table,
    edges_table,
    heads_table,
    neutral_table,
    refusal_table,
)
from analyses._shown._persona_circuit_words import refusal_row, share_of, side, users_of
from analyses._shown._types import Shown, Told
from analyses._words import number, p_value, percent, with_interval
from analyses.persona_circuit import (
    SHARE,
    SPREAD,
    Carried,
    CircuitCheck,
    PersonaCircuit,
    has_effect,
)

_SECTION = "part-persona-circuit"


def tell(found: PersonaCircuit) -> Told:
    """The part in words."""
    tables = (
        checks_table(found),
        refusal_table(found),
        heads_table(found),
        edges_table(found),
        direct_table(found),
    )
    return Told(
        answer=_answer(found),
        tables=tuple(table for table in (*tables, neutral_table(found)) if table.rows),
        limits=_limits(found),
    )


def panels(found: PersonaCircuit) -> tuple[Panel, ...]:
    """The part's figures."""
    first, second = (side(each) for each in found.sides)
    # Of no difference there are no shares.
    out = _of_shares(found) if has_effect(found) else []
    if len(found.heads):
        out.append(
            panel(
                "persona-circuit-heads",
                _SECTION,
                "Which heads read, at the end of the prompt, what is said of the user?",
                "Left, share of a head's attention that goes there, less the same under "
                f"{found.control}; right, what it carries from there along the refusal "
                f"direction, {first} less {second} users; 1 is as far as a harmful lies from a "
                "harmless request.",
                "Dots: heads whose value chance does not explain, over all heads at once (p < "
                ".05). A head may look without moving anything.",
                lambda theme: figures.head_maps(found, theme=theme),
            )
        )
    if len(found.components):
        out.append(
            panel(
                "persona-circuit-direct",
                _SECTION,
                "Which parts write the difference to the logits?",
                f"Share of each part in the refusal score, {first} less {second} users, with the "
                f"final norm's scale held; with the {SPREAD} they make up the difference.",
                "Hollow: within chance, over all parts at once.",
                lambda theme: figures.direct_bars(found, theme=theme),
            )
        )
    if len(found.refusal):
        out.append(
            panel(
                "persona-circuit-refusal",
                _SECTION,
                "Does refusal as such survive where the circuit is cut?",
                f"Refusal score with the {found.cut_size} edges carrying what they carry under "
                f"{found.control}'s text, whoever asks.",
                "Right: random circuits of as many edges are cut in the same way.",
                lambda theme: figures.refusal_dots(found, theme=theme),
            )
        )
    return tuple(out)


def _of_shares(found: PersonaCircuit) -> list[Panel]:
    """Figures of what part of the difference runs where."""
    first, second = (side(each) for each in found.sides)
    return [
        panel(
            "persona-circuit-size",
            _SECTION,
            "How many edges carry the difference, and how many does it hang on?",
            f"Left, what circuits keep of the difference between {first} and {second} users by "
            "themselves; right, what is left of it where they are cut. Edges are taken in the "
            "order of their attribution, on other requests and users.",
            "Grey: random circuits of as many edges, all on ways from the embedding to the "
            f"logits. Upright: the sizes chosen for {percent(SHARE)} on requests of their own.",
            lambda theme: figures.size_curves(found, theme=theme),
        ),
        panel(
            "persona-circuit-diagram",
            _SECTION,
            "Which parts tell which what about the user?",
            "The embedding below, the logits on top; width by the size of an edge's attribution, "
            f"solid where it speaks for {first} users being refused more. The strongest edges of "
            "the circuit alone are drawn.",
            "Attribution only orders the edges: what they do is measured by running them, above.",
            lambda theme: figures.diagram(found, theme=theme),
        ),
    ]


def _answer(found: PersonaCircuit) -> str:
    check = found.check
    first, second = (side(each) for each in found.sides)
    whole = (
        f"{first.capitalize()} users' requests score {with_interval(check.total)} nats "
        f"above {second} users' (n = {check.n}, {users_of(check)}; {_neutral_words(found)})"
    )
    if not has_effect(found):
        return f"{whole}: there is no difference for a circuit to carry."
    random = found.curve[found.curve["cut"] & (found.curve["size"] == found.cut_size)]["random"]
    left = 1.0 - check.cut.share.estimate
    return (
        f"{whole}. {found.size} of the model's {found.n_edges} edges keep "
        f"{share_of(check.alone)} of it by themselves ({_random(check, check.alone)}); cutting the "
        f"{found.cut_size} strongest inside the model leaves {percent(left)} of it"
        f"{_beside(random)}. {_as_such(found)}"
    ).strip()


def _neutral_words(found: PersonaCircuit) -> str:
    if found.neutral_range is None:
        return "no neutral texts to hold it against"
    return f"two neutral texts differ by up to {number(found.neutral_range[1])}"


def _random(check: CircuitCheck, carried: Carried) -> str:
    share = carried.random.estimate / check.total.estimate
    return f"random circuits of as many {percent(share)}, p {p_value(carried.p)}"


def _beside(random: pd.Series) -> str:
    return f", as many random ones {percent(float(random.iloc[0]))}" if len(random) else ""


def _as_such(found: PersonaCircuit) -> str:
    """Whether the model still tells harmful from harmless requests with the circuit cut."""
    whole, cut = (refusal_row(found, circuit, "as such") for circuit in ("whole", "cut"))
    if whole is None or cut is None:
        return ""
    return (
        f"Harmful requests then still score {with_interval(cut)} nats above harmless ones "
        f"(uncut {with_interval(whole)})."
    )


def _limits(found: PersonaCircuit) -> tuple[str, ...]:
    out = [
        "A circuit says where the difference runs, at the grain of heads and MLPs and of all "
        "positions together; not what is computed there.",
        "The edges are ordered one by one: a smaller circuit may exist.",
        "Edges outside the circuit carry what they do for the other user, not nothing: what both "
        "users have in common is never taken away.",
    ]
    if found.check.personas == "seen":
        out.append("There was but one pair of users: no claim goes beyond them.")
    if found.left_out:
        out.append(f"Left out, for texts of unequal length: {'; '.join(found.left_out)}.")
    return tuple(out)


SHOWN = Shown(tell=tell, panels=panels)
