"""Logistic curves: planted slopes found at the nominal rate, and what determines no curve."""

import math

import numpy as np
import pytest
from scipy.special import expit

from lens_personas.statistics import averaged_logistic, logistic_curve

LENGTHS = np.arange(0.0, 14.0, 2.0)
LOWEST = 0.95 - 3.0 * math.sqrt(0.95 * 0.05 / 150)


def statements(rng, *, n, slope=0.3, half=4.0, spread=0.0):
    """Yes or no of ``n`` statements at every length."""
    x, clusters = np.tile(LENGTHS, n), np.repeat(np.arange(n), len(LENGTHS))
    log_odds = slope * (x - half) + spread * rng.normal(size=n)[clusters]
    return x, rng.binomial(1, expit(log_odds)).astype(float), clusters


def two_sides(rng, *, n, extra=0.0):
    """Shares of ``n`` behaviours, whose levels and slopes vary, in two models."""
    x = np.tile(LENGTHS, 2 * n)
    second = np.repeat([False, True], n * len(LENGTHS))
    clusters = np.tile(np.repeat(np.arange(n), len(LENGTHS)), 2)
    own = 0.2 + 0.05 * rng.normal(size=(2, n))[second.astype(int), clusters]
    log_odds = -1.0 + rng.normal(size=n)[clusters] + (own + extra * second) * x
    return x, rng.binomial(40, expit(log_odds)) / 40.0, second, clusters


def test_a_planted_curve_is_inside_at_the_nominal_rate(rng):
    slopes, halves, found = [], [], []
    for _ in range(150):
        curve = logistic_curve(*statements(rng, n=30))
        slopes.append(not curve.slope.excludes(0.3))
        halves.append(not curve.half_length.excludes(4.0))
        found.append(curve.p < 0.05)
    assert min(np.mean(slopes), np.mean(halves)) >= LOWEST
    assert np.mean(found) > 0.95


def test_nothing_planted_is_found_at_the_nominal_rate(rng):
    p = [logistic_curve(*statements(rng, n=20, slope=0.0, spread=1.0)).p for _ in range(150)]
    assert np.mean(np.array(p) < 0.05) < 0.05 + 3.0 * math.sqrt(0.05 * 0.95 / 150)


def test_exact_shares_give_the_exact_curve():
    x = np.tile(LENGTHS, 5)
    clusters = np.repeat(np.arange(5), len(LENGTHS))
    # Clusters that differ a little, in pairs that cancel, so that there is an error to estimate.
    wobble = np.repeat([-0.01, -0.005, 0.0, 0.005, 0.01], len(LENGTHS))
    curve = logistic_curve(x, expit(0.5 * (x - 3.0)) + wobble * 0.5, clusters)
    assert curve.slope.estimate == pytest.approx(0.5, abs=1e-3)
    assert curve.half_length.estimate == pytest.approx(3.0, abs=1e-3)
    assert curve.intercept.estimate == pytest.approx(-1.5, abs=1e-3)
    assert curve.half_length.low < 3.0 < curve.half_length.high
    assert (curve.n, curve.n_clusters, curve.reason) == (35, 5, None)


def test_rows_of_one_statement_count_as_one(rng):
    x, share, clusters = statements(rng, n=15, spread=1.0)
    once = logistic_curve(x, share, clusters)
    thrice = logistic_curve(np.tile(x, 3), np.tile(share, 3), np.tile(clusters, 3))
    assert thrice.slope.low == pytest.approx(once.slope.low, rel=0.02)
    assert thrice.slope.high == pytest.approx(once.slope.high, rel=0.02)


def test_a_flat_curve_has_no_bounds_where_it_crosses(rng):
    curve = logistic_curve(*statements(rng, n=30, slope=0.0, spread=1.0))
    assert curve.slope.low < 0.0 < curve.slope.high
    assert math.isnan(curve.half_length.low)
    assert math.isnan(curve.half_length.high)


@pytest.mark.parametrize("extra", [0.0, 0.1])
def test_an_interaction_is_found_as_it_was_planted(extra, rng):
    inside, found = [], []
    for _ in range(60):
        fit = averaged_logistic(*two_sides(rng, n=23, extra=extra))
        # Averaged over clusters of different levels, slopes are smaller than each cluster's own.
        inside.append(fit.interaction.low < extra and fit.interaction.high > extra * 0.6)
        found.append(fit.p < 0.05)
        gap = fit.second_slope.estimate - fit.first_slope.estimate
        assert fit.interaction.estimate == pytest.approx(gap)
    assert np.mean(inside) > 0.95 - 3.0 * math.sqrt(0.95 * 0.05 / 60)
    assert np.mean(found) > 0.8 if extra else np.mean(found) < 0.05 + 3.0 * math.sqrt(0.0475 / 60)


def test_every_cluster_counts_the_same(rng):
    x, share, second, clusters = two_sides(rng, n=8, extra=0.1)
    once = averaged_logistic(x, share, second, clusters)
    again = np.concatenate([np.arange(len(x)), np.flatnonzero(clusters == 0)])
    more = averaged_logistic(x[again], share[again], second[again], clusters[again])
    assert more.interaction.estimate == pytest.approx(once.interaction.estimate)
    assert (more.n, more.n_clusters) == (once.n, 8)
    mirrored = averaged_logistic(x, share, ~second, clusters)
    assert mirrored.interaction.estimate == pytest.approx(-once.interaction.estimate)
    assert mirrored.first_slope.estimate == pytest.approx(once.second_slope.estimate)


@pytest.mark.parametrize(
    ("x", "share", "reason"),
    [
        (np.tile(LENGTHS, 4), np.zeros(28), "the same everywhere"),
        (np.ones(28), np.linspace(0, 1, 28), "two different x"),
        (np.tile(LENGTHS, 4), (np.tile(LENGTHS, 4) > 5).astype(float), "not identified"),
    ],
    ids=["constant", "one length", "separated"],
)
def test_what_determines_no_curve_is_undefined_and_says_why(x, share, reason):
    clusters = np.repeat(np.arange(4), 7)
    curve = logistic_curve(x, share, clusters)
    assert reason in curve.reason
    assert math.isnan(curve.slope.estimate)
    assert math.isnan(curve.half_length.estimate)
    assert curve.p == 1.0
    both = averaged_logistic(
        np.tile(x, 2), np.tile(share, 2), np.repeat([False, True], 28), np.tile(clusters, 2)
    )
    assert reason in both.reason
    assert math.isnan(both.interaction.low)
    assert both.p == 1.0


def test_too_few_clusters_are_said(rng):
    x, share, _ = statements(rng, n=4)
    curve = logistic_curve(x, share, np.zeros(len(x)))
    assert curve.reason == "expected at least 3 clusters for an interval, got 1"


def test_bad_shares_are_refused():
    with pytest.raises(ValueError, match=r"expected shares in \[0, 1\], got -2.0"):
        logistic_curve(np.ones(2), np.array([0.5, -2.0]), np.arange(2))
    with pytest.raises(ValueError, match="got lengths"):
        logistic_curve(np.ones(2), np.ones(3), np.arange(2))
    with pytest.raises(ValueError, match="got lengths"):
        averaged_logistic(np.ones(2), np.ones(2), np.ones(3, dtype=bool), np.arange(2))
