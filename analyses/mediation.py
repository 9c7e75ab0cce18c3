"""Does the charitable reading, or the refusal direction, carry the effect?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from analyses.claims import Claim
from lens_personas.statistics import (
    Interval,
    Mediation,
    correlation,
    paired_bootstrap,
    paired_mediation,
    paired_ratio,
    prediction_interval,
    sign_flip,
)

REFUSAL, CHARITY, HARM = "refusal direction", "charitable reading", "reading of harm"
"""Mediators: the projection on refusal at the last prompt token; what the model takes the user's
motives to be; the projection on harmful less harmless at the end of the instruction."""

SIDES = ("pro", "anti")
"""Sides whose difference is split up: pro-social and anti-social users."""

_RESAMPLES = 500


@dataclass(frozen=True, kw_only=True)
class Changes:
    """One persona against the control through one mediator, on the same requests, in order."""

    persona: str
    """The persona."""
    group: str
    """Its side."""
    mediator: str
    """What may carry the effect."""
    total: Float[np.ndarray, " prompt"]
    """Refusal score under the persona's text less that under the control's, in nats."""
    moved: Float[np.ndarray, " prompt"]
    """Change of the mediator, in its own unit."""
    removed: Float[np.ndarray, " prompt"]
    """What is lost of the score once the mediator is set back to the control's value."""
    put_in: Float[np.ndarray, " prompt"]
    """What the control's score gains once the mediator is given the persona's value."""
    random: Float[np.ndarray, "draw prompt"]
    """Mean of the same two for equally long pushes along random directions."""

    @property
    def indirect(self) -> Float[np.ndarray, " prompt"]:
        """Effect through the mediator: the mean of both ways, whose sign turns if the two swap."""
        return np.asarray((self.removed + self.put_in) / 2.0)


@dataclass(frozen=True, kw_only=True)
class Path:
    """How much of one persona's effect runs through one mediator."""

    persona: str
    """The persona."""
    group: str
    """Its side."""
    mediator: str
    """What may carry the effect."""
    n: int
    """Requests."""
    total: Interval
    """Persona less control, nats of refusal log-odds."""
    moved: Interval
    """Change of the mediator, in its own unit."""
    observed: Mediation
    """Split by regression over requests: causal only if nothing else moves both."""
    p_moved: float
    """Sign-flip p of the mediator's change."""
    p_slope: float
    """Permutation p that the mediator's change goes with the score's over requests."""
    removed: Interval
    """What is lost of the effect once the mediator is set back to the control's value, nats."""
    put_in: Interval
    """What the control gains once the mediator is given the persona's value, nats."""
    indirect: Interval
    """Mean of both: the effect through the mediator, nats."""
    direct: Interval
    """The rest of the effect, nats."""
    share: Interval
    """Indirect over total; without bounds where there is no total effect."""
    random: Interval
    """The same indirect effect by equally long pushes along random directions, nats."""

    @property
    def p_joint(self) -> float:
        """P that both the mediator moves and goes with the score: the larger of the two."""
        return max(self.p_moved, self.p_slope)


@dataclass(frozen=True, kw_only=True)
class SideContrast:
    """How much of the difference between anti- and pro-social users runs through one mediator."""

    mediator: str
    """What may carry the effect."""
    n: int
    """Requests."""
    n_personas: int
    """Personas of either side, as many of one as of the other."""
    total: Interval
    """Anti-social less pro-social, nats of refusal log-odds."""
    indirect: Interval
    """Part through the mediator, nats."""
    random: Interval
    """The same by random directions, mean over draws, nats."""
    beyond_random: Interval
    """Indirect less random, by request."""
    null_range: tuple[float, float] | None
    """Where one more random direction would fall; None without any."""
    share: Interval
    """Indirect over total; without bounds where there is no total effect."""
    p: float
    """Sign-flip p of ``beyond_random``."""


@dataclass(frozen=True, kw_only=True)
class PersonaMediation:
    """What carries the effect of a persona's text, from the control persona's."""

    n: int
    """Harmful test requests."""
    control: str
    """The control persona that every other one is held against."""
    layers: tuple[int, ...]
    """Blocks at which a mediator is held, all at once: those early enough to be chosen."""
    refusal_layer: int
    """Block at which the projection on refusal is read: the last one that is held."""
    harm_layer: int
    """Block at which harmfulness is read: where it parts harmful from harmless requests best on
    the requests it was fitted on."""
    charity: str
    """How the charitable reading was asked; why not, where it was not."""
    paths: tuple[Path, ...]
    """One for each persona and mediator."""
    contrasts: tuple[SideContrast, ...]
    """One for each mediator; empty where the personas have no sides."""
    by_layer: pd.DataFrame
    """The projection on refusal set back at one layer alone: ``direction`` (``refusal``,
    ``random``), ``layer``, and what is lost of the difference between the sides in nats
    (``estimate, low, high``) and as a ``share`` of it."""
    movement: pd.DataFrame
    """How far a side moves each reading from the control's: ``measure, group, layer`` (-1 for
    what has none), ``unit``, ``estimate, low, high``, and ``null_low, null_high``, where one more
    neutral text would fall."""
    by_request: pd.DataFrame
    """One row a persona, mediator and request: ``persona, group, mediator, prompt_id, total,
    moved, removed, put_in, random``."""


def mediation_path(found: Changes, *, rng: np.random.Generator) -> Path:
    """One persona's effect through one mediator, by regression and by patches."""

    def interval(values: Float[np.ndarray, " prompt"]) -> Interval:
        return paired_bootstrap(values, rng=rng, n_resamples=_RESAMPLES)

    return Path(
        persona=found.persona,
        group=found.group,
        mediator=found.mediator,
        n=len(found.total),
        total=interval(found.total),
        moved=interval(found.moved),
        observed=paired_mediation(found.moved, found.total, rng=rng, n_resamples=_RESAMPLES),
        p_moved=sign_flip(found.moved, rng=rng, n_permutations=2000),
        p_slope=correlation(
            found.moved, found.total, rng=rng, n_resamples=20, n_permutations=500
        ).p,
        removed=interval(found.removed),
        put_in=interval(found.put_in),
        indirect=interval(found.indirect),
        direct=interval(found.total - found.indirect),
        share=paired_ratio(found.indirect, found.total, rng=rng, n_resamples=_RESAMPLES),
        random=interval(_over_draws(found.random, len(found.total))),
    )


def side_contrast(
    found: Sequence[Changes], mediator: str, *, rng: np.random.Generator
) -> SideContrast | None:
    """Anti-social less pro-social users through one mediator; None where a side is empty.

    As many of either side are taken, the first ones: exchanging the sides then turns the sign of
    every request's difference, which is what the test flips.
    """
    own = [each for each in found if each.mediator == mediator]
    pro, anti = ([each for each in own if each.group == side] for side in SIDES)
    k = min(len(pro), len(anti))
    if not k:
        return None

    def differ(values: str) -> Float[np.ndarray, "..."]:
        first, second = (
            np.mean([getattr(each, values) for each in side[:k]], axis=0) for side in (anti, pro)
        )
        return np.asarray(first - second)

    total, indirect, draws = differ("total"), differ("indirect"), differ("random")
    random = _over_draws(draws, len(total))
    return SideContrast(
        mediator=mediator,
        n=len(total),
        n_personas=k,
        total=paired_bootstrap(total, rng=rng),
        indirect=paired_bootstrap(indirect, rng=rng),
        random=paired_bootstrap(random, rng=rng),
        beyond_random=paired_bootstrap(indirect - random, rng=rng),
        null_range=null_range(draws.mean(axis=1)) if len(draws) else None,
        share=paired_ratio(indirect, total, rng=rng),
        p=sign_flip(indirect - random, rng=rng),
    )


def null_range(means: Float[np.ndarray, " null"]) -> tuple[float, float] | None:
    """Where one more null would fall, no narrower than what the nulls did; None without any."""
    finite = means[np.isfinite(means)]
    if not len(finite):
        return None
    more = prediction_interval(finite)
    ends = [*finite.tolist(), more.low, more.high]
    return float(np.nanmin(ends)), float(np.nanmax(ends))


def mediation_claims(found: PersonaMediation) -> tuple[Claim, ...]:
    """At most one claim a mediator: that part of the difference between sides runs through it."""
    return tuple(
        Claim(
            part="mediation",
            statement=(
                "part of the difference in refusal between anti- and pro-social users runs "
                f"through the {each.mediator}"
            ),
            refuted_by=(
                "setting it back to the control's value, and putting the persona's in, changes "
                "refusal no more than equally long pushes along random directions"
            ),
            n=each.n,
            estimate=each.beyond_random,
            unit="nats",
            control=each.random,
            p=each.p,
            beyond_nulls=_beyond(each),
        )
        for each in found.contrasts
    )


def movement_rows(
    changes: Mapping[str, Float[np.ndarray, "persona prompt"]],
    nulls: Float[np.ndarray, "null prompt"],
    *,
    measure: str,
    layer: int,
    unit: str,
    rng: np.random.Generator,
) -> list[dict[str, object]]:
    """Rows of :attr:`PersonaMediation.movement`: mean change from the control by side."""
    low, high = null_range(nulls.mean(axis=1)) or (float("nan"), float("nan"))
    rows: list[dict[str, object]] = []
    for group, values in changes.items():
        mean = paired_bootstrap(values.mean(axis=0), rng=rng, n_resamples=300)
        rows.append(
            {
                "measure": measure,
                "group": group,
                "layer": layer,
                "unit": unit,
                "estimate": mean.estimate,
                "low": mean.low,
                "high": mean.high,
                "null_low": low,
                "null_high": high,
            }
        )
    return rows


def _beyond(found: SideContrast) -> bool:
    """Whether the part through the mediator is beyond the random ones on the effect's own side."""
    low, high = found.null_range or (0.0, 0.0)
    if found.total.estimate < 0:
        return found.indirect.estimate < min(low, 0.0)
    return found.indirect.estimate > max(high, 0.0)


def _over_draws(draws: Float[np.ndarray, "draw prompt"], n: int) -> Float[np.ndarray, " prompt"]:
    return np.asarray(draws.mean(axis=0)) if len(draws) else np.zeros(n)
