"""Predictors over items: the closed form is the textbook one, and chance is not taken for skill."""

import math

import numpy as np
import pytest
from scipy.stats import binom, norm

from lens_personas.statistics import (
    best_r2_p,
    compare_predictors,
    leave_one_out_r2,
    one_predictor_r2,
)


@pytest.mark.parametrize("n", [3, 5, 30])
def test_the_closed_form_is_the_fit_that_leaves_items_out(rng, n):
    x, y = rng.normal(size=n) + 7.0, rng.normal(size=n) * 3.0
    assert float(one_predictor_r2(x, y)) == pytest.approx(leave_one_out_r2(x[:, None], y))
    assert float(one_predictor_r2(np.ones(n), y)) == pytest.approx(
        leave_one_out_r2(np.ones((n, 1)), y), abs=1e-9
    )


def test_a_copy_of_an_item_is_left_out_with_it(rng):
    x, y = rng.normal(size=8), rng.normal(size=8)
    weights = np.array([2.0, 1, 0, 1, 3, 1, 0, 1])
    kept = np.repeat(np.arange(8), weights.astype(int))
    error = guess = 0.0
    for at in kept:
        rest = kept[kept != at]
        slope, intercept = np.polyfit(x[rest], y[rest], 1)
        error += (y[at] - intercept - slope * x[at]) ** 2
        guess += (y[at] - y[rest].mean()) ** 2
    assert float(one_predictor_r2(x, y, weights)) == pytest.approx(1 - error / guess)
    # As if copies were new items, noise would seem to predict.
    assert leave_one_out_r2(x[kept][:, None], y[kept]) > 1 - error / guess


def test_many_draws_are_each_alone(rng):
    x, y = rng.normal(size=(4, 9)), rng.normal(size=(4, 9))
    alone = [float(one_predictor_r2(a, b)) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(one_predictor_r2(x, y), alone)


def test_too_few_items_or_no_variance_give_no_number(rng):
    assert math.isnan(float(one_predictor_r2(np.arange(2.0), np.arange(2.0))))
    assert math.isnan(float(one_predictor_r2(np.arange(5.0), np.full(5, 2.0))))
    assert best_r2_p(np.ones((2, 5)), np.full((2, 5), 2.0), rng=rng) == 1.0
    assert np.isnan(one_predictor_r2(np.ones((2, 0)), np.ones((2, 0)))).all()
    assert best_r2_p(np.ones((1, 0)), np.ones((1, 0)), rng=rng) == 1.0
    (alone,) = compare_predictors(np.arange(2.0)[None], np.arange(2.0), rng=rng)
    assert math.isnan(alone.r2.estimate)
    with pytest.raises(ValueError, match="predictors"):
        compare_predictors(np.array([[np.nan, 1, 2]]), np.arange(3.0), rng=rng)


def test_the_planted_predictor_beats_noise_and_noise_does_not_beat_it(rng):
    x = rng.normal(size=25)
    y = 2.0 * x + rng.normal(0, 0.3, 25)
    noise, good = compare_predictors(np.stack([rng.normal(size=25), x]), y, rng=rng)
    assert good.r2.estimate > 0.9
    assert good.beyond_first.low > 0
    assert good.slope.low <= 2.0 * x.std(ddof=1) <= good.slope.high
    assert noise.beyond_first.estimate == 0.0
    assert noise.r2.estimate < 0.3
    swapped = compare_predictors(np.stack([x, noise_of(x)]), y, rng=rng)[1]
    assert swapped.beyond_first.high < 0


def noise_of(x: np.ndarray) -> np.ndarray:
    return np.random.default_rng(9).permutation(x)


def test_two_equal_predictors_do_not_differ(rng):
    x = rng.normal(size=12)
    y = x + rng.normal(size=12)
    twice = compare_predictors(np.stack([x, -3 * x + 1]), y, rng=rng)
    assert twice[1].beyond_first.estimate == pytest.approx(0.0, abs=1e-9)
    assert twice[1].slope.estimate == pytest.approx(-twice[0].slope.estimate)


@pytest.mark.parametrize("n", [5, 14])
def test_the_best_layer_of_noise_is_no_find_at_the_nominal_rate(n):
    seeds = 150
    found = 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(6, n)), rng.normal(size=(1, n)).repeat(6, axis=0)
        found += best_r2_p(x, y, rng=rng, n_permutations=199) <= 0.05
    assert found <= binom.ppf(norm.cdf(3), seeds, 0.05)


def test_a_relation_at_one_layer_survives_the_search(rng):
    x = rng.normal(size=(6, 14))
    y = np.repeat(x[3:4] + rng.normal(0, 0.2, (1, 14)), 6, axis=0)
    assert best_r2_p(x, y, rng=rng, n_permutations=199) == 1 / 200
