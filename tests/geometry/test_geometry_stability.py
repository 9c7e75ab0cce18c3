"""Split halves, bootstrap cones and shuffled labels against planted truths."""

import math

import pytest
import torch

from lens_personas.geometry import (
    bootstrap_cone,
    cosine,
    cosine_ceiling,
    difference_of_means,
    permuted_cosines,
    permuted_differences,
    spearman_brown,
    split_half_cosine,
)

WIDTH = 400


def sides(torch_rng, signal, n=40):
    """Two sides of unit noise, whose means differ by a random vector of norm ``signal``."""
    step = torch.randn(WIDTH, generator=torch_rng)
    step *= signal / step.norm()
    rows = torch.randn(2, n, WIDTH, generator=torch_rng)
    return rows[0] + step, rows[1], step


def test_split_half_cosine_is_high_with_a_signal_and_zero_without(torch_rng):
    strong, none = sides(torch_rng, 30.0), sides(torch_rng, 0.0)
    assert split_half_cosine(*strong[:2], generator=torch_rng).low > 0.9
    null = split_half_cosine(*none[:2], generator=torch_rng)
    assert null.low < 0.0 < null.high
    assert abs(null.mean) < 0.05


def test_spearman_brown_of_the_split_halves_gives_the_cosine_with_the_truth(torch_rng):
    # cos(estimate, truth)² = reliability of the estimate, for many dimensions.
    positive, negative, step = sides(torch_rng, 4.0)
    found = split_half_cosine(positive, negative, generator=torch_rng)
    truth = cosine(difference_of_means(positive, negative), step).item()
    assert 0.3 < truth < 0.9
    assert math.sqrt(found.corrected) == pytest.approx(truth, abs=0.05)
    # And with a second set of data of the same size.
    other = torch.randn(2, 40, WIDTH, generator=torch_rng)
    again = difference_of_means(other[0] + step, other[1])
    replication = cosine(difference_of_means(positive, negative), again).item()
    assert replication == pytest.approx(found.corrected, abs=0.1)


def test_cosine_ceiling_is_what_two_noisy_copies_of_one_direction_reach(torch_rng):
    # In this design reliability is signal² / (signal² + 2 * WIDTH / n).
    step = sides(torch_rng, 4.0)[2]
    found = []
    for n in (40, 160):
        rows = torch.randn(2, n, WIDTH, generator=torch_rng)
        found.append((rows[0] + step, rows[1]))
    halves = [split_half_cosine(*pair, generator=torch_rng) for pair in found]
    ceiling = cosine_ceiling(halves[0].corrected, halves[1].corrected)
    vectors = [difference_of_means(*pair) for pair in found]
    assert cosine(*vectors).item() == pytest.approx(ceiling, abs=0.08)


@pytest.mark.parametrize("reliability", [0.1, 0.5, 0.9])
def test_spearman_brown_doubles_the_data(reliability):
    signal, noise = reliability, 1.0 - reliability
    assert spearman_brown(signal / (signal + noise)) == pytest.approx(signal / (signal + noise / 2))


def test_spearman_brown_and_ceiling_at_the_edges():
    assert spearman_brown(1.0) == 1.0
    assert spearman_brown(0.0) == 0.0
    assert math.isnan(spearman_brown(-1.0))
    assert cosine_ceiling(-0.2, 0.9) == 0.0


def test_pairs_that_share_their_noise_are_split_together(torch_rng):
    shared = 20.0 * torch.randn(30, WIDTH, generator=torch_rng)
    positive, negative, _ = sides(torch_rng, 25.0, n=30)
    positive, negative = positive + shared, negative + shared
    together = split_half_cosine(positive, negative, generator=torch_rng, paired=True)
    apart = split_half_cosine(positive, negative, generator=torch_rng)
    assert together.mean > 0.8
    assert apart.mean < 0.3


def test_bootstrap_cone_narrows_with_the_signal_and_is_full_without_noise(torch_rng):
    cones = [
        bootstrap_cone(*sides(torch_rng, signal)[:2], generator=torch_rng).mean_cosine
        for signal in (0.0, 5.0, 40.0)
    ]
    assert cones[0] < cones[1] < cones[2]
    # Without signal a resample keeps the noise and adds as much again: cosine 1 / sqrt 2.
    assert cones[0] == pytest.approx(math.sqrt(0.5), abs=0.03)
    fixed = bootstrap_cone(torch.ones(5, 4), torch.zeros(5, 4), generator=torch_rng)
    assert (fixed.mean_cosine, fixed.low, fixed.high) == pytest.approx((1.0, 1.0, 1.0))


def test_bootstrap_cone_of_pairs_ignores_noise_that_a_pair_shares(torch_rng):
    shared = 20.0 * torch.randn(30, WIDTH, generator=torch_rng)
    positive, negative, _ = sides(torch_rng, 12.0, n=30)
    clean = bootstrap_cone(positive, negative, generator=torch_rng, paired=True)
    noisy = bootstrap_cone(positive + shared, negative + shared, generator=torch_rng, paired=True)
    assert noisy.mean_cosine == pytest.approx(clean.mean_cosine, abs=0.01)


@pytest.mark.parametrize("paired", [False, True])
def test_permuted_cosines_cover_a_null_vector_and_not_a_planted_one(torch_rng, paired):
    positive, negative, step = sides(torch_rng, 10.0)
    band = permuted_cosines(positive, negative, step, generator=torch_rng, paired=paired)
    planted = cosine(difference_of_means(positive, negative), step)
    assert planted > band.max()
    assert abs(band.mean()) < 0.05
    null = sides(torch_rng, 0.0)[:2]
    inside = permuted_cosines(*null, step, generator=torch_rng, paired=paired)
    low, high = inside.quantile(0.001), inside.quantile(0.999)
    assert low < cosine(difference_of_means(*null), step) < high


def test_permuted_labels_keep_the_sizes_of_the_sides(torch_rng):
    # One row far off: it weighs 1/3 on the positive side, 1/9 on the negative.
    rows = torch.zeros(12, 2)
    rows[0, 0], rows[:, 1] = 9.0, 1.0
    band = permuted_cosines(rows[:3], rows[3:], torch.tensor([1.0, 0.0]), generator=torch_rng)
    assert {round(c, 3) for c in band.tolist()} == {1.0, -1.0}
    assert (band > 0).double().mean().item() == pytest.approx(3 / 12, abs=0.05)


def test_the_generator_decides_the_draws(torch_rng):
    positive, negative, _ = sides(torch_rng, 3.0)
    draws = [
        split_half_cosine(positive, negative, generator=torch.Generator().manual_seed(s)).mean
        for s in (1, 1, 2)
    ]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize("stability", [split_half_cosine, bootstrap_cone])
def test_stability_refuses_too_few_rows_and_broken_pairs(stability, torch_rng):
    with pytest.raises(ValueError, match=r"at least 2 rows on both sides, got \(1, 4\)"):
        stability(torch.ones(1, 3), torch.ones(4, 3), generator=torch_rng)
    with pytest.raises(ValueError, match=r"as many positive as negative rows, got \(3, 4\)"):
        stability(torch.ones(3, 3), torch.ones(4, 3), generator=torch_rng, paired=True)


def test_stability_refuses_no_draws(torch_rng):
    with pytest.raises(ValueError, match="at least 1 draw, got 0"):
        bootstrap_cone(torch.ones(3, 3), torch.ones(4, 3), generator=torch_rng, n_resamples=0)


@pytest.mark.parametrize("paired", [True, False])
def test_permuted_differences_are_the_vectors_behind_the_cosines(paired):
    rows = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(1))
    draws = [torch.Generator().manual_seed(2) for _ in range(2)]
    vectors = permuted_differences(*rows, generator=draws[0], n_permutations=40, paired=paired)
    reference = torch.arange(5.0)
    cosines = permuted_cosines(
        *rows, reference, generator=draws[1], n_permutations=40, paired=paired
    )
    for vector, found in zip(vectors, cosines, strict=True):
        torch.testing.assert_close(cosine(vector.float(), reference), found)
