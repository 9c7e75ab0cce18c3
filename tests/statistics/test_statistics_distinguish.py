"""AUROC, d' and the rank test against closed forms and planted differences."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.metrics import roc_auc_score

from lens_personas.statistics import auroc, auroc_interval, d_prime, mann_whitney

scores = arrays(float, st.integers(1, 20), elements=st.integers(-5, 5).map(float))


@given(positive=scores, negative=scores)
def test_auroc_counts_pairs_and_agrees_with_sklearn(positive, negative):
    above = (positive[:, None] > negative).mean() + 0.5 * (positive[:, None] == negative).mean()
    assert auroc(positive, negative) == pytest.approx(above)
    labels = [1] * len(positive) + [0] * len(negative)
    pooled = np.concatenate([positive, negative])
    assert auroc(positive, negative) == pytest.approx(roc_auc_score(labels, pooled))
    assert auroc(negative, positive) == pytest.approx(1.0 - above)
    assert auroc(np.exp(positive), np.exp(negative)) == pytest.approx(above)


def test_auroc_interval_covers_the_truth_at_the_nominal_rate(rng):
    truth = stats.norm.cdf(1.0 / math.sqrt(2.0))
    hits = []
    for _ in range(300):
        interval = auroc_interval(
            rng.normal(1.0, 1.0, 40), rng.normal(0.0, 1.0, 40), rng=rng, n_resamples=400
        )
        hits.append(not interval.excludes(truth))
    assert 0.95 - 3 * math.sqrt(0.95 * 0.05 / 300) < np.mean(hits) < 0.99


def test_sides_apart_have_a_bound_that_more_data_tighten_and_that_mirrors(rng):
    lows = []
    for n in (5, 20, 100):
        interval = auroc_interval(np.arange(n) + 1000.0, np.arange(n) * 1.0, rng=rng)
        mirror = auroc_interval(np.arange(n) * 1.0, np.arange(n) + 1000.0, rng=rng)
        assert (interval.estimate, interval.high) == (1.0, 1.0)
        assert (mirror.estimate, mirror.low) == (0.0, 0.0)
        assert mirror.high == pytest.approx(1.0 - interval.low)
        lows.append(interval.low)
    assert 0.3 < lows[0] < lows[1] < lows[2] < 1.0


def test_the_bound_of_sides_apart_is_kept_by_nearly_apart_truths(rng):
    # Where the truth is just below the bound, sides of this size come apart rarely.
    bound = auroc_interval(np.arange(20) + 1000.0, np.arange(20) * 1.0, rng=rng).low
    shift = math.sqrt(2.0) * stats.norm.ppf(bound - 0.01)
    apart = [rng.normal(shift, 1.0, 20).min() > rng.normal(0.0, 1.0, 20).max() for _ in range(2000)]
    assert np.mean(apart) < 0.05


def test_auroc_without_a_side_or_variance(rng):
    some, none = np.ones(4), np.empty(0)
    assert math.isnan(auroc(some, none))
    assert math.isnan(auroc_interval(none, some, rng=rng).estimate)
    level = auroc_interval(some, some, rng=rng)
    assert level.estimate == 0.5
    assert math.isnan(level.low)


def test_d_prime_is_the_planted_distance_in_standard_deviations(rng):
    found = d_prime(rng.normal(3.0, 2.0, 20_000), rng.normal(0.0, 2.0, 20_000))
    assert found == pytest.approx(1.5, abs=0.05)


@given(positive=arrays(float, 6, elements=st.floats(-9, 9)), scale=st.floats(0.01, 100.0))
def test_d_prime_ignores_shift_and_scale_and_turns_with_the_sides(positive, scale):
    negative = np.array([0.0, 1.0, 3.0])
    value = d_prime(positive, negative)
    assert d_prime(scale * positive + 1.0, scale * negative + 1.0) == pytest.approx(value)
    assert d_prime(negative, positive) == pytest.approx(-value)


def test_d_prime_is_undefined_without_variance_or_data():
    assert math.isnan(d_prime(np.full(5, 0.1), np.full(5, 0.3)))
    assert math.isnan(d_prime(np.array([1.0]), np.array([1.0, 2.0])))


def test_mann_whitney_is_exact_uniform_under_the_null_and_one_when_undefined(rng):
    assert mann_whitney(np.array([4.0, 5.0, 6.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx(0.1)
    null = [mann_whitney(rng.normal(size=25), rng.normal(size=35)) for _ in range(500)]
    assert stats.kstest(null, "uniform").pvalue > 0.001
    assert mann_whitney(np.ones(3), np.ones(4)) == 1.0
    assert mann_whitney(np.empty(0), np.ones(4)) == 1.0


def test_missing_scores_are_refused():
    with pytest.raises(ValueError, match="finite numbers in negative, got 1 NaN"):
        auroc(np.ones(2), np.array([np.nan]))
