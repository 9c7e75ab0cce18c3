"""Detectable effects are found at the power they promise."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from lens_personas.statistics import (
    mcnemar_exact,
    minimal_detectable_effect,
    minimal_detectable_net,
)


@pytest.mark.parametrize("n", [10, 100, 1000])
def test_detectable_effect_agrees_with_statsmodels_and_scales_with_sd(n):
    effect = minimal_detectable_effect(1.0, n)
    reference = TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8, alternative="two-sided")
    assert effect == pytest.approx(reference, rel=1e-4)
    assert minimal_detectable_effect(3.0, n) == pytest.approx(3.0 * effect)


@pytest.mark.parametrize("n", [2, 3, 12])
def test_detectable_effect_is_detected_at_its_power(n, rng):
    effect = minimal_detectable_effect(2.0, n, alpha=0.01)
    draws = rng.normal(effect, 2.0, size=(4000, n))
    found = stats.ttest_1samp(draws, 0.0, axis=1).pvalue <= 0.01
    assert found.mean() == pytest.approx(0.8, abs=3 * math.sqrt(0.16 / 4000))


def test_detectable_effect_is_undefined_without_variance_or_data():
    assert math.isnan(minimal_detectable_effect(0.0, 50))
    assert math.isnan(minimal_detectable_effect(1.0, 1))
    assert math.isnan(minimal_detectable_effect(math.nan, 50))


@pytest.mark.parametrize(("n", "lost"), [(30, 0.0), (100, 0.0), (100, 0.1)])
def test_detectable_net_is_detected_at_its_power(n, lost, rng):
    net = minimal_detectable_net(n, lost=lost)
    found = []
    for _ in range(2000):
        draw = rng.random(n)
        gains, losses = draw < lost + net, draw > 1.0 - lost
        found.append(mcnemar_exact(losses, gains).p <= 0.05)
    assert np.mean(found) == pytest.approx(0.8, abs=3 * math.sqrt(0.16 / 2000))


def test_six_gains_are_the_fewest_that_exact_mcnemar_finds():
    # Fewer than six cannot reach .05, so with five prompts nothing is detectable.
    assert math.isnan(minimal_detectable_net(5))
    power = 0.95
    assert minimal_detectable_net(6, power=power) == pytest.approx(power ** (1 / 6))
    assert math.isnan(minimal_detectable_net(0))


def test_more_prompts_find_less_and_more_churn_hides_more():
    nets = [minimal_detectable_net(n) for n in (20, 100, 1000)]
    assert nets == sorted(nets, reverse=True)
    churn = [minimal_detectable_net(100, lost=lost) for lost in (0.0, 0.05, 0.2)]
    assert churn == sorted(churn)


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="standard deviation >= 0, got -1"):
        minimal_detectable_effect(-1.0, 10)
    with pytest.raises(ValueError, match="expected power between 0 and 1, got 80"):
        minimal_detectable_effect(1.0, 10, power=80.0)
    with pytest.raises(ValueError, match=r"power > alpha, got n=10, power=0.01, alpha=0.05"):
        minimal_detectable_net(10, power=0.01)
    with pytest.raises(ValueError, match=r"lost in \[0, 1\), got 1.0"):
        minimal_detectable_net(10, lost=1.0)
