"""Planted effects are found as they are; where none is planted, claims stay at their level."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from analyses.persona_effects import Effect, PersonaEffects, persona_effects
from analyses.scores import chosen_layers

CONTROL = "tea"
Arms = Mapping[tuple[str, str, str, int], float]


def planted(
    arms: Arms,
    rng: np.random.Generator,
    *,
    n: int = 40,
    noise: float = 0.3,
    layer_split: Arms | None = None,
    threshold: float | None = None,
) -> pd.DataFrame:
    """Scores of arms ``(persona, kind, treatment, layer)`` with these true mean changes.

    ``layer_split`` gives other means on the requests kept for choosing a layer; above
    ``threshold`` a request is refused, below it is answered.
    """
    frames = []
    for split, size in (("layer", 16), ("test", n)):
        base = rng.normal(2.0, 1.0, size)
        means = layer_split if layer_split is not None and split == "layer" else arms
        everything = {("none", "baseline", "baseline", -1): 0.0, **means}
        for (persona, kind, treatment, layer), mean in everything.items():
            score = base + mean
            if treatment != "baseline":
                score = score + rng.normal(0, noise, size)
            labels = [None] * size
            if threshold is not None:
                labels = ["refusal" if value > threshold else "answer" for value in score]
            frames.append(
                pd.DataFrame(
                    {
                        "persona": persona,
                        "group": kind,
                        "kind": kind,
                        "treatment": treatment,
                        "layer": layer,
                        "split": split,
                        "prompt_id": [f"{split}-{at:03d}" for at in range(size)],
                        "harmful": True,
                        "score": score,
                        "label": pd.Series(labels, dtype=object),
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def prompts(means: Mapping[str, float], *, control: float = 0.0) -> dict:
    arms = {(name, "persona", "prompt", -1): mean for name, mean in means.items()}
    return {**arms, (CONTROL, "control", "prompt", -1): control}


def analyse(scores: pd.DataFrame, seed: int = 0, **options: object) -> PersonaEffects:
    return persona_effects(scores, control=CONTROL, rng=np.random.default_rng(seed), **options)


def by_arm(found: PersonaEffects) -> dict[tuple[str, str], Effect]:
    return {(effect.persona, effect.treatment): effect for effect in found.effects}


def test_planted_effects_are_found_with_sign_size_and_interval() -> None:
    arms = prompts({"kind": -1.5, "mean": 1.0, "plain": 0.0})
    found = by_arm(analyse(planted(arms, np.random.default_rng(1))))
    for name, truth in (("kind", -1.5), ("mean", 1.0)):
        effect = found[name, "prompt"]
        assert effect.estimate == pytest.approx(truth, abs=0.2)
        assert effect.interval.low < truth < effect.interval.high
        assert effect.interval.estimate == effect.estimate
        assert effect.p_corrected < 0.01
        assert effect.claim
        assert effect.layer is None
        assert effect.n == 40
    assert not found["plain", "prompt"].claim
    assert not found[CONTROL, "prompt"].claim


def test_intervals_cover_the_planted_effect_at_their_level() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for seed in range(40):
        found = by_arm(analyse(planted(prompts({"kind": -0.5}), rng, n=20), seed))
        interval = found["kind", "prompt"].interval
        hits += interval.low <= -0.5 <= interval.high
    assert hits >= binom.ppf(0.001, 40, 0.95)


def test_the_control_is_subtracted() -> None:
    """A change that any text makes is no effect of the persona."""
    arms = prompts({"kind": -1.0, "plain": 0.5}, control=0.5)
    found = by_arm(analyse(planted(arms, np.random.default_rng(3))))
    assert found["plain", "prompt"].estimate == pytest.approx(0.5, abs=0.2)
    assert found["plain", "prompt"].difference.estimate == pytest.approx(0.0, abs=0.2)
    assert not found["plain", "prompt"].claim
    assert found["kind", "prompt"].difference.estimate == pytest.approx(-1.5, abs=0.2)
    assert found["kind", "prompt"].control.estimate == pytest.approx(0.5, abs=0.2)
    control = found[CONTROL, "prompt"]
    assert control.difference.estimate == 0.0
    assert control.p < 0.01, "the control's own p is of its own change"
    assert not control.claim


def test_holm_runs_over_personas_and_treatments_but_not_over_control_and_nulls() -> None:
    arms = {
        ("a", "persona", "prompt", -1): 0.12,
        ("a", "persona", "plus", 2): 0.05,
        ("b", "persona", "plus", 2): 0.15,
        (CONTROL, "control", "prompt", -1): 0.0,
        (CONTROL, "control", "plus", 2): 0.0,
        ("random 1", "null", "plus", 2): 0.0,
    }
    found = by_arm(analyse(planted(arms, np.random.default_rng(4))))
    tested = sorted((e for e in found.values() if e.kind == "persona"), key=lambda e: e.p)
    assert len(tested) == 3
    running = 0.0
    for at, effect in enumerate(tested):
        running = max(running, min(1.0, effect.p * (3 - at)))
        assert effect.p_corrected == pytest.approx(running)
    for effect in found.values():
        if effect.kind != "persona":
            assert effect.p_corrected == effect.p
            assert not effect.claim


def test_what_neutral_texts_do_as_well_is_no_claim() -> None:
    arms = prompts({"kind": -1.0, "kinder": -6.0})
    means = (-1.5, -0.5, 0.0, 0.3)
    nulls = {(f"neutral {at}", "null", "prompt", -1): mean for at, mean in enumerate(means)}
    found = by_arm(analyse(planted({**arms, **nulls}, np.random.default_rng(5))))
    within = found["kind", "prompt"]
    assert within.p_corrected < 0.01
    assert within.null_range[0] < -1.5
    assert within.null_range[1] > 0.3
    assert not within.claim
    assert found["kinder", "prompt"].claim
    assert not any(e.claim for e in found.values() if e.kind == "null")


def test_one_null_is_its_own_range_and_none_is_none() -> None:
    arms = prompts({"kind": -1.0})
    assert (
        by_arm(analyse(planted(arms, np.random.default_rng(5))))["kind", "prompt"].null_range
        is None
    )
    one = {**arms, ("neutral", "null", "prompt", -1): -0.5}
    found = by_arm(analyse(planted(one, np.random.default_rng(5))))
    estimate = found["neutral", "prompt"].estimate
    assert found["kind", "prompt"].null_range == (estimate, estimate)
    assert found["neutral", "prompt"].null_range is None, "a null is not held against itself"


def test_a_persona_like_the_nulls_falls_in_their_range_as_often_as_it_says() -> None:
    """A text that moves refusal as neutral texts do, each a little its own way."""
    rng = np.random.default_rng(18)
    outside = 0
    n_tables = 120
    for seed in range(n_tables):
        drawn = rng.normal(0.0, 1.0, 4)
        nulls = {(f"n{at}", "null", "prompt", -1): mean for at, mean in enumerate(drawn[1:])}
        arms = {**prompts({"plain": drawn[0]}), **nulls}
        scores = planted(arms, rng, n=4, noise=0.0)
        effect = by_arm(analyse(scores, seed))["plain", "prompt"]
        outside += not effect.null_range[0] <= effect.estimate <= effect.null_range[1]
    assert outside <= binom.ppf(0.999, n_tables, 0.05)


def test_an_effect_on_the_other_side_of_the_nulls_than_of_the_control_is_no_claim() -> None:
    """Less refusal than under the control, but more than under every neutral text."""
    arms = prompts({"kind": -1.5}, control=-1.0)
    nulls = {(f"neutral {at}", "null", "prompt", -1): -3.0 for at in range(4)}
    effect = by_arm(analyse(planted({**arms, **nulls}, np.random.default_rng(6))))["kind", "prompt"]
    assert effect.p_corrected < 0.01
    assert effect.difference.estimate < 0 < effect.estimate - effect.null_range[1]
    assert not effect.claim


@pytest.mark.slow
def test_where_nothing_is_planted_claims_stay_at_their_level() -> None:
    """No claim in at least 95 % of tables (up to chance), and p about uniform."""
    rng = np.random.default_rng(7)
    n_tables, claims, p_values = 200, 0, []
    arms = prompts(dict.fromkeys("ab", 0.0), control=0.0)
    for seed in range(n_tables):
        found = analyse(planted(arms, rng, n=10), seed)
        claims += any(effect.claim for effect in found.effects)
        p_values += [effect.p for effect in found.effects if effect.kind == "persona"][:1]
    assert claims <= binom.ppf(0.999, n_tables, 0.05)
    for level in (0.05, 0.25, 0.5, 0.75):
        low, high = binom.ppf([0.0005, 0.9995], n_tables, level)
        assert low <= sum(p <= level for p in p_values) <= high, level


def test_alpha_is_the_level_of_a_claim() -> None:
    scores = planted(prompts({"a": 0.12}), np.random.default_rng(4))
    p = by_arm(analyse(scores))["a", "prompt"].p
    assert 0.0005 < p < 0.5
    assert by_arm(analyse(scores, alpha=min(0.99, p * 1.5)))["a", "prompt"].claim
    assert not by_arm(analyse(scores, alpha=p * 0.5))["a", "prompt"].claim


def at_layers(means: Mapping[int, float]) -> dict:
    arms = {("kind", "persona", "plus", layer): mean for layer, mean in means.items()}
    control = {(CONTROL, "control", "plus", layer): 0.0 for layer in means}
    return {**arms, **control}


def test_the_layer_is_chosen_on_the_layer_split_alone() -> None:
    scores = planted(
        at_layers({1: 0.0, 4: -2.0, 6: 0.0}),
        np.random.default_rng(8),
        layer_split=at_layers({1: -2.0, 4: 0.0, 6: 0.0}),
    )
    assert chosen_layers(scores, control=CONTROL)["kind", "plus"] == 1
    effect = by_arm(analyse(scores))["kind", "plus"]
    assert effect.layer == 1
    assert effect.layer_chosen_by == (
        "greatest mean difference on the layer split, of layers 1 to 6"
    )
    assert effect.estimate == pytest.approx(0.0, abs=0.2)
    assert not effect.claim
    assert effect.optimism == pytest.approx(2.0, abs=0.3)


def test_the_layer_of_the_test_is_the_one_that_was_announced() -> None:
    scores = planted(at_layers({0: -0.1, 1: -0.2, 2: 0.15}), np.random.default_rng(9))
    announced = chosen_layers(scores, control=CONTROL)
    assert {(e.persona, e.treatment): e.layer for e in analyse(scores).effects} == announced


def test_choosing_among_layers_flatters_on_average_and_no_choice_does_not() -> None:
    rng = np.random.default_rng(10)
    arms = at_layers(dict.fromkeys(range(4), 0.0)) | prompts({"kind": 0.0})
    chosen, control = [], []
    for seed in range(24):
        found = by_arm(analyse(planted(arms, rng, n=12), seed))
        chosen.append(found["kind", "plus"].optimism)
        control.append(found[CONTROL, "plus"].optimism)
        assert np.isnan(found["kind", "prompt"].optimism)
    for optimism in (chosen, control):
        assert np.mean(optimism) > 2 * np.std(optimism) / np.sqrt(len(optimism))


def test_the_control_s_optimism_is_of_its_own_change() -> None:
    arms = {(CONTROL, "control", "plus", 1): 2.0}
    effect = by_arm(analyse(planted(arms, np.random.default_rng(11))))[CONTROL, "plus"]
    assert effect.optimism == pytest.approx(0.0, abs=0.3)


def test_answers_are_tested_by_mcnemar_against_the_control() -> None:
    arms = prompts({"kind": -2.0, "plain": 0.0})
    scores = planted(arms, np.random.default_rng(12), threshold=1.0, noise=0.05)
    found = by_arm(analyse(scores, outcome="answered"))
    kind, plain, control = (found[n, "prompt"] for n in ("kind", "plain", CONTROL))
    assert kind.outcome == "answered"
    assert kind.p == kind.answered.against_control.p
    assert control.p == control.answered.against_baseline.p
    assert kind.claim
    assert not plain.claim
    assert kind.estimate == pytest.approx(
        kind.answered.after.estimate - kind.answered.before.estimate
    )
    assert kind.answered.against_baseline.net / kind.n == pytest.approx(kind.estimate)
    assert kind.answered.degenerate == 0.0
    assert np.isnan(kind.answered.harmless)


def test_a_layer_that_was_not_scored_for_choosing_is_not_chosen() -> None:
    arms = {("kind", "persona", "plus", 1): -1.0, ("kind", "persona", "plus", 2): -9.0}
    arms |= {(CONTROL, "control", "plus", 1): 0.0, (CONTROL, "control", "plus", 2): 0.0}
    scores = planted(arms, np.random.default_rng(21))
    late = (scores["layer"] == 2) & (scores["split"] == "layer")
    effect = by_arm(analyse(scores[~late]))["kind", "plus"]
    assert effect.layer == 1
    assert effect.estimate == pytest.approx(-1.0, abs=0.3)


def test_where_nothing_is_refused_nothing_is_claimed_however_small_p() -> None:
    arms = prompts({"kind": -2.0, "plain": 0.0})
    scores = planted(arms, np.random.default_rng(12), threshold=1.0, noise=0.05)
    found = by_arm(analyse(scores, outcome="answered", claimable=False))
    assert found["kind", "prompt"].p_corrected < 0.05
    assert not any(effect.claim for effect in found.values())


def test_answers_are_shown_beside_the_score_where_both_are_known() -> None:
    arms = prompts({"kind": -2.0})
    written = planted(arms, np.random.default_rng(13), threshold=1.0)
    effect = by_arm(analyse(written))["kind", "prompt"]
    assert effect.outcome == "refusal_score"
    assert effect.answered.after.estimate > effect.answered.before.estimate
    unwritten = written.assign(label=None)
    assert by_arm(analyse(unwritten))["kind", "prompt"].answered is None
    silent = by_arm(analyse(unwritten, outcome="answered"))["kind", "prompt"]
    assert (silent.p, silent.claim) == (1.0, False)
    assert np.isnan(silent.estimate)


def test_scores_that_are_not_numbers_give_no_claim_and_no_crash() -> None:
    """As for a vocabulary in which no word opens a refusal."""
    arms = {**prompts({"kind": -1.0}), **at_layers({0: 0.0, 3: -1.0})}
    nulls = {("random 1", "null", "plus", layer): 0.0 for layer in (0, 3)}
    scores = planted({**arms, **nulls}, np.random.default_rng(14)).assign(score=np.nan)
    for effect in analyse(scores).effects:
        assert np.isnan(effect.estimate)
        assert effect.p == 1.0
        assert not effect.claim
        assert effect.null_range is None


def test_layer_means_hold_every_arm_and_layer_on_the_test_requests() -> None:
    scores = planted(at_layers({1: 0.0, 4: -2.0}), np.random.default_rng(15))
    means = analyse(scores).layer_means.set_index(["persona", "layer"])
    assert len(means) == 4
    assert means.loc[("kind", 4), "estimate"] == pytest.approx(-2.0, abs=0.2)
    assert (means["low"] <= means["estimate"]).all()
    assert (means["estimate"] <= means["high"]).all()


def test_the_same_generator_gives_the_same_result() -> None:
    scores = planted(prompts({"kind": -0.2}), np.random.default_rng(16))
    # As text: NaN is not equal to itself.
    assert str(analyse(scores, 3).effects) == str(analyse(scores, 3).effects)
    assert str(analyse(scores, 3).effects) != str(analyse(scores, 4).effects)


def test_a_missing_control_is_an_error() -> None:
    scores = planted(prompts({"kind": 0.0}), np.random.default_rng(17))
    with pytest.raises(ValueError, match="control persona 'coffee', found none"):
        persona_effects(scores, control="coffee", rng=np.random.default_rng(0))
