import numpy as np
import pytest

from lens_personas.statistics import correlation, correlation_matrix


@pytest.mark.parametrize("n", [7, 23])
def test_each_entry_is_what_the_two_columns_give_alone(rng, n):
    values = rng.normal(size=(n, 3))
    values[:, 1] += 1.5 * values[:, 0]
    matrix = correlation_matrix(values, rng=rng)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        alone = correlation(values[:, i], values[:, j], rng=rng, method="spearman")
        found = matrix[i][j]
        assert found == matrix[j][i]
        assert (found.n, found.method) == (n, "spearman")
        assert found.estimate == pytest.approx(alone.estimate)
        # Up to 8 items all orders are tried, and p is exact.
        assert found.p == pytest.approx(alone.p, abs=1e-12 if n <= 8 else 0.02)
        if n > 8:
            assert (found.low, found.high) == pytest.approx((alone.low, alone.high), abs=0.06)


def test_ties_are_ranked_as_they_are_alone(rng):
    values = rng.integers(3, size=(15, 2)).astype(float)
    alone = correlation(values[:, 0], values[:, 1], rng=rng, method="spearman")
    found = correlation_matrix(values, rng=rng)[0][1]
    assert found.estimate == pytest.approx(alone.estimate)
    assert found.p == pytest.approx(alone.p, abs=0.03)


def test_a_column_with_itself_is_one_and_tests_nothing(rng):
    own = correlation_matrix(rng.normal(size=(9, 2)), rng=rng)[1][1]
    assert (own.estimate, own.p) == (1.0, 1.0)


def test_a_missing_value_costs_its_own_pairs_an_item(rng):
    values = rng.normal(size=(12, 3))
    values[0, 2] = np.nan
    matrix = correlation_matrix(values, rng=rng)
    assert [matrix[0][1].n, matrix[0][2].n, matrix[2][2].n] == [12, 11, 11]
    alone = correlation(values[1:, 0], values[1:, 2], rng=rng, method="spearman")
    assert matrix[0][2].estimate == pytest.approx(alone.estimate)


def test_what_does_not_vary_is_undefined(rng):
    values = np.stack([np.ones(6), np.arange(6.0)], axis=1)
    found = correlation_matrix(values, rng=rng)[0][1]
    assert np.isnan(found.estimate)
    assert found.p == 1.0
    with pytest.raises(ValueError, match="infinite"):
        correlation_matrix(np.array([[np.inf]]), rng=rng)


def test_p_is_uniform_where_nothing_is_there(rng):
    matrix = correlation_matrix(rng.normal(size=(20, 25)), rng=rng, n_permutations=999)
    p = np.array([matrix[i][j].p for i in range(25) for j in range(i)])
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.035)
