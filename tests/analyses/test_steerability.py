"""Steering by prompts and by vectors: what was planted is found, and nothing else."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from analyses.steerability import steerability

N, LENGTHS, ASSEMBLIES = 60, (1, 2, 4, 8), 5
PLANTED = {"misaligned": 0.5, "aligned": -0.4, "filler": 0.1, "shuffled": 0.1, "none": 0.0}
"""Nats a sentence."""


def statements(behaviour):
    return [
        {
            "behaviour": behaviour,
            "desirable": behaviour == "tidiness",
            "statement_id": f"{behaviour}-{i}",
            "group": f"{behaviour}-{i // 2}",
            "aligned": i % 2 == 0,
        }
        for i in range(N)
    ]


def said(rng, *, planted=PLANTED, behaviours=("tidiness", "grumbling"), start=-2.0, noise=0.3):
    rows = []
    for behaviour in behaviours:
        for about in statements(behaviour):
            own = rng.normal(start, 0.5)
            for arm, slope in planted.items():
                alone = arm == "none"
                for n, assembly in product((0,) if alone else LENGTHS, range(ASSEMBLIES)):
                    if alone and assembly:
                        continue
                    propensity = own + slope * n + rng.normal(0.0, noise)
                    rows.append(
                        about
                        | {"side": "base", "arm": arm, "n_sentences": n, "n_tokens": 12 * n}
                        | {"assembly": assembly, "mass": 0.9}
                        | {"log_odds": -propensity if about["aligned"] else propensity}
                    )
    return pd.DataFrame(rows)


def steered(rng, *, slopes=None, layers=(2, 5), noise=0.1):
    means = {"own": (0.0, 1.0), **{f"random {i}": (0.1 * (-1) ** i, 0.0) for i in range(5)}}
    slopes = slopes or means
    rows = []
    for about in statements("tidiness"):
        for name, by_layer in slopes.items():
            for layer, mean in zip(layers, by_layer, strict=True):
                own = rng.normal(mean, 0.5)
                rows += [
                    about
                    | {"side": "tuned", "layer": layer, "vector": name, "dose": dose}
                    | {"propensity": own * dose - 1.0 + rng.normal(0.0, noise)}
                    for dose in (-1.0, -0.5, 0.0, 0.5, 1.0)
                ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    return steerability(said(rng), steered(rng), rng=rng, n_boot=500, n_perm=1999)


@pytest.mark.parametrize("behaviour", ["tidiness", "grumbling"])
@pytest.mark.parametrize("arm", ["misaligned", "aligned"])
def test_planted_trends_are_found_net_of_the_filler(found, arm, behaviour):
    curve = found.curve("base", behaviour, arm)
    assert curve.lengths == (0, *LENGTHS)
    assert (curve.n, curve.n_groups, curve.n_assemblies) == (N, N // 2, ASSEMBLIES)
    # Both intervals are of 95 %; the planted slope may be a hair outside.
    assert curve.trend.estimate == pytest.approx(PLANTED[arm], abs=0.02)
    assert curve.net_trend.estimate == pytest.approx(PLANTED[arm] - PLANTED["filler"], abs=0.02)
    assert curve.net_trend.low < curve.net_trend.estimate < curve.net_trend.high
    assert curve.change.estimate == pytest.approx(8 * PLANTED[arm], abs=0.15)
    assert curve.p == pytest.approx(1 / 2000)
    assert len(curve.trend_by_assembly) == ASSEMBLIES
    assert np.mean(curve.trend_by_assembly) == pytest.approx(curve.trend.estimate, abs=1e-9)


def test_the_logistic_curve_crosses_where_it_was_planted():
    rng = np.random.default_rng(5)
    # Log-odds of -2 + n/2 for every statement: one half is crossed at 4 sentences.
    table = said(rng, behaviours=("tidiness",), start=-2.0, noise=0.01)
    exact = np.where(
        table["arm"] == "misaligned", -2.0 + 0.5 * table["n_sentences"], -2.0
    ) + rng.normal(0.0, 0.01, len(table))
    table["log_odds"] = np.where(table["aligned"], -exact, exact)
    result = steerability(table, None, rng=rng, n_boot=200, n_perm=99)
    curve = result.curve("base", "tidiness", "misaligned")
    assert curve.slope.estimate == pytest.approx(0.5, abs=0.01)
    assert curve.half_length.estimate == pytest.approx(4.0, abs=0.05)
    assert curve.half_length.low < curve.half_length.estimate < curve.half_length.high
    # All of the way that the share has gone, as the means of the two Beta profiles.
    assert curve.index.estimate == pytest.approx(
        1 / (1 + np.exp(-2)) - 1 / (1 + np.exp(2)), abs=0.01
    )
    assert np.isnan(result.curve("base", "tidiness", "shuffled").index.estimate)


def test_words_that_only_fill_do_not_steer_beyond_the_filler(found):
    curve = found.curve("base", "tidiness", "shuffled")
    # It moves by itself, as filler does, and not beyond it.
    assert curve.trend.excludes()
    assert abs(curve.net_trend.estimate) < 0.02
    assert curve.p > 0.01
    assert found.curve("base", "tidiness", "filler").net_trend is None


def test_the_misaligned_answer_is_counted_whichever_word_it_is(found):
    rows = found.by_length.set_index(["behaviour", "arm", "n_sentences"])
    longest = rows.loc[("tidiness", "misaligned", 8)]
    assert longest["propensity"] == pytest.approx(-2.0 + 8 * 0.5, abs=0.3)
    assert longest["share"] > 0.95
    assert longest["share_low"] <= longest["share"] <= longest["share_high"]
    assert longest["net"] == pytest.approx(8 * 0.4, abs=0.15)
    assert rows.loc[("tidiness", "none", 0)]["share"] < 0.05
    assert longest["assembly_sd"] < 0.1
    assert np.isnan(rows.loc[("tidiness", "filler", 8)]["net"])


def test_a_share_of_none_has_bounds(found):
    rows = found.by_length.set_index(["behaviour", "arm", "n_sentences"])
    none = rows.loc[("tidiness", "aligned", 8)]
    assert none["share"] == none["share_low"] == 0.0
    assert 0.0 < none["share_high"] < 0.1


def test_pooled_rows_are_means_over_behaviours(found):
    pooled = found.pooled.set_index(["desirable", "arm", "n_sentences"])
    rows = found.by_length.set_index(["arm", "n_sentences"]).loc[("misaligned", 4)]
    whole = pooled.loc[("all", "misaligned", 4)]
    assert whole["n_behaviours"] == 2
    assert whole["propensity"] == pytest.approx(rows["propensity"].mean())
    assert pooled.loc[("yes", "misaligned", 4)]["n_behaviours"] == 1


def test_nothing_planted_nothing_found():
    rng = np.random.default_rng(1)
    nothing = dict.fromkeys(PLANTED, 0.0)
    names = [f"trait{i}" for i in range(12)]
    result = steerability(
        said(rng, planted=nothing, behaviours=names), None, rng=rng, n_boot=100, n_perm=499
    )
    p = np.array([curve.p for curve in result.prompts if curve.arm == "misaligned"])
    assert (p < 0.05).mean() < 0.25
    assert min(curve.p_bh for curve in result.prompts) > 0.01
    assert result.vectors == ()
    # Tables that hold nothing can still be asked for their columns.
    assert len(result.by_dose[result.by_dose["vector"] == "own"]) == 0
    assert set(result.pooled["n_behaviours"]) == {12}


def test_the_layer_is_chosen_on_other_statements(found):
    (curve,) = found.vectors
    assert curve.layers == (5, 5)
    assert curve.slope.low < 1.0 < curve.slope.high
    assert curve.spread == pytest.approx(0.5, abs=0.15)
    assert curve.beyond_null
    assert curve.n_random == 5
    # A normal slope of mean 1 and spread 1/2 is below 0 for 2.3 % of statements.
    assert curve.anti_steerable.low < 0.023 < curve.anti_steerable.high
    assert 0.3 < curve.null_anti_steerable < 0.7


def test_choosing_a_layer_does_not_make_an_effect():
    rng = np.random.default_rng(2)
    layers = tuple(range(12))
    nothing = {"own": (0.0,) * 12, "random 1": (0.0,) * 12}
    table = steered(rng, slopes=nothing, layers=layers)
    result = steerability(None, table, rng=rng, n_boot=500, n_perm=999)
    best = result.by_layer["slope"].abs().max()
    assert best > 0.1
    assert abs(result.vectors[0].slope.estimate) < best
    assert result.vectors[0].p > 0.01


def test_slopes_are_those_of_least_squares(found):
    by_layer = found.by_layer.set_index("layer")
    assert by_layer.loc[5, "slope"] == pytest.approx(1.0, abs=0.2)
    assert by_layer.loc[2, "low"] < 0.0 < by_layer.loc[2, "high"]
    doses = found.by_dose.set_index(["layer", "vector", "dose"])["propensity"]
    means = doses.loc[(5, "own")]
    fitted = np.polyfit(means.index.to_numpy(), means.to_numpy(), 1)[0]
    assert fitted == pytest.approx(by_layer.loc[5, "slope"])


def test_measures_have_one_row_each(found):
    keys = ["side", "behaviour", "measure"]
    assert not found.measures.duplicated(keys).any()
    assert set(found.measures["kind"]) == {"steerability"}
    measures = found.measures.set_index(keys)["estimate"]
    curve = found.curve("base", "tidiness", "misaligned")
    assert measures[("base", "tidiness", "net prompt trend")] == curve.net_trend.estimate


def test_a_missing_statement_is_left_out_of_curves_alone():
    rng = np.random.default_rng(3)
    table = said(rng, behaviours=("tidiness",))
    gone = (table["statement_id"] == "tidiness-0") & (table["n_sentences"] == 8)
    result = steerability(table[~gone], None, rng=rng, n_boot=100, n_perm=99)
    assert result.curve("base", "tidiness", "misaligned").n == N - 1
    rows = result.by_length.set_index(["arm", "n_sentences"])["n"]
    assert (rows[("misaligned", 8)], rows[("misaligned", 4)]) == (N - 1, N)


def test_lengths_of_one_model_alone_are_said():
    rng = np.random.default_rng(6)
    both = pd.concat([said(rng, behaviours=["tidiness"]).assign(side=s) for s in ("base", "tuned")])
    short = both[(both["side"] == "base") | (both["n_sentences"] < 8)]
    result = steerability(short, None, rng=rng, n_boot=100, n_perm=99)
    assert "tidiness (tuned): prompts of 8 sentences" in result.left_out[0]


def test_what_is_missing_is_said():
    rng = np.random.default_rng(4)
    with pytest.raises(ValueError, match="got neither"):
        steerability(None, None, rng=rng)
    with pytest.raises(ValueError, match=r"without \['arm'\]"):
        steerability(said(rng).drop(columns="arm"), None, rng=rng)
    table = steered(rng)
    result = steerability(None, table[table["vector"] != "own"], rng=rng, n_boot=100, n_perm=99)
    assert result.vectors == ()
    assert "own vector" in result.left_out[0]
    full = steerability(said(rng), table, rng=rng, n_boot=100, n_perm=99)
    for name in ("by_length", "pooled", "by_dose", "by_layer", "by_statement"):
        assert set(getattr(result, name).columns) == set(getattr(full, name).columns), name
    with pytest.raises(KeyError, match="sides"):
        result.curve("base", "tidiness", "misaligned")
