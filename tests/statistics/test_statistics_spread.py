"""Spread over columns: its size, its test, and intervals that hold at once."""

import numpy as np
import pytest

from lens_personas.statistics import dealt_columns, simultaneous_bootstrap, spread_interval


def rows(rng: np.random.Generator, n: int, means: np.ndarray, noise: float = 1.0) -> np.ndarray:
    return rng.normal(0, 3, (n, 1)) + means + rng.normal(0, noise, (n, len(means)))


def test_the_planted_spread_is_covered() -> None:
    rng = np.random.default_rng(0)
    means = np.array([0.0, 1.0, 2.0, -1.0, 0.5])
    true = means.std(ddof=1)
    intervals = [spread_interval(rows(rng, 25, means), rng=rng) for _ in range(100)]
    covered = np.mean([each.low <= true <= each.high for each in intervals])
    assert covered >= 0.9
    assert np.mean([each.estimate for each in intervals]) == pytest.approx(true, rel=0.05)


def test_no_spread_is_zero_within_its_interval() -> None:
    rng = np.random.default_rng(1)
    intervals = [spread_interval(rows(rng, 25, np.zeros(5)), rng=rng) for _ in range(100)]
    assert np.mean([each.low == 0.0 for each in intervals]) >= 0.9
    assert np.median([each.estimate for each in intervals]) < 0.15


def test_rows_that_differ_as_wholes_add_nothing() -> None:
    values = np.arange(12.0)[:, None] + np.array([0.0, 2.0])
    found = spread_interval(values, rng=np.random.default_rng(0))
    assert found.estimate == pytest.approx(np.sqrt(2.0))
    assert np.isnan(found.low)


def test_dealt_columns_are_found_at_the_nominal_rate() -> None:
    rng = np.random.default_rng(2)
    values = [rng.permuted(rows(rng, 12, np.arange(4.0)), axis=1) for _ in range(300)]
    found = np.mean([dealt_columns(v, rng=rng, n_draws=199)[0] <= 0.05 for v in values])
    assert found <= 0.09


def test_columns_that_differ_are_found_and_reach_farther_than_dealt_ones() -> None:
    rng = np.random.default_rng(3)
    values = rows(rng, 12, np.array([0.0, 2.0, 4.0]), noise=0.5)
    p, reach = dealt_columns(values, rng=rng, n_draws=999)
    assert p == pytest.approx(0.001)
    assert reach < np.ptp(values.mean(axis=0)) / 2


def test_simultaneous_intervals_hold_for_all_columns_at_once() -> None:
    rng = np.random.default_rng(4)
    hold = []
    for _ in range(120):
        found = simultaneous_bootstrap(rng.normal(size=(30, 8)), rng=rng)
        hold.append(all(each.low <= 0.0 <= each.high for each in found))
    assert np.mean(hold) >= 0.89


def test_what_has_no_data_has_no_bounds() -> None:
    rng = np.random.default_rng(0)
    (found,) = simultaneous_bootstrap(np.ones((2, 1)), rng=rng)
    assert found.estimate == 1.0
    assert np.isnan(found.low)
    for each in (spread_interval, dealt_columns, simultaneous_bootstrap):
        with pytest.raises(ValueError, match="at least one row and column"):
            each(np.empty((0, 3)), rng=rng)
        with pytest.raises(ValueError, match="finite"):
            each(np.full((2, 3), np.nan), rng=rng)
