"""Margins of means over part of a finite population."""

import numpy as np
import pytest

from lens_personas.statistics import finite_mean_margin

POPULATIONS = {
    "normal": np.random.default_rng(1).normal(size=32),
    "two_points": np.repeat([0.0, 1.0], [24, 8]),
    "one_far_off": np.append(np.zeros(31), 1.0),
}


def missed(population, n, risk, value_range, repeats=4000):
    """Share of draws whose mean lies further below the population's than the margin."""
    rng = np.random.default_rng(0)
    drawn = rng.permuted(np.tile(population, (repeats, 1)), axis=1)[:, :n]
    margin = finite_mean_margin(
        drawn, population=len(population), risk=risk, value_range=value_range
    )
    return (drawn.mean(axis=1) + margin < population.mean() - 1e-12).mean()


@pytest.mark.parametrize("n", [4, 12, 24])
@pytest.mark.parametrize("name", sorted(POPULATIONS))
def test_with_the_range_known_the_risk_is_kept_whatever_the_values(name, n):
    population = POPULATIONS[name]
    assert missed(population, n, 0.1, float(np.ptp(population))) <= 0.1


@pytest.mark.parametrize("n", [4, 12, 24])
def test_student_keeps_the_risk_of_normal_values_and_spends_it(n):
    rng = np.random.default_rng(2)
    # The populations too are drawn: the bound is exact over both draws.
    share = np.mean([missed(rng.normal(size=32), n, 0.1, None, 50) for _ in range(200)])
    assert 0.07 <= share <= 0.13


def test_one_value_far_off_breaks_student_and_not_the_range():
    population = POPULATIONS["one_far_off"]
    assert missed(population, 4, 0.1, None) > 0.5
    assert missed(population, 4, 0.1, 1.0) == 0.0


def test_nothing_is_left_open_once_all_are_drawn():
    values = np.random.default_rng(0).normal(size=(3, 8))
    for known in (None, 5.0):
        margin = finite_mean_margin(values, population=8, risk=0.01, value_range=known)
        assert margin.tolist() == [0.0, 0.0, 0.0]


def test_more_values_or_more_risk_leave_less_open():
    values = np.tile([-1.0, 1.0], (1, 12))
    for known in (None, 2.0):
        margins = [
            finite_mean_margin(values[:, :n], population=24, risk=risk, value_range=known)[0]
            for n, risk in ((4, 0.01), (8, 0.01), (16, 0.01), (16, 0.1))
        ]
        assert margins == sorted(margins, reverse=True)
        assert len(set(margins)) == 4


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.ones((1, 1)), {}, "expected 2 to 8 values"),
        (np.ones((1, 9)), {"value_range": 1.0}, "expected 1 to 8 values"),
        (np.full((1, 4), np.nan), {}, "finite numbers in values"),
        (np.ones((1, 4)), {"risk": 0.0}, "risk between 0 and 1"),
    ],
)
def test_what_cannot_be_bounded_is_refused(values, options, message):
    with pytest.raises(ValueError, match=message):
        finite_mean_margin(values, **{"population": 8, "risk": 0.1, **options})
