"""How much text, how long a vector, and at what cost elsewhere?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from analyses._dose_grid import DoseGrid, dose_grids
from lens_personas.statistics import Interval, null_range, paired_bootstrap, sign_flip

DoseKind = Literal["persona", "control", "refusal", "random", "shuffled", "filler", "none"]
"""What an arm stands for: a persona, the control persona, a refusal vector, a random direction,
a persona's vector fitted with its labels exchanged, neutral text of as many tokens, or nothing."""

NULL_KINDS: Final[tuple[DoseKind, ...]] = ("random", "shuffled", "filler")
"""Kinds that nothing should come of."""

KL_BOUND: Final = 0.1
"""KL on harmless requests, nats, up to which an edit counts as harmless: the filter of Arditi et
al. (https://arxiv.org/abs/2406.11717)."""

_Ranges = Mapping[float, tuple[float, float]]

_SATURATED = 0.9
"""Share of the farthest effect that counts as reaching it."""


@dataclass(frozen=True, kw_only=True)
class DoseSlope:
    """How far refusal moves with the dose of one vector, or with the length of one text."""

    persona: str
    """Persona, refusal vector or null."""
    group: str
    """Side the persona was expected to take."""
    kind: DoseKind
    """What it stands for."""
    n: int
    """Requests."""
    slope: Interval
    """Least squares by request, then averaged: nats of refusal log-odds a residual norm (vector),
    or a doubling of the number of statements (text). For a vector within the study's dose on
    either side, 0 being the request alone, so that what ±v have in common drops out."""
    control: Interval | None
    """The control persona's slope; None where it was not run."""
    difference: Interval
    """Slope less the control's, paired by request; the control's own against 0."""
    p: float
    """Two-sided sign-flip p of the difference; 1 where there is no control."""
    null_range: tuple[float, float] | None
    """Where the slope of one more null would fall: 95 % prediction interval, around 0 for vectors,
    no narrower than what the nulls did; None without any."""
    monotone: float
    """Share of steps, from the lowest dose or length to the highest, that go the slope's way."""
    leaves_added: float | None = None
    """Smallest dose tried at which the added vector's mean leaves what nulls of that dose do;
    None where none does, and for text."""
    leaves_subtracted: float | None = None
    """The same for the vector subtracted, as a positive dose."""
    saturates_added: float | None = None
    """Smallest dose tried at which the added vector does nine tenths of the most that it does at
    any dose; the largest one where it does not saturate. None for text."""
    saturates_subtracted: float | None = None
    """The same for the vector subtracted, as a positive dose."""


@dataclass(frozen=True, kw_only=True)
class DoseMatch:
    """A persona's whole text beside its vector."""

    persona: str
    """Persona."""
    group: str
    """Side it was expected to take."""
    kind: DoseKind
    """``persona`` or ``control``."""
    statements: int
    """Statements in the text."""
    n: int
    """Requests."""
    text: Interval
    """Change of the refusal log-odds by the text, nats."""
    equal_dose: Interval | None
    """Dose of the added vector that does as much, residual norms, by straight lines between the
    doses; a bound is NaN where it is beyond the largest dose. None where the estimate is."""
    in_range: float
    """Share of bootstrap resamples in which a dose tried does as much."""
    text_kl: float
    """Mean KL of the text on harmless requests, nats; NaN without any."""
    filler_kl: float
    """Largest mean KL there by a neutral text of as many tokens; NaN without any."""
    bounded_dose: float | None
    """Largest dose tried up to which the added vector's mean KL there stays within ``filler_kl``
    or :data:`KL_BOUND`, whichever is larger; None where no dose does."""
    bounded: Interval | None
    """Change of the refusal log-odds by the vector at that dose, nats."""
    text_less_bounded: Interval | None
    """Change by the text less that, paired by request."""


@dataclass(frozen=True, kw_only=True)
class DoseResponse:
    """How refusal hangs on the dose of vectors and the length of texts, and what else they do."""

    n: int
    """Harmful test requests."""
    n_harmless: int
    """Harmless requests that side effects are measured on."""
    layer: int
    """Block whose output vectors are added to."""
    study_dose: float
    """Dose of the rest of the study, residual norms: slopes are taken within it."""
    doses: tuple[float, ...]
    """Residual norms tried, each added and subtracted."""
    lengths: tuple[int, ...]
    """Numbers of statements tried."""
    control: str
    """Name of the control persona."""
    vectors: tuple[DoseSlope, ...]
    """Slope over doses of every vector."""
    texts: tuple[DoseSlope, ...]
    """Slope over lengths of every text; empty where fewer than two lengths fit."""
    matches: tuple[DoseMatch, ...]
    """Prompting beside steering, for every persona and the control."""
    by_dose: pd.DataFrame
    """One row a vector and dose: ``persona, group, kind, dose``; mean ``change`` (nats) with
    bootstrap interval (``low, high``); ``null_low, null_high``, range of the nulls at that dose;
    ``kl``, mean KL(alone ‖ steered) on harmless requests in nats with interval (``kl_low,
    kl_high``)."""
    by_length: pd.DataFrame
    """One row a text and length: ``persona, group, kind, statements, full``; ``tokens``, mean
    tokens added to the prompt; ``change, low, high`` and ``kl`` as in ``by_dose`` (KL of full
    texts alone, else NaN); ``null_low, null_high``, range of the fillers of that length;
    ``equal_dose``, dose of the added vector that does as much (NaN beyond those tried)."""
    written: pd.DataFrame | None
    """One row a sampled arm, dose and kind of request: ``persona, group, kind``; ``treatment``
    (``baseline``, ``prompt`` or ``dose``), ``dose`` (0 but for vectors), ``harmful``, ``n``;
    share ``answered`` by the judge with Wilson interval (``low, high``), ``degenerate`` share,
    ``known``, share of requests with a known answer whose answer holds it whole (NaN without
    any); ``perplexity``, median of the answers under the plain model after the request alone,
    and ``empty``, share without a token. None where no answers were written."""
    sampled: tuple[str, ...]
    """Arms whose answers were written."""
    left_out: tuple[str, ...]
    """What was not run, and why, in sentences."""
    by_request: pd.DataFrame
    """One row an arm and request: ``persona, kind, treatment`` (``prompt`` or ``dose``),
    ``dose, statements, prompt_id, harmful, change, kl``; NaN where not measured."""


def dose_slopes(
    steered: pd.DataFrame, *, control: str, within: float, rng: np.random.Generator
) -> tuple[DoseSlope, ...]:
    """How refusal follows the dose of each vector.

    Args:
        steered: Columns ``persona, group, kind, dose, prompt_id, change``: residual norms, below
            0 where subtracted, and nats; every arm on the same requests.
        control: Name of the control persona.
        within: Largest dose that slopes are taken from; the smallest one where all are larger.
        rng: Source of every draw.
    """
    # The request alone is dose 0 of every vector.
    grids = {name: grid.with_zero() for name, grid in dose_grids(steered, "dose").items()}
    reach = max(within, float(steered["dose"].abs().min())) + 1e-9
    inner = {n: grid.at(at for at in grid.levels if abs(at) <= reach) for n, grid in grids.items()}
    ranges = null_ranges(steered, "dose")
    return tuple(
        _shaped(slope, grids[slope.persona], ranges)
        for slope in _slopes(steered, inner, control, rng, symmetric=True)
    )


def length_trends(
    said: pd.DataFrame, *, control: str, rng: np.random.Generator
) -> tuple[DoseSlope, ...]:
    """How refusal follows each text's length, over the lengths it shares with the control's.

    The first statement itself is not in it: the slope is of the second and further ones.

    Args:
        said: The same, with ``statements`` in place of the dose.
        control: Name of the control persona.
        rng: Source of every draw.
    """
    grids = dose_grids(said.assign(level=np.log2(said["statements"].astype(float))), "level")
    if control in grids:
        shared = set(grids[control].levels)
        grids = {n: grid.at(at for at in grid.levels if at in shared) for n, grid in grids.items()}
    several = {name: grid for name, grid in grids.items() if len(grid.levels) > 1}
    return tuple(_slopes(said, several, control, rng, symmetric=False))


def null_ranges(changes: pd.DataFrame, level: str) -> dict[float, tuple[float, float]]:
    """Range of the nulls' mean changes at each level; levels without nulls left out.

    Of vectors both signs of a dose are one level: each null might have pointed the other way.
    """
    nulls = changes[changes["kind"].isin(NULL_KINDS)]
    means = nulls.groupby([level, "persona"])["change"].mean().reset_index()
    found = {
        float(str(at)): null_range(rows["change"].to_numpy(np.float64))
        for at, rows in means.groupby(means[level].abs())
    }
    return {sign * at: each for at, each in found.items() if each is not None for sign in (1, -1)}


def mean_interval(
    values: Float[np.ndarray, " prompt"], rng: np.random.Generator, *, n_resamples: int = 2000
) -> Interval:
    """Mean with its bootstrap interval by request; NaN where a value is missing."""
    if not len(values) or not np.isfinite(values).all():
        return Interval(estimate=np.nan, low=np.nan, high=np.nan, level=0.95)
    return paired_bootstrap(values, rng=rng, n_resamples=n_resamples)


def _slopes(
    changes: pd.DataFrame,
    grids: Mapping[str, DoseGrid],
    control: str,
    rng: np.random.Generator,
    *,
    symmetric: bool,
) -> list[DoseSlope]:
    about = changes.drop_duplicates("persona").set_index("persona")
    kinds = {name: about["kind"][name] for name in grids}
    nulls = [grids[name].slopes.mean() for name, kind in kinds.items() if kind in NULL_KINDS]
    # A null vector might have pointed the other way: its slope would have the other sign.
    reach = null_range(np.array(nulls, dtype=np.float64), symmetric=symmetric)
    held = grids[control].slopes if control in grids else None
    against = None if held is None else mean_interval(held, rng)
    found = []
    for name, grid in grids.items():
        slope = mean_interval(grid.slopes, rng)
        steps = np.diff(grid.values.mean(axis=0)) * np.sign(slope.estimate)
        tested = grid.slopes if held is None or name == control else grid.slopes - held
        known = held is not None and bool(np.isfinite(tested).all())
        found.append(
            DoseSlope(
                persona=name,
                group=about["group"][name],
                kind=kinds[name],
                n=len(tested),
                slope=slope,
                control=against,
                difference=mean_interval(tested, rng),
                p=sign_flip(tested, rng=rng) if known else 1.0,
                null_range=reach,
                monotone=float((steps > 0).mean()) if np.isfinite(steps).all() else np.nan,
            )
        )
    return found


def _shaped(slope: DoseSlope, grid: DoseGrid, ranges: _Ranges) -> DoseSlope:
    """The slope with what the whole curve shows."""
    means = dict(zip(grid.levels, grid.values.mean(axis=0).tolist(), strict=True))
    out = [dose for dose, (low, high) in ranges.items() if not low <= means[dose] <= high]
    added = {dose: mean for dose, mean in means.items() if dose > 0}
    subtracted = {-dose: mean for dose, mean in means.items() if dose < 0}
    return replace(
        slope,
        leaves_added=min((dose for dose in out if dose > 0), default=None),
        leaves_subtracted=min((-dose for dose in out if dose < 0), default=None),
        saturates_added=_saturates(added),
        saturates_subtracted=_saturates(subtracted),
    )


def _saturates(means: Mapping[float, float]) -> float | None:
    if not means or not np.isfinite(list(means.values())).all():
        return None
    farthest = max(means.values(), key=abs)
    enough = _SATURATED * abs(farthest)
    return min(dose for dose, mean in means.items() if mean * np.sign(farthest) >= enough)
