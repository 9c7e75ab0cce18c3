"""Intervals: closed forms, coverage under simulation, undefined cases."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from lens_personas.statistics import (
    Interval,
    cluster_bootstrap,
    paired_bootstrap,
    prediction_interval,
    unpaired_bootstrap,
    wilson,
)

TRIALS = 400
# Three standard errors of a rate of .95 over TRIALS.
SLACK = 3.0 * math.sqrt(0.95 * 0.05 / TRIALS)


def covered(intervals, truth):
    return np.mean([not interval.excludes(truth) for interval in intervals])


@given(n=st.integers(1, 500), share=st.floats(0.0, 1.0), level=st.floats(0.5, 0.999))
def test_wilson_solves_its_equation_mirrors_and_stays_in_range(n, share, level):
    from scipy import stats

    successes = round(share * n)
    interval = wilson(successes, n, level=level)
    mirror = wilson(n - successes, n, level=level)
    assert 0.0 <= interval.low <= interval.estimate <= interval.high <= 1.0
    assert interval.low == pytest.approx(1.0 - mirror.high, abs=1e-9)
    # A bound is the rate whose own standard error is z away from the estimate.
    z = stats.norm.isf((1 - level) / 2)
    for bound in (interval.low, interval.high):
        score = (interval.estimate - bound) ** 2
        assert score == pytest.approx(z**2 * bound * (1 - bound) / n, abs=1e-9)


def test_wilson_of_39_in_100_is_the_published_interval():
    interval = wilson(39, 100)
    assert (round(interval.low, 2), round(interval.high, 2)) == (0.30, 0.49)


@pytest.mark.parametrize("rate", [0.02, 0.5, 0.9])
def test_wilson_covers_at_the_nominal_rate(rate, rng):
    draws = rng.binomial(100, rate, size=5000)
    assert covered([wilson(int(k), 100) for k in draws], rate) == pytest.approx(0.95, abs=0.025)


def test_wilson_refuses_impossible_counts_and_levels():
    with pytest.raises(ValueError, match="expected 0 <= successes <= n, got successes=5, n=4"):
        wilson(5, 4)
    with pytest.raises(ValueError, match="expected level between 0 and 1, got 95"):
        wilson(1, 4, level=95.0)


@pytest.mark.parametrize("n", [8, 30])
def test_paired_bootstrap_covers_at_the_nominal_rate_even_for_few_prompts(n, rng):
    intervals = [
        paired_bootstrap(rng.normal(0.4, 1.0, n), rng=rng, n_resamples=600) for _ in range(TRIALS)
    ]
    assert covered(intervals, 0.4) > 0.95 - SLACK
    assert covered(intervals, 0.4) < 0.99
    mean_width = np.mean([i.high - i.low for i in intervals])
    assert mean_width < 2.5 * 1.96 / math.sqrt(n)


def test_unpaired_bootstrap_covers_the_difference_of_means(rng):
    intervals = [
        unpaired_bootstrap(
            rng.normal(1.0, 1.0, 25), rng.normal(0.0, 2.0, 40), rng=rng, n_resamples=600
        )
        for _ in range(TRIALS)
    ]
    assert 0.95 - SLACK < covered(intervals, 1.0) < 0.99


def test_gotcha_21_rows_of_one_prompt_are_resampled_together(rng):
    prompts = np.repeat(np.arange(25), 10)
    by_prompt, by_row = [], []
    for _ in range(TRIALS // 2):
        values = rng.normal(0.0, 1.0, 25)[prompts] + rng.normal(0.0, 0.2, 250)
        by_prompt.append(cluster_bootstrap(values, prompts, rng=rng, n_resamples=400))
        by_row.append(paired_bootstrap(values, rng=rng, n_resamples=400))
    assert covered(by_prompt, 0.0) > 0.95 - math.sqrt(2) * SLACK
    assert covered(by_row, 0.0) < 0.7


def test_cluster_bootstrap_of_single_rows_is_the_bootstrap_by_prompt(rng):
    values = rng.normal(size=40)
    names = np.array([f"prompt {i}" for i in range(40)])
    clustered = cluster_bootstrap(values, names, rng=np.random.default_rng(1), n_resamples=9999)
    plain = paired_bootstrap(values, rng=np.random.default_rng(2), n_resamples=9999)
    assert clustered.estimate == pytest.approx(plain.estimate)
    assert clustered.low == pytest.approx(plain.low, abs=0.02)
    assert clustered.high == pytest.approx(plain.high, abs=0.02)


def test_cluster_bootstrap_estimates_the_mean_over_rows_of_unequal_clusters(rng):
    values = np.array([1.0, 1.0, 1.0, 5.0, 0.0])
    interval = cluster_bootstrap(values, np.array([7, 7, 7, 8, 9]), rng=rng)
    assert interval.estimate == pytest.approx(values.mean())


def test_gotcha_20_a_rate_of_one_half_has_a_finite_interval(rng):
    half = np.tile([0.0, 1.0], 50)
    boot = paired_bootstrap(half, rng=rng)
    score = wilson(50, 100)
    for interval in (boot, score):
        assert interval.estimate == 0.5
        assert np.isfinite([interval.low, interval.high]).all()
    assert boot.low == pytest.approx(score.low, abs=0.02)
    assert boot.high == pytest.approx(score.high, abs=0.02)


def test_bootstrap_moves_and_scales_with_the_data(rng):
    values = rng.normal(size=30)
    plain = paired_bootstrap(values, rng=np.random.default_rng(1))
    moved = paired_bootstrap(3.0 * values + 2.0, rng=np.random.default_rng(1))
    assert moved.estimate == pytest.approx(3.0 * plain.estimate + 2.0)
    assert moved.low == pytest.approx(3.0 * plain.low + 2.0)
    assert moved.high == pytest.approx(3.0 * plain.high + 2.0)


def test_a_higher_level_gives_a_wider_interval(rng):
    values = rng.normal(size=30)
    widths = []
    for level in (0.5, 0.9, 0.99):
        interval = paired_bootstrap(values, rng=np.random.default_rng(1), level=level)
        assert interval.level == level
        widths.append(interval.high - interval.low)
    assert widths == sorted(widths)


@pytest.mark.parametrize(
    ("values", "estimate"), [([], math.nan), ([2.0], 2.0), ([0.3] * 9, 0.3), ([0.0] * 9, 0.0)]
)
def test_without_data_or_variance_there_are_no_bounds(values, estimate, rng):
    array = np.array(values, dtype=float)
    for interval in (
        paired_bootstrap(array, rng=rng),
        cluster_bootstrap(array, np.arange(len(array)), rng=rng),
    ):
        assert interval.estimate == pytest.approx(estimate, nan_ok=True)
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)
        assert not interval.excludes(0.0)
    assert math.isnan(wilson(0, 0).estimate)


def test_interval_excludes_what_lies_outside_it():
    interval = Interval(estimate=0.5, low=0.1, high=0.9, level=0.95)
    assert interval.excludes(0.0)
    assert interval.excludes(1.0)
    assert not interval.excludes(0.1)


def test_missing_values_and_unequal_lengths_are_refused(rng):
    with pytest.raises(
        ValueError, match="finite numbers in differences, got 1 NaN or infinite of 3"
    ):
        paired_bootstrap(np.array([1.0, math.nan, 0.0]), rng=rng)
    with pytest.raises(ValueError, match=r"lengths {'values': 3, 'clusters': 1}"):
        cluster_bootstrap(np.ones(3), np.ones(1), rng=rng)


def test_a_prediction_interval_holds_one_more_draw_at_its_level() -> None:
    rng = np.random.default_rng(5)
    for n in (3, 6, 12):
        draws = rng.normal(2.0, 3.0, (2000, n + 1))
        found = [prediction_interval(row[:n]) for row in draws]
        inside = sum(not i.excludes(row[n]) for i, row in zip(found, draws, strict=True))
        assert binom.ppf(0.0005, 2000, 0.95) <= inside <= binom.ppf(0.9995, 2000, 0.95)


def test_a_prediction_interval_of_many_draws_is_that_of_the_normal_law() -> None:
    values = np.random.default_rng(6).normal(size=200_000)
    found = prediction_interval(values)
    assert (found.low, found.high) == pytest.approx((-1.96, 1.96), abs=0.02)


def test_a_prediction_interval_without_variance_has_no_bounds() -> None:
    for values in (np.array([]), np.array([1.5]), np.array([1.5, 1.5])):
        found = prediction_interval(values)
        assert np.isnan([found.low, found.high]).all()
        assert not found.excludes(99.0)
