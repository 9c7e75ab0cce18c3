"""What a study may claim: one list of statements, corrected together, each with its refutation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lens_personas.statistics import Interval, adjust


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One statement that the study would make if chance and controls do not explain it."""

    part: str
    """Part of the study it comes from; ``effects`` for the main table."""
    statement: str
    """What is claimed, in plain words, without numbers."""
    refuted_by: str
    """What would have refuted it."""
    n: int
    """Independent units behind it: requests, questions, personas."""
    estimate: Interval
    """The estimate, in ``unit``."""
    unit: str
    """Unit of the estimate, such as ``nats``."""
    control: Interval | None
    """What the estimate is held against; None where 0 is."""
    p: float
    """Two-sided p against the control, whatever was tried to get here accounted for."""
    beyond_nulls: bool
    """Whether the estimate is beyond what the nulls did, on its own side."""
    persona: str | None = None
    """Persona whose manipulation check has to pass; None where none has to."""
    vector: bool = False
    """Whether the persona was brought in by its vector, not as text."""
    p_corrected: float = 1.0
    """p after Holm over all claims of the study; set by :func:`headline`."""
    gate: bool | None = None
    """Whether the manipulation check passed; None where it was not made or is not needed."""
    holds: bool = False
    """Whether it is claimed; set by :func:`headline`."""

    def gated_out(self, alpha: float) -> bool:
        """Whether nothing but its persona's manipulation check keeps it from being claimed."""
        return self.gate is False and self.p_corrected < alpha and self.beyond_nulls


@dataclass(frozen=True, kw_only=True)
class Headline:
    """Everything the study tried to claim, and what of it holds."""

    claims: tuple[Claim, ...]
    """Every candidate, those that hold first."""
    alpha: float
    """Family-wise level over all of them."""

    @property
    def held(self) -> tuple[Claim, ...]:
        """The claims that hold."""
        return tuple(claim for claim in self.claims if claim.holds)


def headline(
    claims: Sequence[Claim],
    *,
    gates: Mapping[tuple[str, bool], bool] | None = None,
    alpha: float = 0.05,
    claimable: bool = True,
) -> Headline:
    """Holm over all candidates; one holds if also beyond its nulls and its persona's gate passes.

    Args:
        claims: The candidates of all parts.
        gates: Whether the manipulation check passed, by persona and whether it was a vector's;
            None where no check was made. A persona that is not in it has failed.
        alpha: Family-wise level.
        claimable: Whether anything may be claimed at all; not where the model refuses nothing.
    """
    corrected = adjust(np.array([claim.p for claim in claims], dtype=np.float64), method="holm")
    judged = [
        _judged(claim, float(p), gates, alpha if claimable else 0.0)
        for claim, p in zip(claims, corrected, strict=True)
    ]
    return Headline(claims=tuple(sorted(judged, key=lambda c: not c.holds)), alpha=alpha)


def _judged(
    claim: Claim, p: float, gates: Mapping[tuple[str, bool], bool] | None, alpha: float
) -> Claim:
    gate = None
    if claim.persona is not None and gates is not None:
        gate = gates.get((claim.persona, claim.vector), False)
    holds = p < alpha and claim.beyond_nulls and gate is not False
    return replace(claim, p_corrected=p, gate=gate, holds=holds)
