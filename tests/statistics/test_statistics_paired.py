"""Paired tests: closed forms, uniform p under the null, planted differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lens_personas.statistics import max_statistic, mcnemar_exact, sign_flip, wilcoxon


def flags(gained, lost, both=0, neither=0):
    before = [False] * gained + [True] * lost + [True] * both + [False] * neither
    after = [True] * gained + [False] * lost + [True] * both + [False] * neither
    return np.array(before, dtype=bool), np.array(after, dtype=bool)


def test_mcnemar_of_a_net_three_has_p_one_quarter_at_best():
    result = mcnemar_exact(*flags(3, 0, both=39, neither=58))
    assert (result.n, result.gained, result.lost, result.net) == (100, 3, 0, 3)
    assert result.p == pytest.approx(0.25)
    assert mcnemar_exact(*flags(5, 2)).p > 0.25


@given(gained=st.integers(0, 40), lost=st.integers(0, 40), same=st.integers(0, 50))
def test_mcnemar_depends_on_the_changed_alone_and_is_the_doubled_binomial_tail(gained, lost, same):
    result = mcnemar_exact(*flags(gained, lost, both=same))
    tail = stats.binom.cdf(min(gained, lost), gained + lost, 0.5)
    assert result.p == pytest.approx(min(1.0, 2.0 * tail))
    assert mcnemar_exact(*flags(lost, gained)).p == pytest.approx(result.p)


def test_mcnemar_without_change_or_data_has_p_one():
    assert mcnemar_exact(*flags(0, 0, both=5)).p == 1.0
    assert mcnemar_exact(*flags(0, 0)).n == 0


def test_mcnemar_refuses_lists_of_different_length():
    with pytest.raises(ValueError, match=r"lengths {'before': 3, 'after': 1}"):
        mcnemar_exact(np.array([True, False, True]), np.array([True]))


def test_mcnemar_keeps_its_level_under_the_null(rng):
    ps = []
    for _ in range(2000):
        before, after = rng.random((2, 60)) < 0.4
        ps.append(mcnemar_exact(before, after).p)
    assert 0.01 < np.mean(np.array(ps) <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


@pytest.mark.parametrize("n", [2, 5, 10])
def test_sign_flip_of_all_positive_differences_is_exact(n, rng):
    assert sign_flip(1.0 + rng.random(n), rng=rng) == pytest.approx(2.0 / 2**n)


def test_sign_flip_drawn_agrees_with_exact_and_is_never_zero(rng):
    differences = rng.normal(0.5, 1.0, 12)
    exact = sign_flip(differences, rng=rng, n_permutations=4096)
    drawn = sign_flip(differences, rng=rng, n_permutations=4095)
    assert drawn == pytest.approx(exact, abs=0.03)
    assert exact == sign_flip(differences, rng=np.random.default_rng(9), n_permutations=4096)
    far = sign_flip(10.0 + rng.random(30), rng=rng, n_permutations=999)
    assert far == pytest.approx(1.0 / 1000)


def test_sign_flip_p_is_uniform_under_the_null_and_small_for_a_planted_shift(rng):
    null = [sign_flip(rng.standard_t(3, 25), rng=rng, n_permutations=199) for _ in range(400)]
    assert stats.kstest(null, "uniform").pvalue > 0.001
    assert np.mean(np.array(null) <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert sign_flip(rng.normal(1.0, 1.0, 25), rng=rng) < 0.01


@pytest.mark.parametrize("values", [[], [0.7], [0.0, 0.0, 0.0]])
def test_sign_flip_that_can_show_nothing_has_p_one(values, rng):
    assert sign_flip(np.array(values), rng=rng) == 1.0


def test_max_statistic_of_one_cell_is_the_sign_flip(rng):
    differences = rng.normal(0.5, 1.0, (9, 1))
    single = sign_flip(differences[:, 0], rng=rng)
    assert max_statistic(differences, rng=rng)[0] == pytest.approx(single)


def test_max_statistic_is_the_share_of_flips_whose_largest_t_is_as_large(rng):
    differences = rng.normal(0.3, 1.0, (7, 4))
    signs = np.array(np.meshgrid(*[[1.0, -1.0]] * 7)).reshape(7, -1).T
    flipped = signs[:, :, None] * differences
    largest = np.abs(stats.ttest_1samp(flipped, 0.0, axis=1).statistic).max(axis=1)
    observed = np.abs(stats.ttest_1samp(differences, 0.0).statistic)
    expected = (largest[:, None] >= observed - 1e-9).mean(axis=0)
    np.testing.assert_allclose(max_statistic(differences, rng=rng), expected)


def test_max_statistic_holds_the_family_wise_error_over_correlated_layers(rng):
    false = []
    for _ in range(300):
        layers = np.cumsum(rng.normal(size=(20, 30)), axis=1)
        false.append(max_statistic(layers, rng=rng, n_permutations=199).min() <= 0.05)
    error = np.mean(false)
    slack = 3 * np.sqrt(0.05 * 0.95 / 300)
    assert 0.05 - slack < error < 0.05 + slack


def test_max_statistic_finds_the_planted_cell_and_seldom_another(rng):
    scale = np.geomspace(1e-3, 1e3, 60)
    others = []
    for _ in range(60):
        cells = rng.normal(size=(40, 60)) * scale
        cells[:, 13] += 1.5 * scale[13]
        p = max_statistic(cells, rng=rng, n_permutations=199)
        assert p[13] == pytest.approx(1 / 200)
        others.append(np.delete(p, 13).min() <= 0.05)
    assert np.mean(others) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)


def test_max_statistic_ignores_the_scale_of_a_cell_and_leaves_dead_cells_at_one(rng):
    cells = rng.normal(0.4, 1.0, (8, 3))
    p = max_statistic(cells, rng=rng)
    scaled = np.column_stack([cells * [1e-150, 1.0, 1e150], np.zeros(8)])
    np.testing.assert_allclose(max_statistic(scaled, rng=rng), [*p, 1.0])
    assert max_statistic(np.ones((6, 1)), rng=rng)[0] == pytest.approx(2 / 64)


@pytest.mark.parametrize("shape", [(0, 3), (4, 0)])
def test_max_statistic_without_data_has_p_one(shape, rng):
    np.testing.assert_array_equal(max_statistic(np.empty(shape), rng=rng), np.ones(shape[1]))


def test_wilcoxon_is_exact_for_few_pairs_counts_and_leaves_zeros_out():
    result = wilcoxon(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert (result.n, result.up, result.down) == (5, 5, 0)
    assert result.p == pytest.approx(2 / 32)
    assert wilcoxon(np.array([0.0, 0.0])).p == 1.0
    assert wilcoxon(np.array([])).p == 1.0
    with_zero = wilcoxon(np.array([-1.0, -2.0, 0.0, -3.0]))
    assert (with_zero.n, with_zero.up, with_zero.down) == (4, 0, 3)


def test_wilcoxon_p_is_uniform_under_the_null(rng):
    null = [wilcoxon(rng.standard_cauchy(30)).p for _ in range(500)]
    assert stats.kstest(null, "uniform").pvalue > 0.001


@pytest.mark.parametrize("test", [sign_flip, max_statistic])
def test_missing_differences_are_refused(test, rng):
    values = np.full((4,) if test is sign_flip else (4, 1), np.nan)
    with pytest.raises(ValueError, match="got 4 NaN or infinite of 4"):
        test(values, rng=rng)
