"""Numbers, names and order of a study's results as a reader sees them."""

import math
from collections.abc import Iterable

from analyses.claims import Headline
from analyses.persona_effects import Effect, PersonaEffects
from analyses.scores import Outcome
from lens_personas.statistics import Interval

MISSING = "–"
"""Stands where a number is undefined."""

GROUPS = ("pro", "anti", "other", "control")
"""Sides in the order they are shown."""

TREATMENTS = {
    "prompt": "as text",
    "plus": "+ vector",
    "minus": "− vector",
    "ablate": "removed",
}
"""Treatments in the order they are shown, with their short names."""

SIDES = {"pro": "pro-social", "anti": "anti-social", "other": "other", "control": "control"}
"""Sides in words."""

CHANGE_OF = {
    "refusal_score": "Change of refusal log-odds (nats)",
    "answered": "Change of the share answered",
}
"""What an estimate is, by outcome."""


def number(value: float, digits: int = 2, *, signed: bool = False) -> str:
    """The number with a true minus sign; a dash where it is undefined.

    >>> number(-0.314), number(2.0, signed=True), number(float("nan"))
    ('−0.31', '+2.00', '–')

    """
    if not math.isfinite(value):
        return MISSING
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    # A negative number that rounds to zero has no sign.
    if not text.strip("+-0."):
        text = text.lstrip("+-")
    return text.replace("-", "−")


def span(low: float, high: float, digits: int = 2) -> str:
    """An interval in brackets; a dash where it is undefined."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return MISSING
    return f"[{number(low, digits)}, {number(high, digits)}]"


def with_interval(interval: Interval, *, signed: bool = True) -> str:
    """An estimate followed by its interval."""
    return f"{number(interval.estimate, signed=signed)} {span(interval.low, interval.high)}"


def p_value(p: float) -> str:
    """A p value to two significant places.

    >>> p_value(0.0312), p_value(0.00001), p_value(1.0)
    ('.031', '< .001', '1.00')

    """
    if not math.isfinite(p):
        return MISSING
    if p < 0.001:
        return "< .001"
    return f"{p:.3f}"[1:] if p < 0.1 else f"{p:.2f}".removeprefix("0")


def percent(share: float) -> str:
    """A share as whole percent, with a true minus sign.

    >>> percent(-0.001), percent(-0.5)
    ('0 %', '−50 %')

    """
    return f"{number(100 * share, 0)} %" if math.isfinite(share) else MISSING


def layer_name(layer: int | None) -> str:
    """A layer's number; a dash where nothing in the model was edited."""
    return MISSING if layer is None or layer < 0 else str(layer)


def finding(effect: Effect) -> str:
    """One word for what the numbers allow to say."""
    if effect.kind in ("control", "null"):
        return effect.kind
    return "found" if effect.claim else "not shown"


def gate_failed(effect: Effect, headline: Headline) -> bool:
    """Whether the persona's manipulation check was made and failed, for this way of bringing it in.

    Such an effect is in no headline.
    """
    vector = effect.treatment != "prompt"
    return any(
        claim.gate is False and (claim.persona, claim.vector) == (effect.persona, vector)
        for claim in headline.claims
    )


def held_against(effects: PersonaEffects, treatment: str, control: str) -> str:
    """What an effect stands beside: the control persona, or the nulls where it has no such arm."""
    has_control = any(e.kind == "control" and e.treatment == treatment for e in effects.effects)
    return control if has_control else "mean of the nulls"


def direction(outcome: Outcome) -> tuple[str, str]:
    """What a negative and what a positive change means."""
    if outcome == "refusal_score":
        return "refuses less", "refuses more"
    return "answers less", "answers more"


def in_order(effects: Iterable[Effect]) -> list[Effect]:
    """Effects by kind, side, persona as given, and treatment."""
    listed = list(effects)
    seen = {name: at for at, name in reversed(list(enumerate(e.persona for e in listed)))}
    kinds = ("persona", "control", "null", "refusal")
    treatments = list(TREATMENTS)
    return sorted(
        listed,
        key=lambda e: (
            kinds.index(e.kind),
            GROUPS.index(e.group) if e.group in GROUPS else len(GROUPS),
            seen[e.persona],
            treatments.index(e.treatment),
        ),
    )
