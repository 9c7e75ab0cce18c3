"""Tables of the part on the circuit of the persona's effect."""

import pandas as pd

from analyses._shown._persona_circuit_words import (
    circuit_names,
    refusal_row,
    side,
    users_of,
)
from analyses._shown._types import ShownTable
from analyses._words import MISSING, number, p_value, percent, span, with_interval
from analyses.persona_circuit import SPREAD, PersonaCircuit, has_effect
from lens_personas.statistics import Interval

_MOST_ROWS = 12


def checks_table(found: PersonaCircuit) -> ShownTable:
    """What both circuits do on the test requests, beside random ones."""
    rows = [
        (
            f"{check.personas}, {what}",
            str(check.n),
            str(size),
            with_interval(check.total),
            with_interval(carried.found),
            percent(carried.share.estimate) if has_effect(found) else MISSING,
            with_interval(carried.random),
            MISSING if carried.random_range is None else span(*carried.random_range),
            p_value(carried.p),
        )
        for check in found.checks
        for what, size, carried in (
            ("kept alone", found.size, check.alone),
            ("lost if cut", found.cut_size, check.cut),
        )
    ]
    return ShownTable(
        title="The circuit on requests it was neither found nor sized on",
        columns=(
            "Users",
            "n",
            "Edges",
            "Whole (nats)",
            "Moved",
            "Share",
            "Random circuits",
            "One more random",
            "p",
        ),
        rows=tuple(rows),
        note=(
            f"Found on {found.n_found} requests; {found.live} of the {found.size} edges lie on a "
            "way from the embedding to the logits. Users: "
            + "; ".join(f"{users_of(c)}, {', '.join(c.pairs)}" for c in found.checks)
            + "."
        ),
    )


def refusal_table(found: PersonaCircuit) -> ShownTable:
    """Scores of harmful and harmless requests with the circuit cut."""
    wide = found.refusal
    measures = {
        found.sides[0]: f"{side(found.sides[0])}, harmful",
        found.sides[1]: f"{side(found.sides[1])}, harmful",
        "harmless": "harmless",
        "difference": "difference of the sides",
        "as such": "harmful less harmless",
    }
    names = circuit_names(found)
    rows = [
        (names[circuit], *(_interval_cell(refusal_row(found, circuit, m)) for m in measures))
        for circuit in (dict.fromkeys(wide["circuit"]) if len(wide) else ())
    ]
    return ShownTable(
        title="Refusal as such, with the circuit carrying what it does under the control",
        columns=("Run", *measures.values()),
        rows=tuple(rows),
        note=f"Refusal score in nats; the control's text ({found.control}) stands for whoever asks "
        "in the edges that are cut, and nowhere else.",
    )


def _interval_cell(found: Interval | None) -> str:
    return MISSING if found is None else with_interval(found)


def heads_table(found: PersonaCircuit) -> ShownTable:
    """Heads that look at what is said of the user, and what they carry."""
    order = found.heads["mass_difference"].abs() if len(found.heads) else pd.Series(dtype=float)
    written = found.heads["written"].abs() if len(found.heads) else order
    chosen = list(dict.fromkeys([*_top(written), *_top(order)]))
    rows = [
        (
            f"{int(row['layer'])}.{int(row['head'])}",
            f"{percent(row['mass'])}",
            f"{percent(row['control_mass'])}",
            f"{number(row['mass_difference'], 3, signed=True)} "
            f"{span(row['mass_low'], row['mass_high'], 3)}",
            p_value(row["mass_p"]),
            f"{number(row['written'], 3, signed=True)} "
            f"{span(row['written_low'], row['written_high'], 3)}",
            p_value(row["written_p"]),
            str(int(row["edges"])),
        )
        for row in found.heads.loc[chosen].to_dict(orient="records")
    ]
    return ShownTable(
        title="Heads that read what is said of the user from the end of the prompt",
        columns=(
            "Head",
            "Attention there",
            f"under {found.control}",
            "Difference",
            "p",
            "Carried along refusal",
            "p",
            "Edges in the circuit",
        ),
        rows=tuple(rows),
        note="The heads that carry most, and those whose attention differs most; p over all heads "
        "at once. Carried: the first side less the second, in lengths of the refusal direction.",
    )


def _top(values: pd.Series, n: int = 4) -> list[int]:
    return [int(at) for at in values.sort_values(ascending=False, kind="stable").index[:n]]


def edges_table(found: PersonaCircuit) -> ShownTable:
    """The strongest edges by attribution."""
    rows = [
        (
            str(row["rank"]),
            f"{row['source']} → {row['target']}",
            f"{number(row['score'], signed=True)} {span(row['low'], row['high'])}",
            "yes" if row["necessary"] else "no",
        )
        for row in found.edges.head(_MOST_ROWS).to_dict(orient="records")
    ]
    return ShownTable(
        title="The strongest edges, by attribution",
        columns=("Rank", "Edge", "Foretold (nats)", "Cut"),
        rows=tuple(rows),
        note="Integrated gradients along the way from one user's words to the other's; an edge of "
        "the embedding is never cut.",
    )


def direct_table(found: PersonaCircuit) -> ShownTable:
    """Direct shares of the parts."""
    rows = [
        (
            str(row["component"]),
            f"{number(row['estimate'], signed=True)} {span(row['low'], row['high'])}",
            p_value(row["p"]),
        )
        for row in found.components.head(_MOST_ROWS).to_dict(orient="records")
    ]
    return ShownTable(
        title="Parts that write the difference to the logits",
        columns=("Part", "Direct share (nats)", "p"),
        rows=tuple(rows),
        note="They add up to the difference, with the final norm's scale and the tokens' weights "
        "held at each run's own; how evenly answers that are no refusal share their rest "
        f"(“{SPREAD}”) is no part's. p over all at once.",
    )


def neutral_table(found: PersonaCircuit) -> ShownTable:
    """Differences between neutral texts."""
    rows = [
        (
            str(row["pair"]),
            f"{number(row['estimate'], signed=True)} {span(row['low'], row['high'])}",
            number(row["kept"], signed=True),
        )
        for row in found.neutral.to_dict(orient="records")
    ]
    return ShownTable(
        title="The same between two neutral texts",
        columns=("Texts", "Difference (nats)", "Kept by the circuit"),
        rows=tuple(rows),
    )
