"""Does a persona's vector make the model see such a user?"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analyses.answers_about_users import (
    ANSWER_COLUMNS,
    Asked,
    ChoiceForm,
    UserChanges,
    changes_of,
    corrected,
    others_of,
    place_mean,
)
from analyses.answers_by_chance import (
    by_nulls,
    changes_by_layer,
    mean_change,
    middle_range,
    passes_signed,
    prediction_range,
    random_passes,
    share_passed,
    specificity_p,
)
from analyses.claims import Claim
from lens_personas.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class PersonaCheck:
    """What the model says of the user under one persona. Changes in nats of yes over no.

    A corrected change is that of the persona's own questions less the mean change, under the same
    vector or text, of all other personas' questions at the same places: a push to say yes to
    anything is in both.
    """

    persona: str
    """Name of the persona."""
    group: str
    """Side it was expected to take."""
    n: int
    """Its questions: the units that are resampled."""
    plus_raw: Interval
    """Change under +v, not corrected."""
    minus_raw: Interval
    """Change under −v, not corrected."""
    text_raw: Interval
    """Change under the persona's text, not corrected."""
    plus: Interval
    """Corrected change under +v."""
    minus: Interval
    """Corrected change under −v."""
    text: Interval
    """Corrected change under the persona's text."""
    user_plus: Interval
    """Corrected change under +v at the words of the user's turn alone."""
    user_minus: Interval
    """Corrected change under −v at the words of the user's turn alone."""
    yes_plus: float
    """Push to say yes under +v: change of the others' questions."""
    yes_minus: float
    """Push to say yes under −v."""
    yes_text: float
    """Push to say yes under the text."""
    against: str | None
    """Whom a forced choice offers beside the persona: its opposite, or the control; None for the
    control itself."""
    choice_plus: Interval
    """Change under +v of the log-odds of choosing the persona."""
    choice_minus: Interval
    """The same under −v."""
    choice_text: Interval
    """The same under the persona's text."""
    beyond_random: bool
    """Whether the corrected change under +v less that under −v is above ``random_gap``. Not part of
    the gate, which asks if the user is seen so, not if nothing else would have done it."""
    raw_gate: bool
    """Whether the vector would pass without the correction."""
    user_gate: bool
    """Whether the vector would pass at the words of the user's turn alone."""
    vector_gate: bool
    """Whether the interval of ``plus`` is above 0 and that of ``minus`` below."""
    text_gate: bool
    """Whether the interval of ``text`` is above 0."""


@dataclass(frozen=True, kw_only=True)
class ManipulationCheck:
    """What the model says of the user under every persona, and whose vectors do what they say."""

    n: int
    """Questions, over all personas."""
    n_personas: int
    """Personas that are expected to take a side; all but the control where none is."""
    layer: int
    """Block whose output is edited for the gate."""
    control: str
    """Name of the control persona."""
    personas: tuple[PersonaCheck, ...]
    """One entry a persona."""
    specific: Interval
    """Mean over those personas of the corrected change under +v less that under −v (nats),
    resampled by persona."""
    specific_p: float
    """Two-sided p of it: the personas' vectors dealt to other personas' questions, each vector
    whole, as often as it takes; 1 where it cannot be told."""
    specific_random: tuple[float, float] | None
    """Where the same mean for one more random direction of equal norm would fall: 95 % prediction
    interval, no narrower than what they did; None without two of them."""
    random_range: tuple[float, float] | None
    """Where 95 % of corrected changes by random directions lie, over directions and personas."""
    random_gap: float | None
    """What the corrected change under +v less that under −v stays below, in size, for 95 % of pairs
    of a random direction and a persona; None without any."""
    text_range: tuple[float, float] | None
    """Where 95 % of corrected changes by neutral texts lie."""
    random_passes: Interval
    """Share of pairs of a random direction and a persona that would pass as that persona's vector,
    Wilson; the pairs of a direction hang together."""
    vector_share: Interval
    """Share of the personas whose vector passes, Wilson."""
    raw_share: Interval
    """The same without the correction."""
    user_share: Interval
    """The same with the words of the user's turn steered alone."""
    text_share: Interval
    """Share of the personas whose text passes, Wilson."""
    choice_form: ChoiceForm
    """How the forced choice was put."""
    position_bias: Interval | None
    """Log-odds (nats) of the description listed first, nothing brought in; None where none are."""
    by_layer: pd.DataFrame
    """Mean corrected change by layer: ``scope, layer, treatment, who`` (``personas``, those that
    are expected to take a side; ``control``; ``random``), ``estimate, low, high``, resampled by
    persona or direction; bounds are NaN for one. Questions asked alone, a part of the others' for
    the correction."""
    by_request: pd.DataFrame
    """Every answer, columns :data:`analyses.answers_about_users.ANSWER_COLUMNS`."""


def gates(result: ManipulationCheck) -> dict[tuple[str, bool], bool]:
    """Whether each persona passes, by its name and whether it is brought in by its vector."""
    vectors = {(each.persona, True): each.vector_gate for each in result.personas}
    return vectors | {(each.persona, False): each.text_gate for each in result.personas}


def manipulation_check(
    answers: pd.DataFrame, asked: Asked, *, layer: int, rng: np.random.Generator
) -> ManipulationCheck:
    """What personas change in the model's answers about the user, and who passes the signed gate.

    The measure is the manipulation check of https://arxiv.org/abs/2406.12094, the change of
    logit(yes) - logit(no). Ours are the correction by the questions about others, and the gate:
    +v has to raise it and -v to lower it, with intervals over questions. Without the correction
    any vector that says yes to everything would pass.

    Args:
        answers: Columns :data:`analyses.answers_about_users.ANSWER_COLUMNS`.
        asked: Whom the questions are about.
        layer: Block whose steering the gate judges.
        rng: Source of every draw.

    Raises:
        ValueError: If a column is missing, or nobody was asked about.
    """
    missing = [column for column in ANSWER_COLUMNS if column not in answers.columns]
    if missing or not len(answers):
        raise ValueError(
            f"expected answers with columns {ANSWER_COLUMNS}, got {len(answers)} rows, "
            f"{missing} missing; ask every question with nothing brought in and under every persona"
        )
    found = UserChanges(changes=changes_of(answers), asked=asked, layer=layer)
    up, down = by_nulls(found, "plus"), by_nulls(found, "minus")
    gap = place_mean(corrected(found.cube("plus")) - corrected(found.cube("minus")))
    n = len(asked.names)
    sizes = np.abs(gap[n:, asked.sided])
    sizes = sizes[np.isfinite(sizes)]
    random_gap = float(np.quantile(sizes, 0.95)) if len(sizes) else None
    checks = tuple(_persona(found, at, random_gap, rng) for at in range(n))
    sided = [checks[at] for at in asked.sided]
    return ManipulationCheck(
        n=sum(each.n for each in checks),
        n_personas=len(sided),
        layer=layer,
        control=asked.control,
        personas=checks,
        specific=mean_change(gap[asked.sided, asked.sided], rng),
        specific_p=specificity_p(gap[:n], asked.sided, rng=rng),
        specific_random=prediction_range(gap[n:, asked.sided].mean(axis=1)),
        random_range=middle_range(np.concatenate([up, -down])),
        random_gap=random_gap,
        text_range=middle_range(by_nulls(found, "prompt")),
        random_passes=random_passes(found, rng),
        vector_share=share_passed([each.vector_gate for each in sided]),
        raw_share=share_passed([each.raw_gate for each in sided]),
        user_share=share_passed([each.user_gate for each in sided]),
        text_share=share_passed([each.text_gate for each in sided]),
        choice_form=asked.choice_form,
        position_bias=_position_bias(answers, rng),
        by_layer=changes_by_layer(answers, asked, rng),
        by_request=answers,
    )


def manipulation_claims(result: ManipulationCheck) -> tuple[Claim, ...]:
    """The one claim of the check: vectors of personas are specific to what they are named after."""
    null, estimate = result.specific_random, result.specific.estimate
    return (
        Claim(
            part="manipulation",
            statement=(
                "Vectors of personas move the model's view of the user in their own direction, "
                "beyond a push to say yes"
            ),
            refuted_by=(
                "Vectors dealt to other personas, or random directions of equal norm, doing as "
                "much to the answers about a persona as its own vector"
            ),
            n=result.n_personas,
            estimate=result.specific,
            unit="nats",
            control=None,
            p=result.specific_p,
            beyond_nulls=bool(estimate > max(0.0, null[1] if null else 0.0)),
        ),
    )


def _persona(
    found: UserChanges, at: int, random_gap: float | None, rng: np.random.Generator
) -> PersonaCheck:
    name = found.asked.names[at]
    cubes = {sign: found.cube(sign) for sign in ("plus", "minus", "prompt")}
    user = {sign: found.cube(sign, scope="user") for sign in ("plus", "minus")}
    raw = {sign: mean_change(cube[at, at], rng) for sign, cube in cubes.items()}
    own = {sign: mean_change(corrected(cube)[at, at], rng) for sign, cube in cubes.items()}
    there = {sign: mean_change(corrected(cube)[at, at], rng) for sign, cube in user.items()}
    yes = {sign: float(place_mean(others_of(cube))[at, at]) for sign, cube in cubes.items()}
    choice = {sign: mean_change(found.choices(sign).get(name, _NONE), rng) for sign in cubes}
    return PersonaCheck(
        persona=name,
        group=found.asked.groups[name],
        n=found.questions(at),
        plus_raw=raw["plus"],
        minus_raw=raw["minus"],
        text_raw=raw["prompt"],
        plus=own["plus"],
        minus=own["minus"],
        text=own["prompt"],
        user_plus=there["plus"],
        user_minus=there["minus"],
        yes_plus=yes["plus"],
        yes_minus=yes["minus"],
        yes_text=yes["prompt"],
        against=found.asked.against.get(name),
        choice_plus=choice["plus"],
        choice_minus=choice["minus"],
        choice_text=choice["prompt"],
        beyond_random=random_gap is not None
        and own["plus"].estimate - own["minus"].estimate > random_gap,
        raw_gate=passes_signed(raw["plus"], raw["minus"]),
        user_gate=passes_signed(there["plus"], there["minus"]),
        vector_gate=passes_signed(own["plus"], own["minus"]),
        text_gate=bool(own["prompt"].low > 0),
    )


_NONE = np.zeros(0)


def _position_bias(answers: pd.DataFrame, rng: np.random.Generator) -> Interval | None:
    plain = answers[(answers["treatment"] == "baseline") & (answers["form"] == "choice")]
    bias = plain["bias"].dropna().to_numpy(float)
    return mean_change(bias, rng) if len(bias) else None
