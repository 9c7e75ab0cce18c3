"""How does the model read the request, by its own account?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analyses._scope_numbers import (
    effects_of,
    group_curves,
    harmless_gaps,
    random_band,
    refusal_correlations,
    request_effects,
)
from analyses._scope_texts import FreeTexts, free_texts
from analyses._scope_types import (
    CharityEffect,
    HarmlessGap,
    Place,
    RefusalCorrelation,
    RequestEffect,
    ScopeSetting,
)
from analyses.claims import Claim

READING_COLUMNS = (
    "persona",
    "group",
    "kind",
    "treatment",
    "place",
    "source_layer",
    "prompt_id",
    "harmful",
    "score",
    "log_odds",
    "rank_difference",
    "mass",
)
"""Columns of the readings, one row for each arm, place, source layer and request. ``kind`` is
``persona``, ``control``, ``null`` or ``baseline``; ``treatment`` is ``prompt``, ``plus`` or
``minus``, also of the request alone, which is read as that treatment's arms are; ``place`` is
``last`` (state of the last prompt token), ``before`` (of the token before the request) or
``direct`` (no patch; ``source_layer`` is -1). ``score`` is ``(p(good) - p(bad)) / (p(good) +
p(bad))``, ``log_odds`` their log-odds in nats, ``rank_difference`` how many more tokens stand
before the bad word than before the good one, ``mass`` the probability of both."""


@dataclass(frozen=True, kw_only=True)
class PatchscopeReadings:
    """What the model takes the user's motives to be, read from its states and asked outright."""

    n: int
    """Harmful test requests asked about outright; states are read from some or all of them."""
    control: str
    """Name of the control persona."""
    asked: str
    """Text whose next word is the reading."""
    steered_at: int
    """Layer at which vectors are added."""
    settings: tuple[ScopeSetting, ...]
    """Target prompt, layers and scale of each place, chosen on the layer split."""
    sweep: pd.DataFrame
    """Layer split, one row for each ``place, target, target_layer, scale, source_layer``: ``gap``
    mean over personas of the absolute difference of their score from the control's, ``mass`` mean
    probability of both words."""
    effects: tuple[CharityEffect, ...]
    """Every persona, control and null under every treatment, at the chosen layers."""
    by_layer: pd.DataFrame
    """Mean reading of each side by source layer: ``place, treatment, group, source_layer, score,
    low, high`` with bootstrap interval over requests, and ``change, change_low, change_high``, the
    same minus the request alone; ``group`` is also ``null`` and ``baseline``."""
    random_states: pd.DataFrame
    """Scores of random states put in the same way, by ``kind`` and ``source_layer``: mean ``score``
    and ``low, high``, the range of 95 % of them. A ``state`` has the norm of a source state, a
    ``deviation`` the sources' mean and the norm of a persona's deviation from it."""
    requests: tuple[RequestEffect, ...]
    """What of the readings belongs to the request and what to the persona, by place."""
    refusal: tuple[RefusalCorrelation, ...]
    """Charity against refusal over personas, by place; empty where refusal was not scored."""
    harmless: tuple[HarmlessGap, ...]
    """Harmful against harmless requests alone, by place: what a reading has to tell apart if it
    reads requests at all."""
    texts: FreeTexts | None
    """What was written of the states; None where nothing was."""
    by_request: pd.DataFrame
    """Every reading, columns :data:`READING_COLUMNS`."""


def patchscope_readings(
    readings: pd.DataFrame,
    settings: Sequence[ScopeSetting],
    sweep: pd.DataFrame,
    *,
    control: str,
    asked: str,
    steered_at: int,
    random_states: pd.DataFrame,
    refusal: Mapping[str, float],
    texts: pd.DataFrame,
    rng: np.random.Generator,
) -> PatchscopeReadings:
    """Charity by persona, treatment and place, beside the control and the nulls.

    Args:
        readings: Columns :data:`READING_COLUMNS`.
        settings: As :func:`analyses._scope_choice.choose_settings` gives them.
        sweep: As :func:`analyses._scope_choice.sweep_gaps` gives it.
        control: Name of the control persona.
        asked: Text whose next word is the reading.
        steered_at: Layer at which vectors are added.
        random_states: Columns ``kind, source_layer, score``, one row a draw.
        refusal: Mean change of the refusal score by persona, as text; NaN where it has none.
        texts: Columns :data:`analyses._scope_texts.TEXT_COLUMNS`.
        rng: Source of every draw.

    Raises:
        ValueError: If a column, the control or the request alone is missing.
    """
    _check(readings, control)
    harmful = readings[readings["harmful"]]
    effects = effects_of(harmful, settings, control=control, steered_at=steered_at, rng=rng)
    return PatchscopeReadings(
        n=harmful["prompt_id"].nunique(),
        control=control,
        asked=asked,
        steered_at=steered_at,
        settings=tuple(settings),
        sweep=sweep,
        effects=effects,
        by_layer=group_curves(harmful, rng=rng),
        random_states=random_band(random_states),
        requests=request_effects(harmful, settings, rng=rng),
        refusal=refusal_correlations(effects, refusal, rng=rng),
        harmless=harmless_gaps(readings, settings, rng=rng),
        texts=free_texts(texts),
        by_request=readings.reset_index(drop=True),
    )


def claim_place(result: PatchscopeReadings) -> Place | None:
    """Where claims are read: the place that best tells harmful from harmless requests alone.

    None where no place does: a reading that cannot tell them says nothing of motives. Personas
    have no part in the choice.
    """
    best = max(result.harmless, key=lambda each: each.sharpness, default=None)
    return None if best is None or not best.passes else best.place


def patchscope_claims(result: PatchscopeReadings) -> tuple[Claim, ...]:
    """One claim a persona: as text, it changes what the model takes the user's motives to be."""
    place = claim_place(result)
    how = "when asked" if place == "direct" else "by its own state at the request's end"
    return tuple(
        Claim(
            part="patchscopes",
            statement=(
                f"Said of the user, {effect.persona!r} changes how the model reads the motives "
                f"behind a request, {how}"
            ),
            refuted_by=(
                "a reading no farther from the control persona's than sign flips of the requests "
                "give, or than that of neutral texts"
            ),
            n=effect.n,
            estimate=effect.difference,
            unit="nats of good against bad",
            control=effect.control,
            p=effect.p,
            beyond_nulls=effect.beyond_nulls,
            persona=effect.persona,
        )
        for effect in result.effects
        if (effect.kind, effect.treatment, effect.place) == ("persona", "prompt", place)
    )


def _check(readings: pd.DataFrame, control: str) -> None:
    missing = [c for c in READING_COLUMNS if c not in readings.columns]
    if missing:
        raise ValueError(f"expected columns {READING_COLUMNS}, {missing} are missing")
    for kind, name in (("control", control), ("baseline", "none")):
        if not ((readings["kind"] == kind) & (readings["persona"] == name)).any():
            raise ValueError(
                f"expected readings of {name!r} as {kind}, found none; read it as well"
            )
