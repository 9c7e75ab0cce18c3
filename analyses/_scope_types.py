"""What Patchscope readings come to: settings, effects, controls."""

from dataclasses import dataclass
from typing import Literal

from analyses.scores import Kind
from lens_personas.statistics import Correlation, Interval

Place = Literal["last", "before", "direct"]
"""State of the last prompt token, or of the token before the request, put into another prompt; or
no patch: the model is asked after the request."""


@dataclass(frozen=True, kw_only=True)
class ScopeSetting:
    """How the states of one place are read, chosen on the layer split."""

    place: Place
    """Where the states come from."""
    target: str
    """Prompt that they are put into."""
    target_layer: int
    """Block whose output they replace."""
    scale: float
    """How often their deviation from the mean state is taken; 1 leaves them as they are."""
    source_layer: int
    """Block they come from where an effect is tested."""
    gap: float
    """Mean over personas of the absolute difference of their score from the control's, there."""
    paper_layer: int
    """Target layer at the paper's share of the depth (3 of 40)."""
    paper_gap: float
    """The same gap at that layer, states as they are, at the best source layer."""


@dataclass(frozen=True, kw_only=True)
class CharityEffect:
    """How one arm changes the reading of the requests."""

    persona: str
    """Name of the persona, control or null."""
    group: str
    """Side it was expected to take."""
    kind: Kind
    """What it stands for."""
    treatment: str
    """``prompt``, ``plus`` or ``minus``."""
    place: Place
    """Where the reading comes from."""
    source_layer: int | None
    """Block of the state; None without a patch."""
    n: int
    """Harmful test requests."""
    score: float
    """Mean score, in [-1, 1]; 1 is charitable."""
    change: Interval
    """Log-odds minus those of the request alone, in nats."""
    difference: Interval
    """Log-odds minus the control's under the same treatment, paired by request, in nats."""
    control: Interval
    """The control's change."""
    other_request: Interval | None
    """The difference with the control's state taken from another request; None without a state
    of the request."""
    p: float
    """Two-sided sign-flip p of the difference; of the change for the control itself. 1 for nulls,
    and where the state has not seen the request, since requests are then no replicates."""
    null_range: tuple[float, float] | None
    """Where the difference of one more null would fall (95 %), no narrower than what they did."""

    @property
    def beyond_nulls(self) -> bool:
        """Whether the difference leaves the nulls' behind on its side; True without nulls."""
        if self.null_range is None:
            return True
        low, high = self.null_range
        estimate = self.difference.estimate
        return estimate < low if estimate < 0 else estimate > high


@dataclass(frozen=True, kw_only=True)
class RequestEffect:
    """What of the readings under persona texts belongs to the request."""

    place: Place
    """Where the reading comes from."""
    agreement: float
    """Mean over personas of the correlation, over requests, of a persona's reading with the mean
    of the others' of the same request."""
    agreement_other: float
    """The same with the others' reading of another request, mean over random pairings; it has to
    be about 0."""
    agreement_other_high: float
    """What 97.5 % of those pairings stay below."""
    persona_share: float
    """Share of the variance of the log-odds that lies between personas."""
    request_share: float
    """Share that lies between requests."""


@dataclass(frozen=True, kw_only=True)
class RefusalCorrelation:
    """Whether personas that make requests look better are refused less."""

    place: Place
    """Where the reading comes from."""
    correlation: Correlation
    """Rank correlation over personas, as text, of change in charity and change in refusal."""


@dataclass(frozen=True, kw_only=True)
class HarmlessGap:
    """Whether the reading tells harmful requests from harmless ones: its positive control."""

    place: Place
    """Where the reading comes from."""
    gap: Interval
    """Log-odds of harmful minus harmless requests alone, in nats."""

    @property
    def passes(self) -> bool:
        """Whether harmful requests are read as worse, the whole interval below 0."""
        return self.gap.high < 0

    @property
    def sharpness(self) -> float:
        """Size of the gap in half-widths of its interval; 0 where it does not pass."""
        return 2 * abs(self.gap.estimate) / (self.gap.high - self.gap.low) if self.passes else 0.0
