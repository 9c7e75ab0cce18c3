"""The tuned against the base model: planted shifts are found at the right size, and no others."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analyses.base_against_tuned import base_against_tuned

BEHAVIOURS = [f"trait {number:02}" for number in range(16)]
SIDES = ("base", "tuned")


def measures(rng, *, shift=0.0, tie=0.0):
    """One metric that shifts, one that does not, and a slope tied to the first in the base."""
    rows = []
    for behaviour in BEHAVIOURS:
        own = rng.normal()
        for side in SIDES:
            apart = own + rng.normal(0.0, 0.3) + shift * (side == "tuned")
            slope = tie * own * (side == "base") + rng.normal(0.0, 0.3)
            rows += [
                (side, behaviour, "wasserstein", "distinguishability", apart),
                (side, behaviour, "ks", "distinguishability", rng.normal()),
                (side, behaviour, "net prompt trend", "steerability", slope),
            ]
    return pd.DataFrame(rows, columns=["side", "behaviour", "measure", "kind", "estimate"])


def scores(rng, *, apart=(0.0, 0.0), n=40, behaviours=BEHAVIOURS[:3]):
    """Log-odds of two halves, as far apart in either model as planted."""
    rows = []
    for behaviour, i in product(behaviours, range(n)):
        own, aligned = rng.normal(), i % 2 == 0
        for side, distance in zip(SIDES, apart, strict=True):
            log_odds = own + distance * aligned + rng.normal(0.0, 0.3)
            for order in ("yes_first", "no_first"):
                rows.append(
                    {"side": side, "behaviour": behaviour, "desirable": True, "aligned": aligned}
                    | {"statement_id": f"{behaviour}-{i}", "group": f"{behaviour}-{i}"}
                    | {"order": order, "log_odds": log_odds + rng.normal(0.0, 0.1)}
                )
    return pd.DataFrame(rows)


def lengths(rng, slopes, *, behaviours=BEHAVIOURS, n=6):
    """Answers on logistic curves with a slope for each side, and behaviours of their own level."""
    rows = []
    for behaviour in behaviours:
        level = rng.normal(-1.0, 0.2)
        for (side, slope), i in product(slopes.items(), range(n)):
            for arm, at in [("none", 0), *product(("misaligned", "filler"), (1, 2, 4))]:
                push = slope * at if arm == "misaligned" else 0.0
                propensity = level + push + rng.normal(0.0, 0.1)
                rows.append(
                    {"side": side, "behaviour": behaviour, "desirable": True, "arm": arm}
                    | {"n_sentences": at, "n_tokens": 9 * at, "assembly": 0, "mass": 1.0}
                    | {"statement_id": f"{behaviour}-{i}", "group": f"{behaviour}-{i}"}
                    | {"aligned": i % 2 == 0, "log_odds": propensity * (-1) ** (i % 2 == 0)}
                )
    return pd.DataFrame(rows)


def shifts(found):
    return {each.measure: each for each in found.shifts}


def test_a_planted_shift_is_found_with_its_size():
    rng = np.random.default_rng(0)
    found = base_against_tuned(measures(rng, shift=0.6), rng=rng, n_boot=500, n_perm=500)
    moved, still = shifts(found)["wasserstein"], shifts(found)["ks"]
    assert moved.difference.low < 0.6 < moved.difference.high
    assert moved.tuned - moved.base == pytest.approx(moved.difference.estimate)
    assert moved.p_bh < 0.01
    assert moved.test.up > moved.test.down
    assert still.p_bh > 0.05
    assert found.behaviours == tuple(BEHAVIOURS)


def test_the_detectable_shift_is_found_with_the_power_it_says():
    rng = np.random.default_rng(1)
    found = base_against_tuned(measures(rng), rng=rng, n_boot=100, n_perm=100)
    shift = shifts(found)["wasserstein"]
    spread = shift.detectable / shift.detectable_sd
    draws = rng.normal(shift.detectable, spread, size=(2000, shift.n))
    power = (stats.ttest_1samp(draws, 0.0, axis=1).pvalue < found.alpha).mean()
    assert power == pytest.approx(found.power, abs=0.04)


def test_steerability_is_correlated_with_what_it_hangs_on_and_where():
    rng = np.random.default_rng(2)
    found = base_against_tuned(measures(rng, tie=1.0), rng=rng, n_boot=500, n_perm=2000)
    by_key = {(each.side, each.metric): each for each in found.correlations}
    assert set(by_key) == set(product(("base", "tuned", "change"), ("wasserstein", "ks")))
    tied = by_key["base", "wasserstein"]
    assert tied.correlation.low > 0.5
    assert tied.p_bh < 0.01
    assert tied.steerability == "net prompt trend"
    assert by_key["tuned", "wasserstein"].p_bh > 0.05
    assert by_key["base", "ks"].p_bh > 0.05
    row = found.matrix.set_index(["side", "measure", "other"]).loc[
        ("base", "net prompt trend", "wasserstein")
    ]
    assert row["rho"] == tied.correlation.estimate


def test_a_behaviour_that_one_model_lacks_is_left_out_of_its_shift():
    rng = np.random.default_rng(3)
    table = measures(rng)
    gone = (table["side"] == "tuned") & (table["behaviour"] == BEHAVIOURS[0])
    table.loc[gone & (table["measure"] == "ks"), "estimate"] = np.nan
    found = base_against_tuned(table, rng=rng, n_boot=100, n_perm=100)
    assert shifts(found)["ks"].n == len(BEHAVIOURS) - 1
    assert shifts(found)["wasserstein"].n == len(BEHAVIOURS)
    with pytest.raises(ValueError, match="a measure on both sides"):
        base_against_tuned(table[table["side"] == "base"], rng=rng)
    with pytest.raises(ValueError, match=r"none called \['kind'\]"):
        base_against_tuned(table.drop(columns="kind"), rng=rng)


def test_within_a_behaviour_the_planted_change_is_found():
    rng = np.random.default_rng(4)
    found = base_against_tuned(
        measures(rng), scores=scores(rng, apart=(0.2, 1.5)), rng=rng, n_boot=100, n_perm=999
    )
    aurocs = [each for each in found.within if each.measure == "auroc"]
    assert [each.behaviour for each in aurocs] == BEHAVIOURS[:3]
    for each in aurocs:
        assert (each.n, each.n_groups) == (40, 40)
        assert each.tuned > each.base
        assert each.difference == pytest.approx(each.tuned - each.base)
        assert each.p_bh < 0.01


def test_within_a_behaviour_nothing_is_found_where_nothing_changed():
    rng = np.random.default_rng(5)
    found = base_against_tuned(
        measures(rng),
        scores=scores(rng, apart=(1.0, 1.0), behaviours=BEHAVIOURS),
        rng=rng,
        n_boot=100,
        n_perm=199,
    )
    p = np.array([each.p for each in found.within if each.measure == "auroc"])
    assert (p < 0.05).sum() <= 4
    assert min(each.p_bh for each in found.within) > 0.02


def test_slopes_of_statements_are_paired():
    rng = np.random.default_rng(6)
    rows = [
        {"side": side, "behaviour": "trait", "desirable": False, "measure": "vector slope"}
        | {"statement_id": f"s{i}", "group": f"g{i // 2}"}
        # Statements differ far more than the models do.
        | {"value": 10.0 * i + 0.5 * (side == "tuned") + rng.normal(0.0, 0.2)}
        for side, i in product(SIDES, range(40))
    ]
    found = base_against_tuned(
        measures(rng), by_statement=pd.DataFrame(rows), rng=rng, n_boot=100, n_perm=999
    )
    (each,) = found.within
    assert (each.measure, each.n, each.n_groups, each.desirable) == ("vector slope", 40, 20, False)
    assert each.difference == pytest.approx(0.5, abs=0.15)
    assert each.p == pytest.approx(0.001)


@pytest.mark.parametrize("behaviours", [BEHAVIOURS, BEHAVIOURS[:2]])
def test_the_interaction_is_the_difference_of_the_planted_slopes(behaviours):
    rng = np.random.default_rng(7)
    table = lengths(rng, {"base": 0.2, "tuned": 0.7}, behaviours=behaviours, n=12)
    found = base_against_tuned(measures(rng), lengths=table, rng=rng, n_boot=100, n_perm=100)
    arms = {each.arm: each for each in found.interactions}
    assert set(arms) == {"misaligned", "filler"}
    steered, filler = arms["misaligned"], arms["filler"]
    assert steered.interaction.estimate == pytest.approx(0.5, abs=0.05)
    assert steered.interaction.excludes()
    assert steered.tuned_slope.estimate == pytest.approx(0.7, abs=0.05)
    assert steered.p < 0.001 < 0.01 < filler.p
    few = len(behaviours) < 10
    assert steered.clusters == ("statement" if few else "behaviour")
    assert steered.n_clusters == (24 if few else 16)


def test_answers_that_jump_at_the_first_sentence_are_compared_all_the_same():
    rng = np.random.default_rng(9)
    # Off the logistic curve in every behaviour alike: far up at once, and little after.
    table = lengths(rng, {"base": 0.0, "tuned": 0.0}, n=4)
    length = table["n_sentences"].where(table["arm"] == "misaligned", 0).to_numpy()
    far = np.where(table["side"] == "base", 1.2, 2.4) * np.sqrt(length)
    table["log_odds"] += np.where(table["aligned"], -far, far)
    found = base_against_tuned(measures(rng), lengths=table, rng=rng, n_boot=100, n_perm=100)
    (steered,) = (each for each in found.interactions if each.arm == "misaligned")
    assert steered.interaction.low > 0.0
    assert steered.interaction.estimate == pytest.approx(
        steered.tuned_slope.estimate - steered.base_slope.estimate
    )
    assert found.left_out == ()


def test_one_model_alone_gives_no_interaction():
    rng = np.random.default_rng(8)
    table = lengths(rng, {"base": 0.2})
    found = base_against_tuned(measures(rng), lengths=table, rng=rng, n_boot=100, n_perm=100)
    assert found.interactions == ()
