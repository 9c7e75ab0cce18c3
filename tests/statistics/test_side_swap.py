import numpy as np
import pytest
from scipy import stats

from lens_personas.statistics import auroc, d_prime, swap_sides

METRICS = ("auroc", "d_prime", "wasserstein", "scale_free_wasserstein")


def by_metric(found):
    return {each.metric: each for each in found}


def test_the_distances_are_those_of_their_names(rng):
    first = np.arange(40) % 2 == 0
    before = rng.normal(size=40).round(1)
    after = before + rng.normal(size=40) + first
    found = by_metric(swap_sides(before, after, first, np.arange(40), rng=rng, n_permutations=99))
    for side, scores in (("before", before), ("after", after)):
        one, other = scores[first], scores[~first]
        got = {metric: getattr(each, side) for metric, each in found.items()}
        assert got["wasserstein"] == pytest.approx(stats.wasserstein_distance(one, other))
        assert got["auroc"] == pytest.approx(auroc(one, other))
        assert got["d_prime"] == pytest.approx(d_prime(one, other))


def test_a_planted_change_is_found_and_only_where_it_is(rng):
    first = np.arange(120) % 2 == 0
    before = rng.normal(size=120)
    after = before + rng.normal(0.0, 0.3, size=120) + 1.0 * first
    clusters = np.arange(120) // 2
    for each in swap_sides(before, after, first, clusters, rng=rng, n_permutations=499):
        assert each.after > each.before
        assert each.p == pytest.approx(1 / 500)


def test_agreeing_with_everything_is_no_change(rng):
    first = np.arange(100) % 2 == 0
    before = rng.normal(size=100) + first
    habit = before + 3.0
    for each in swap_sides(before, habit, first, np.arange(100), rng=rng, metrics=METRICS):
        assert each.after == pytest.approx(each.before)
        assert each.p == 1.0


def test_p_is_uniform_where_the_models_are_alike(rng):
    first = np.arange(40) % 2 == 0
    p = []
    for _ in range(300):
        before, after = rng.normal(size=(2, 40)) + first
        found = swap_sides(
            before, after, first, np.arange(40) // 2, rng=rng, metrics=["wasserstein"],
            n_permutations=99,
        )  # fmt: skip
        p.append(found[0].p - rng.uniform(0, 0.01))
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_whole_clusters_are_exchanged(rng):
    # Two clusters leave two sizes of change, both of which reach the observed one.
    first = np.arange(80) % 2 == 0
    before = rng.normal(size=80)
    found = swap_sides(before, before + 2.0 * first, first, np.arange(80) % 4 // 2, rng=rng)
    assert min(each.p for each in found) > 0.3


def test_one_sample_alone_has_no_distance(rng):
    found = swap_sides(np.ones(4), np.ones(4), np.ones(4, dtype=bool), np.arange(4), rng=rng)
    assert all(np.isnan(each.before) and each.p == 1.0 for each in found)
    with pytest.raises(ValueError, match="one entry an item"):
        swap_sides(np.ones(4), np.ones(3), np.ones(4, dtype=bool), np.arange(4), rng=rng)
    with pytest.raises(ValueError, match="finite numbers in after"):
        swap_sides(
            np.ones(2), np.array([1.0, np.nan]), np.array([True, False]), np.arange(2), rng=rng
        )
