"""Variation over categories: found where it was planted, not where one is only noisier."""

import numpy as np
import pytest

from lens_personas.statistics import between_share, interaction_p

SIZES = (20, 8, 4)
CATEGORIES = np.repeat(np.array(["a", "b", "c"], dtype=object), SIZES)


def p_of(differences: np.ndarray, rng: np.random.Generator, n_draws: int = 199) -> float:
    everything = [np.zeros(differences.shape[1])]
    p = interaction_p(differences, CATEGORIES, everything, rng=rng, n_draws=n_draws)
    return float(p.min())


def test_the_share_is_that_of_the_analysis_of_variance() -> None:
    values = np.random.default_rng(0).normal(size=(32, 2))
    means = np.stack([values[c == CATEGORIES].mean(axis=0) for c in "abc"])
    between = (np.array(SIZES)[:, None] * (means - values.mean(axis=0)) ** 2).sum(axis=0)
    total = ((values - values.mean(axis=0)) ** 2).sum(axis=0)
    np.testing.assert_allclose(between_share(values, CATEGORIES), between / total)


def test_a_column_without_variance_has_no_share() -> None:
    assert between_share(np.full((32, 1), 0.3), CATEGORIES) == pytest.approx([0.0])


def test_what_was_planted_is_found() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(32, 3))
    values[CATEGORIES == "b", 1] += 3.0
    p = interaction_p(values, CATEGORIES, [np.arange(3), np.zeros(3)], rng=rng, n_draws=999)
    assert p[0, 1] <= 0.01
    assert p[1, 1] <= 0.01
    assert p[0, 0] > 0.01
    assert p[0, 2] > 0.01
    assert (p[1] >= p[0]).all()


@pytest.mark.parametrize("main", [0.0, 1.0])
def test_a_small_noisy_category_is_found_no_more_often_than_nominal(main: float) -> None:
    rng = np.random.default_rng(2)
    scale = np.repeat([1.0, 1.0, 4.0], SIZES)[:, None]
    found = [p_of(main + scale * rng.normal(size=(32, 3)), rng) <= 0.05 for _ in range(120)]
    # Dealing the labels out anew finds it in more than half of them.
    assert np.mean(found) <= 0.12


def test_one_category_says_nothing() -> None:
    same = np.array(["a"] * 6, dtype=object)
    values = np.random.default_rng(0).normal(size=(6, 2))
    p = interaction_p(values, same, [np.zeros(2)], rng=np.random.default_rng(0))
    np.testing.assert_array_equal(p, np.ones((1, 2)))


def test_missing_values_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        between_share(np.full((32, 1), np.nan), CATEGORIES)
