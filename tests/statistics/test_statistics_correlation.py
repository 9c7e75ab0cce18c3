"""Correlations: closed forms, exact p, coverage, leave-one-out R²."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from lens_personas.statistics import correlation, leave_one_out_r2


def bivariate(rng, n, rho):
    x = rng.normal(size=n)
    return x, rho * x + math.sqrt(1 - rho**2) * rng.normal(size=n)


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_correlation_agrees_with_scipy_and_lies_in_its_interval(method, rng):
    x, y = bivariate(rng, 30, 0.6)
    result = correlation(x, y, rng=rng, method=method)
    reference = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}[method](x, y)
    assert result.estimate == pytest.approx(reference.statistic)
    assert result.p == pytest.approx(reference.pvalue, abs=0.01)
    assert result.low < result.estimate < result.high
    assert (result.n, result.method) == (30, method)


def test_p_is_exact_up_to_eight_items(rng):
    x, y = bivariate(rng, 6, 0.7)
    orders = [np.corrcoef(x, y[list(o)])[0, 1] for o in itertools.permutations(range(6))]
    observed = np.corrcoef(x, y)[0, 1]
    tails = [
        np.mean(np.array(orders) >= observed - 1e-12),
        np.mean(np.array(orders) <= observed + 1e-12),
    ]
    found = [correlation(x, y, rng=np.random.default_rng(s), n_resamples=9).p for s in (1, 2)]
    assert found == pytest.approx([min(1.0, 2.0 * min(tails))] * 2)


def test_perfect_rank_order_of_eight_items_has_p_two_in_eight_factorial(rng):
    x = np.arange(8.0)
    result = correlation(x, np.exp(x), rng=rng, method="spearman", n_permutations=10)
    assert result.estimate == pytest.approx(1.0)
    assert result.p == pytest.approx(2 / math.factorial(8))


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_correlation_ignores_scale_and_follows_sign(method):
    x, y = bivariate(np.random.default_rng(3), 20, 0.5)
    values = [
        correlation(a, b, rng=np.random.default_rng(1), method=method, n_permutations=99)
        for a, b in ((x, y), (5.0 * x - 2.0, y), (x, -y))
    ]
    assert values[1].estimate == pytest.approx(values[0].estimate)
    assert values[1].low == pytest.approx(values[0].low)
    assert values[2].estimate == pytest.approx(-values[0].estimate)
    assert values[2].low == pytest.approx(-values[0].high)


@pytest.mark.parametrize(("n", "rho"), [(13, 0.0), (13, 0.7), (40, 0.5)])
def test_interval_covers_and_p_is_uniform_under_the_null(n, rho, rng):
    results = [
        correlation(*bivariate(rng, n, rho), rng=rng, n_resamples=400, n_permutations=199)
        for _ in range(300)
    ]
    hits = np.mean([r.low <= rho <= r.high for r in results])
    assert 0.95 - 3 * math.sqrt(0.95 * 0.05 / 300) < hits < 0.995
    if rho == 0.0:
        assert stats.kstest([r.p for r in results], "uniform").pvalue > 0.001
    else:
        assert np.median([r.p for r in results]) < 0.05


@pytest.mark.parametrize(
    ("x", "y"), [([], []), ([1.0, 2.0], [1.0, 2.0]), ([1.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0])]
)
def test_correlation_without_data_or_variance_is_undefined_with_p_one(x, y, rng):
    result = correlation(np.array(x), np.array(y), rng=rng)
    assert math.isnan(result.estimate)
    assert math.isnan(result.low)
    assert math.isnan(result.high)
    assert result.p == 1.0


def test_resamples_without_variance_do_not_spoil_the_interval(rng):
    result = correlation(np.array([0.0, 0.0, 0.0, 1.0]), np.array([0.0, 1.0, 2.0, 5.0]), rng=rng)
    assert np.isfinite([result.low, result.high]).all()


def test_correlation_refuses_unequal_lengths_and_missing_values(rng):
    with pytest.raises(ValueError, match=r"lengths {'x': 3, 'y': 4}"):
        correlation(np.ones(3), np.ones(4), rng=rng)
    with pytest.raises(ValueError, match="finite numbers in y"):
        correlation(np.ones(3), np.array([1.0, 2.0, math.inf]), rng=rng)


def test_leave_one_out_r2_is_one_for_a_line_and_not_above_zero_for_noise(rng):
    x = rng.normal(size=(12, 1))
    assert leave_one_out_r2(x, 3.0 * x[:, 0] - 1.0) == pytest.approx(1.0)
    noise = [leave_one_out_r2(rng.normal(size=(12, 1)), rng.normal(size=12)) for _ in range(60)]
    assert np.mean(noise) < 0.0
    # A predictor that says nothing leaves the mean of the others.
    assert leave_one_out_r2(np.ones((12, 1)), rng.normal(size=12)) == pytest.approx(0.0)


def test_leave_one_out_r2_approaches_the_planted_share(rng):
    x, y = bivariate(rng, 800, 0.8)
    assert leave_one_out_r2(x[:, None], y) == pytest.approx(0.64, abs=0.07)


def test_leave_one_out_r2_is_undefined_for_too_few_items_or_a_constant_outcome():
    assert math.isnan(leave_one_out_r2(np.ones((2, 1)), np.array([1.0, 2.0])))
    assert math.isnan(leave_one_out_r2(np.arange(5.0)[:, None], np.ones(5)))
    with pytest.raises(ValueError, match=r"lengths {'predictors': 4, 'outcome': 5}"):
        leave_one_out_r2(np.ones((4, 1)), np.ones(5))
