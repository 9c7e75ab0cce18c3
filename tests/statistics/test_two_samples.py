"""Two samples compared: metrics against scipy and closed forms, intervals and p at their level."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate, stats
from scipy.spatial import distance

from lens_personas.statistics import (
    METRIC_NULL,
    METRIC_RANGE,
    TWO_SAMPLE_METRICS,
    auroc,
    auroc_interval,
    compare_samples,
    d_prime,
)
from lens_personas.statistics._near_apart import (
    auroc_score_interval,
    least_divergence,
    rate_difference,
)

scores = arrays(float, st.integers(2, 12), elements=st.integers(-4, 4).map(float))


def compare(first, second, rng, *, n_boot=0, n_perm=0, groups=None, **options):
    """Samples compared, each value a group of its own."""
    values = np.concatenate([first, second]).astype(float)
    return compare_samples(
        values,
        np.arange(len(values)) < len(first),
        np.arange(len(values)) if groups is None else groups,
        rng=rng,
        n_boot=n_boot,
        n_perm=n_perm,
        **options,
    )


def normals(d: float, s: float = 1.0) -> dict[str, float]:
    """What each metric is of N(d, s^2) against N(0, 1), with as many values of either."""

    def mean_gap(mean: float, spread: float) -> float:
        if spread == 0.0:
            return abs(mean)
        tail = 1.0 - 2.0 * stats.norm.cdf(-mean / spread)
        return float(
            spread * math.sqrt(2 / math.pi) * math.exp(-((mean / spread) ** 2) / 2) + mean * tail
        )

    variance = (1.0 + s**2) / 2.0
    width2 = variance + d**2 / 4.0
    first, second = stats.norm(d, s), stats.norm(0.0, 1.0)
    grid = np.linspace(-12.0, 12.0 + d, 200_001)
    p, q = first.pdf(grid), second.pdf(grid)
    with np.errstate(divide="ignore", invalid="ignore"):
        shannon = np.nan_to_num(p * np.log(2 * p / (p + q))) + np.nan_to_num(
            q * np.log(2 * q / (p + q))
        )
    cross = width2 + 2.0 * variance
    return {
        "wasserstein": mean_gap(d, abs(s - 1.0)),
        "scale_free_wasserstein": mean_gap(d, abs(s - 1.0)) / math.sqrt(variance),
        "auroc": float(stats.norm.cdf(d / math.sqrt(2.0 * variance))),
        "d_prime": d / math.sqrt(variance),
        "ks": float(np.abs(first.cdf(grid) - second.cdf(grid)).max()),
        "energy": 2 * mean_gap(d, math.sqrt(2 * variance)) - 2 * (1 + s) / math.sqrt(math.pi),
        "mmd": math.sqrt(width2)
        * (
            1 / math.sqrt(width2 + 2 * s**2)
            + 1 / math.sqrt(width2 + 2)
            - 2 / math.sqrt(cross) * math.exp(-(d**2) / 2 / cross)
        ),
        "jensen_shannon": float(0.5 * integrate.trapezoid(shannon, grid)),
    }


@given(first=scores, second=scores)
def test_every_metric_agrees_with_another_way_to_compute_it(first, second):
    found = compare(first, second, np.random.default_rng(0))
    plug_in = {name: each.plug_in for name, each in found.items()}
    assert tuple(plug_in) == TWO_SAMPLE_METRICS
    apart = stats.wasserstein_distance(first, second)
    assert plug_in["wasserstein"] == pytest.approx(apart, abs=1e-9)
    assert plug_in["auroc"] == pytest.approx(auroc(first, second))
    assert plug_in["d_prime"] == pytest.approx(d_prime(first, second), nan_ok=True)
    gaps = [(first <= at).mean() - (second <= at).mean() for at in (*first, *second)]
    assert plug_in["ks"] == pytest.approx(np.abs(gaps).max())
    assert plug_in["energy"] == pytest.approx(stats.energy_distance(first, second) ** 2, abs=1e-9)
    assert plug_in["mmd"] == pytest.approx(by_kernel(first, second), abs=1e-9)
    assert 0.0 <= plug_in["jensen_shannon"] <= math.log(2.0) + 1e-12


def by_kernel(first, second) -> float:
    """Squared mean discrepancy, pair by pair."""
    pooled = np.concatenate([first, second])
    width = pooled.std() or 1.0

    def mean(x, y) -> float:
        return float(np.exp(-0.5 * ((x[:, None] - y[None, :]) / width) ** 2).mean())

    return mean(first, first) + mean(second, second) - 2.0 * mean(first, second)


def test_divergence_of_few_values_is_that_of_their_counts(rng):
    first, second = np.array([0.0, 0, 0, 1, 1, 2]), np.array([0.0, 1, 2, 2, 2, 2])
    counts = [[3, 2, 1], [1, 1, 4]]
    expected = distance.jensenshannon(*counts) ** 2
    assert compare(first, second, rng)["jensen_shannon"].plug_in == pytest.approx(expected)


@pytest.mark.parametrize(("d", "s"), [(0.0, 1.0), (1.0, 1.0), (2.5, 1.0), (0.5, 2.0)])
def test_many_values_of_gaussians_give_the_closed_forms(d, s, rng):
    found = compare(rng.normal(d, s, 1200), rng.normal(size=1200), rng)
    expected = normals(d, s)
    for name, each in found.items():
        assert each.plug_in == pytest.approx(expected[name], abs=0.1, rel=0.1), name


@pytest.mark.slow
@pytest.mark.parametrize("d", [0.0, 0.25, 1.0, 2.0, 4.0])
def test_intervals_hold_their_level_at_every_distance(d, rng):
    trials, n = 80, 30
    hits: dict[str, list[bool]] = {name: [] for name in TWO_SAMPLE_METRICS}
    truth = normals(d)
    for _ in range(trials):
        found = compare(rng.normal(d, 1, n), rng.normal(size=n), rng, n_boot=250, n_perm=199)
        for name, each in found.items():
            assert each.value.low <= each.value.estimate <= each.value.high
            # At no distance at all the bound is the truth, up to rounding.
            low, high = each.value.low - 1e-9, each.value.high + 1e-9
            hits[name].append(low <= truth[name] <= high)
    nominal = 0.95 - 3.0 * math.sqrt(0.95 * 0.05 / trials)
    assert {name: np.mean(each) for name, each in hits.items() if np.mean(each) < nominal} == {}


def test_intervals_narrow_with_more_values_and_then_exclude_no_difference(rng):
    widths = []
    for n in (30, 120, 480):
        found = compare(rng.normal(0.8, 1, n), rng.normal(size=n), rng, n_boot=250, n_perm=99)
        widths.append([each.value.high - each.value.low for each in found.values()])
    assert (np.diff(widths, axis=0) < 0).all()
    assert all(each.value.excludes(METRIC_NULL[name]) for name, each in found.items())
    assert all(each.p == 0.01 for each in found.values())


def test_the_bias_of_a_metric_that_cannot_be_negative_is_taken_off(rng):
    plain, corrected = [], []
    for _ in range(60):
        each = compare(rng.normal(0.7, 1, 25), rng.normal(size=25), rng, n_boot=150)["energy"]
        plain.append(each.plug_in)
        corrected.append(each.value.estimate)
    truth = normals(0.7)["energy"]
    error = np.std(plain) / math.sqrt(60)
    assert np.mean(plain) > truth + error
    assert np.mean(corrected) == pytest.approx(truth, abs=3 * error)


def test_p_is_uniform_under_the_null(rng):
    p: dict[str, list[float]] = {name: [] for name in TWO_SAMPLE_METRICS}
    for _ in range(300):
        found = compare(rng.normal(size=15), rng.normal(size=25), rng, n_perm=99)
        for name, each in found.items():
            p[name].append(each.p)
    for name, values in p.items():
        # Coarse statistics have ties, which count against a finding: p may only be too large.
        coarse = name in ("auroc", "ks", "jensen_shannon")
        side = "greater" if coarse else "two-sided"
        assert stats.kstest(values, "uniform", alternative=side).pvalue > 0.001, name
        assert np.mean(np.array(values) <= 0.05) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300), name


def test_p_is_uniform_where_groups_share_what_they_score(rng):
    # Four statements that score alike are one: as single ones they would find something often.
    p_grouped, p_single = [], []
    for _ in range(150):
        values = np.repeat(rng.normal(size=20), 4)
        groups = np.repeat(np.arange(20), 4)
        for kept, into in ((groups, p_grouped), (np.arange(80), p_single)):
            found = compare(values[:40], values[40:], rng, n_perm=99, groups=kept,
                            metrics=["wasserstein"])  # fmt: skip
            into.append(found["wasserstein"].p)
    assert stats.kstest(p_grouped, "uniform").pvalue > 0.001
    assert np.mean(np.array(p_single) <= 0.05) > 0.2


def test_a_group_with_both_labels_is_kept_whole(rng):
    # Each statement and its negation share an offset that is far larger than what tells them apart.
    offset = rng.normal(0.0, 10.0, 40)
    first, second = offset + 0.5 + rng.normal(0, 0.1, 40), offset + rng.normal(0, 0.1, 40)
    paired = np.concatenate([np.arange(40), np.arange(40)])
    together = compare(first, second, rng, n_boot=500, n_perm=499, groups=paired)["d_prime"]
    apart = compare(first, second, rng, n_boot=500, n_perm=499)["d_prime"]
    assert together.p == 0.002
    assert apart.p > 0.5
    assert together.value.excludes(0.0)
    assert not apart.value.excludes(0.0)


def test_signs_turn_with_the_samples_and_sizes_do_not(rng):
    first, second = rng.normal(1.0, 1.0, 30), rng.normal(size=20)
    one = {name: each.plug_in for name, each in compare(first, second, rng).items()}
    other = {name: each.plug_in for name, each in compare(second, first, rng).items()}
    assert one["auroc"] == pytest.approx(1.0 - other["auroc"])
    assert one["d_prime"] == pytest.approx(-other["d_prime"])
    for name in set(TWO_SAMPLE_METRICS) - {"auroc", "d_prime"}:
        assert one[name] == pytest.approx(other[name])


def test_only_the_distances_in_nats_hang_on_the_unit(rng):
    first, second = rng.normal(1.0, 1.0, 30), rng.normal(size=30)
    one = compare(first, second, rng)
    scaled = compare(7.0 * first + 100.0, 7.0 * second + 100.0, rng)
    for name, each in one.items():
        factor = 7.0 if name in ("wasserstein", "energy") else 1.0
        assert scaled[name].plug_in == pytest.approx(factor * each.plug_in), name


def test_what_is_far_apart_has_bounds_within_the_range(rng):
    found = compare(np.arange(20.0) + 100, np.arange(20.0), rng, n_boot=200, n_perm=99)
    for name, each in found.items():
        least, most = METRIC_RANGE[name]
        assert least <= each.value.low <= each.value.estimate <= each.value.high <= most, name
        assert each.value.excludes(METRIC_NULL[name]), name
        assert each.p == 0.01
    assert found["auroc"].value.low > 0.8
    assert found["jensen_shannon"].value.high == pytest.approx(math.log(2.0))


def test_what_cannot_be_compared_is_undefined(rng):
    empty = compare(np.empty(0), np.ones(4), rng, n_boot=50, n_perm=50)
    assert all(math.isnan(each.plug_in) and each.p == 1.0 for each in empty.values())
    alike = compare(np.ones(4), np.ones(5), rng, n_boot=50, n_perm=50)
    assert alike["wasserstein"].plug_in == 0.0
    assert math.isnan(alike["d_prime"].plug_in)
    assert all(each.p == 1.0 and math.isnan(each.value.low) for each in alike.values())
    lone = compare(rng.normal(size=4), rng.normal(size=4), rng, n_boot=50, n_perm=50,
                   groups=np.repeat([0, 1], 4))  # fmt: skip
    assert all(math.isnan(each.value.low) and each.p > 0.5 for each in lone.values())


def test_bad_samples_are_refused(rng):
    some = np.ones(3)
    with pytest.raises(ValueError, match="finite numbers in values, got 1 NaN"):
        compare(some, np.array([np.nan]), rng)
    with pytest.raises(ValueError, match="got lengths"):
        compare_samples(some, np.array([True, False]), np.arange(3), rng=rng)
    with pytest.raises(ValueError, match=r"expected level between 0 and 1, got 95\.0"):
        compare(some, some, rng, level=95.0)


def test_the_score_intervals_are_newcombes(rng):
    # Bounds of AUROC 1 as elsewhere; and the worked example of method 10: 56/70 against 48/80.
    separated = auroc_interval(np.arange(12) + 100.0, np.arange(9.0), rng=rng)
    assert auroc_score_interval(1.0, 12, 9, 0.95) == pytest.approx((separated.low, 1.0))
    low, high = auroc_score_interval(0.3, 12, 9, 0.95)
    assert (1 - high, 1 - low) == pytest.approx(auroc_score_interval(0.7, 12, 9, 0.95))
    assert rate_difference((56 / 70, 48 / 80), (70, 80), 0.95) == pytest.approx(
        (0.0524, 0.3339), abs=5e-5
    )
    assert rate_difference((48 / 80, 56 / 70), (80, 70), 0.95) == pytest.approx(
        (0.0524, 0.3339), abs=5e-5
    )


def test_the_least_divergence_is_that_of_two_values():
    # Two values that are as far apart as the gap reach the bound.
    for gap in (0.0, 0.3, 0.9, 1.0):
        p, q = np.array([1 + gap, 1 - gap]) / 2, np.array([1 - gap, 1 + gap]) / 2
        assert least_divergence(gap) == pytest.approx(distance.jensenshannon(p, q) ** 2)
