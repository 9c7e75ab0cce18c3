import numpy as np
import pytest

from lens_personas.statistics import (
    cluster_bootstrap,
    cluster_bootstrap_columns,
    sign_flip,
    sign_flip_columns,
)


def test_a_column_gets_what_it_gets_alone(rng):
    values = rng.normal(size=(200, 3)) + np.array([0.0, 1.0, -2.0])
    clusters = np.arange(200) // 4
    together = cluster_bootstrap_columns(values, clusters, rng=rng, n_resamples=4000)
    for column, interval in zip(values.T, together, strict=True):
        alone = cluster_bootstrap(column, clusters, rng=rng, n_resamples=4000)
        assert interval.estimate == pytest.approx(alone.estimate)
        assert (interval.low, interval.high) == pytest.approx((alone.low, alone.high), abs=0.02)


def test_a_missing_value_leaves_its_row_out_of_its_column(rng):
    values = rng.normal(size=(40, 2))
    values[:10, 0] = np.nan
    clusters = np.arange(40)
    first, second = cluster_bootstrap_columns(values, clusters, rng=rng)
    assert first.estimate == pytest.approx(values[10:, 0].mean())
    assert second.estimate == pytest.approx(values[:, 1].mean())
    nothing = np.full((4, 1), np.nan)
    (none,) = cluster_bootstrap_columns(nothing, np.arange(4), rng=rng)
    assert np.isnan(none.estimate)
    assert not none.excludes()
    assert sign_flip_columns(nothing, np.arange(4), rng=rng).tolist() == [1.0]


def test_the_interval_covers_at_its_level(rng):
    values = rng.normal(size=(24, 400))
    # A cluster's rows share most of their noise.
    values = np.repeat(values, 3, axis=0) + 0.1 * rng.normal(size=(72, 400))
    found = cluster_bootstrap_columns(values, np.repeat(np.arange(24), 3), rng=rng)
    covered = np.mean([not interval.excludes() for interval in found])
    assert 0.91 < covered < 0.98


def test_all_flips_of_few_clusters_are_those_of_the_plain_test(rng):
    values = rng.normal(size=(9, 2)) + 0.6
    together = sign_flip_columns(values, np.arange(9), rng=rng)
    alone = [sign_flip(column, rng=rng) for column in values.T]
    assert together == pytest.approx(alone)


def test_flips_are_of_whole_clusters(rng):
    # Five clusters leave 32 flips: p cannot be below 2/32, however many rows there are.
    values = np.ones((500, 1))
    assert sign_flip_columns(values, np.arange(500) % 5, rng=rng)[0] == pytest.approx(2 / 32)


def test_p_is_uniform_where_nothing_is_there(rng):
    p = sign_flip_columns(rng.normal(size=(30, 800)), np.arange(30), rng=rng, n_permutations=999)
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.025)
    assert (p <= 0.5).mean() == pytest.approx(0.5, abs=0.06)


def test_infinite_values_and_unlike_lengths_are_refused(rng):
    with pytest.raises(ValueError, match="infinite"):
        cluster_bootstrap_columns(np.array([[np.inf]]), np.arange(1), rng=rng)
    with pytest.raises(ValueError, match="one entry an item"):
        sign_flip_columns(np.ones((3, 1)), np.arange(2), rng=rng)
    with pytest.raises(ValueError, match="level"):
        cluster_bootstrap_columns(np.ones((3, 1)), np.arange(3), rng=rng, level=95.0)
