"""The signed gate finds what was planted, and neither a push to say yes nor chance passes it."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from analyses.answers_about_users import ANSWER_COLUMNS, Asked, change_cube, changes_of, corrected
from analyses.answers_by_chance import specificity_p
from analyses.manipulation_check import (
    ManipulationCheck,
    gates,
    manipulation_check,
    manipulation_claims,
)

GROUPS = {"kind": "pro", "fair": "pro", "mean": "anti", "sly": "anti", "tea": "control"}
AGAINST = {"kind": "mean", "fair": "sly", "mean": "kind", "sly": "fair", "tea": None}
RANDOM = ("random 1", "random 2", "random 3")
NEUTRAL = ("neutral text 1", "neutral text 2")
PLACES = 6
LAYER = 3

Effect = Callable[[str, str, str], float]
"""Change by what was brought in, of questions about a persona, under a treatment."""


def asked(groups: dict[str, str] = GROUPS) -> Asked:
    return Asked(
        groups=groups,
        against={name: AGAINST[name] for name in groups},
        control="tea",
        random=RANDOM,
        neutral=NEUTRAL,
        choice_form="paired questions",
    )


def answers(
    effect: Effect,
    *,
    rng: np.random.Generator,
    noise: float = 0.0,
    places: int = PLACES,
    contexts: Sequence[str] = ("alone", "greeted"),
) -> pd.DataFrame:
    units = [(about, place, context) for about in GROUPS for place in range(places)
             for context in contexts]  # fmt: skip
    plain = {unit: rng.normal() for unit in units}
    steered = [(t, scope, LAYER) for t in ("plus", "minus") for scope in ("all", "user")]
    rows = [("baseline", "none", -1, "none", *unit, plain[unit]) for unit in units]
    for treatment, scope, layer in [("prompt", "none", -1), *steered]:
        nulls = NEUTRAL if treatment == "prompt" else RANDOM
        for brought in (*GROUPS, *nulls):
            for unit in units:
                moved = effect(brought, unit[0], treatment) + noise * rng.normal()
                rows.append((treatment, scope, layer, brought, *unit, plain[unit] + moved))
    keys = ["treatment", "scope", "layer", "brought", "about", "place", "context", "score"]
    table = pd.DataFrame(rows, columns=keys).assign(form="question", bias=np.nan)
    return table[list(ANSWER_COLUMNS)]


def sign(treatment: str) -> float:
    return -1.0 if treatment == "minus" else 1.0


def checked(effect: Effect, seed: int = 0, **how: float) -> ManipulationCheck:
    rng = np.random.default_rng(seed)
    table = answers(effect, rng=rng, **{"noise": 0.05, **how})  # type: ignore[arg-type]
    return manipulation_check(table, asked(), layer=LAYER, rng=rng)


def own(brought: str, about: str, treatment: str) -> float:
    return sign(treatment) * (brought == about)


def test_finds_vectors_and_texts_that_do_what_they_say() -> None:
    result = checked(lambda b, a, t: own(b, a, t) if b in ("kind", "sly") else 0.0)

    passed = {name for name, ok in gates(result).items() if ok}
    assert passed == {(name, vector) for name in ("kind", "sly") for vector in (True, False)}
    kind = result.personas[0]
    assert kind.plus.estimate == pytest.approx(1.0, abs=0.1)
    assert kind.minus.estimate == pytest.approx(-1.0, abs=0.1)
    assert kind.beyond_random
    assert kind.n == PLACES
    assert result.n_personas == 4
    assert result.vector_share.estimate == pytest.approx(0.5)
    assert result.random_passes.estimate < 0.2


def test_push_to_say_yes_passes_raw_and_fails_the_gate() -> None:
    result = checked(lambda b, a, t: 2.0 * sign(t) if b in GROUPS else 0.0)

    assert result.raw_share.estimate == 1.0
    assert result.vector_share.estimate == 0.0
    assert not any(gates(result).values())
    assert result.personas[0].yes_plus == pytest.approx(2.0, abs=0.1)
    assert result.personas[0].yes_minus == pytest.approx(-2.0, abs=0.1)


@pytest.mark.parametrize("flip", ["plus", "minus"])
def test_both_signs_have_to_do_what_they_say(flip: str) -> None:
    result = checked(lambda b, a, t: own(b, a, t) * (-1.0 if t == flip else 1.0))

    assert not any(each.vector_gate for each in result.personas)
    assert all(each.text_gate for each in result.personas)


def test_one_question_has_no_interval_and_does_not_pass() -> None:
    result = checked(own, places=1)

    assert not any(gates(result).values())
    assert result.personas[0].plus.estimate == pytest.approx(1.0, abs=0.3)


def test_forced_choice_is_own_less_the_other_and_the_control_has_none() -> None:
    result = checked(
        lambda b, a, t: own(b, a, t) - 0.5 * sign(t) * (AGAINST.get(b) == a) + 3.0, noise=0.0
    )

    by_name = {each.persona: each for each in result.personas}
    assert by_name["kind"].choice_plus.estimate == pytest.approx(1.5)
    assert by_name["kind"].choice_minus.estimate == pytest.approx(-1.5)
    assert by_name["tea"].against is None
    assert np.isnan(by_name["tea"].choice_plus.estimate)


def test_correction_forgets_what_is_common_to_all_questions() -> None:
    rng = np.random.default_rng(0)
    cube = rng.normal(size=(4, 3, 5))

    moved = cube + rng.normal(size=(4, 1, 5))

    np.testing.assert_allclose(corrected(moved), corrected(cube))


def test_correction_takes_all_places_where_the_same_was_not_asked() -> None:
    cube = np.full((1, 2, 3), np.nan)
    cube[0, 0] = [1.0, 2.0, 3.0]
    cube[0, 1, 0] = 0.5

    np.testing.assert_allclose(corrected(cube)[0, 0], [0.5, 1.5, 2.5])


def test_changes_are_means_over_contexts_and_gaps_stay_gaps() -> None:
    rng = np.random.default_rng(0)
    table = answers(own, rng=rng)
    table.loc[(table["about"] == "fair") & (table["place"] == 0), "score"] = np.nan

    cube = change_cube(changes_of(table), ("plus", "all", LAYER), list(GROUPS), list(GROUPS))

    assert np.isnan(cube[:, 1, 0]).all()
    np.testing.assert_allclose(cube[0, 0], 1.0)
    assert np.isfinite(corrected(cube)[1, 1, 1:]).all()


def test_gaps_break_nothing() -> None:
    rng = np.random.default_rng(0)
    table = answers(own, rng=rng, noise=0.05).assign(score=np.nan)

    result = manipulation_check(table, asked(), layer=LAYER, rng=rng)

    assert not any(gates(result).values())
    assert result.specific_p == 1.0
    assert not manipulation_claims(result)[0].beyond_nulls


def test_p_of_specificity_is_at_most_nominal_where_vectors_are_dealt() -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(300):
        # Vectors and questions of unequal strength: what a deal must not be fooled by.
        gap = rng.normal(size=(7, 1)) + rng.normal(size=(1, 7)) + 0.5 * rng.normal(size=(7, 7))
        found.append(specificity_p(gap, range(6), rng=rng, n_permutations=400))

    # Of 300, 15 are expected at .05 and 30 at .10; bounds 3 standard deviations above.
    assert np.mean(np.array(found) <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
    assert np.mean(np.array(found) <= 0.10) < 0.10 + 3 * np.sqrt(0.10 * 0.90 / 300)
    assert np.mean(np.array(found) <= 0.50) > 0.35


def test_claims_vectors_that_are_specific() -> None:
    (claim,) = manipulation_claims(checked(own))

    # Of 120 deals of 5 vectors one keeps the 4 that count in place.
    assert claim.p < 0.02
    assert claim.beyond_nulls
    assert claim.estimate.estimate == pytest.approx(2.0, abs=0.2)
    assert claim.persona is None
    assert claim.n == 4


def test_claims_nothing_of_a_side_that_answers_the_other_way() -> None:
    (claim,) = manipulation_claims(checked(lambda b, a, t: -own(b, a, t)))

    assert claim.p < 0.02
    assert not claim.beyond_nulls


def test_gate_seldom_passes_where_nothing_was_planted() -> None:
    passed = [
        each.vector_gate
        for seed in range(4)
        for each in checked(lambda b, a, t: 1.0, seed=seed, noise=1.0).personas
    ]

    # Both signs have to be right with an interval: 1 in 1600 at the nominal level.
    assert sum(passed) <= 1


def test_without_sides_all_but_the_control_count() -> None:
    groups = {name: "control" if name == "tea" else "other" for name in GROUPS}
    rng = np.random.default_rng(0)

    result = manipulation_check(
        answers(own, rng=rng), asked(groups), layer=LAYER, rng=np.random.default_rng(0)
    )

    assert result.n_personas == 4


def test_layers_are_told_with_control_and_random_directions() -> None:
    table = checked(own).by_layer

    plus = table[(table["scope"] == "all") & (table["treatment"] == "plus")].set_index("who")
    assert plus.loc["personas", "estimate"] == pytest.approx(1.0, abs=0.1)
    assert plus.loc["random", "estimate"] == pytest.approx(0.0, abs=0.1)
    assert set(table["scope"]) == {"all", "user"}


def test_refuses_answers_without_their_columns() -> None:
    table = answers(own, rng=np.random.default_rng(0)).drop(columns="place")

    with pytest.raises(ValueError, match=r"expected answers with columns .*\['place'\] missing"):
        manipulation_check(table, asked(), layer=LAYER, rng=np.random.default_rng(0))
