"""Names that tables and figures of a persona's circuit share."""

import pandas as pd

from analyses._words import SIDES, percent
from analyses.persona_circuit import Carried, CircuitCheck, PersonaCircuit
from lens_personas.statistics import Interval


def side(name: str) -> str:
    """A side in words.

    >>> side("anti")
    'anti-social'

    """
    return SIDES.get(name, name)


def circuit_names(found: PersonaCircuit) -> dict[str, str]:
    """Runs of :attr:`PersonaCircuit.refusal` in words."""
    return {
        "whole": "whole model",
        "cut": f"{found.cut_size} edges cut",
        "random cut": f"{found.cut_size} random edges cut",
    }


def refusal_row(found: PersonaCircuit, circuit: str, measure: str) -> Interval | None:
    """One number of :attr:`PersonaCircuit.refusal`; None where there is none."""
    table = found.refusal
    if not len(table):
        return None
    rows = table[(table["circuit"] == circuit) & (table["measure"] == measure)]
    if not len(rows):
        return None
    estimate, low, high = rows.iloc[0][["estimate", "low", "high"]]
    return Interval(estimate=float(estimate), low=float(low), high=float(high), level=0.95)


def users_of(check: CircuitCheck) -> str:
    """Which users a check was made on."""
    return "held-out users" if check.personas == "held out" else "users it was found on"


def share_of(carried: Carried) -> str:
    """Share of the whole difference, with its interval where there is one."""
    if pd.isna(carried.share.low):
        return percent(carried.share.estimate)
    ends = f"[{percent(carried.share.low)}, {percent(carried.share.high)}]"
    return f"{percent(carried.share.estimate)} {ends}"
