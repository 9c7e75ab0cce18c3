"""How far nulls reach: seldom passed by one more null, never narrower than what they did."""

import numpy as np
import pytest

from lens_personas.statistics import null_range


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("k", [3, 8])
def test_one_more_null_passes_it_at_most_at_the_nominal_rate(k: int, symmetric: bool) -> None:
    rng = np.random.default_rng(0)
    passed = 0
    for _ in range(1000):
        *nulls, more = rng.normal(0, 2, k + 1)
        low, high = null_range(np.array(nulls), symmetric=symmetric) or (0.0, 0.0)
        passed += not low <= more <= high
    # 5 % and three standard errors.
    assert passed <= 71


@pytest.mark.parametrize("symmetric", [False, True])
def test_it_holds_every_null_and_grows_with_their_scale(symmetric: bool) -> None:
    values = np.random.default_rng(1).normal(size=6)
    low, high = null_range(values, symmetric=symmetric) or (0.0, 0.0)
    assert low <= values.min() <= values.max() <= high
    tenfold = null_range(10 * values, symmetric=symmetric)
    assert tenfold == pytest.approx((10 * low, 10 * high))


def test_a_symmetric_range_does_not_hang_on_the_signs() -> None:
    values = np.random.default_rng(2).normal(size=5)
    assert null_range(values, symmetric=True) == null_range(-np.abs(values), symmetric=True)


def test_nulls_that_are_not_finite_are_left_out() -> None:
    assert null_range(np.array([])) is None
    assert null_range(np.array([np.nan]), symmetric=True) is None
    assert null_range(np.array([1.0, np.nan])) == (1.0, 1.0)


def test_a_level_is_a_share() -> None:
    with pytest.raises(ValueError, match="level"):
        null_range(np.array([1.0, 2.0]), level=1.5)
