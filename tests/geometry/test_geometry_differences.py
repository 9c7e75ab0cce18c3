"""Differences of means."""

import pytest
import torch

from lens_personas.geometry import cosine, difference_of_means, paired_difference_of_means


def test_difference_of_means_finds_a_planted_direction_and_turns_with_the_sides(torch_rng):
    planted = torch.randn(16, generator=torch_rng)
    noise = torch.randn(5000, 16, generator=torch_rng)
    found = difference_of_means(noise[:3000] + planted, noise[3000:])
    torch.testing.assert_close(found, planted, atol=0.15, rtol=0.0)
    torch.testing.assert_close(difference_of_means(noise[3000:], noise[:3000] + planted), -found)


def test_difference_of_means_ignores_a_common_shift_and_the_order_of_rows(torch_rng):
    rows = torch.randn(20, 8, generator=torch_rng, dtype=torch.float64)
    found = difference_of_means(rows[:12], rows[12:])
    shifted = difference_of_means(rows[:12] + 9.0, rows[12:] + 9.0)
    torch.testing.assert_close(shifted, found)
    torch.testing.assert_close(difference_of_means(rows[:12].flip(0), rows[12:]), found)


def test_paired_and_unpaired_differences_agree_on_pairs(torch_rng):
    positive, negative = torch.randn(2, 9, 8, generator=torch_rng, dtype=torch.float64)
    by_pair = (positive - negative).mean(dim=0)
    torch.testing.assert_close(paired_difference_of_means(positive, negative), by_pair)
    torch.testing.assert_close(difference_of_means(positive, negative), by_pair)


def test_gotcha_16_means_of_bfloat16_rows_are_summed_in_float64(torch_rng):
    # A small difference on a large common mean, as in a residual stream.
    common, step = torch.randn(2, 512, generator=torch_rng)
    rows = torch.randn(2, 1024, 512, generator=torch_rng) + 40.0 * common
    positive, negative = (rows[0] + 0.5 * step).bfloat16(), rows[1].bfloat16()
    truth = positive.double().mean(0) - negative.double().mean(0)
    naive = positive.mean(0) - negative.mean(0)
    ours = difference_of_means(positive, negative)
    assert ours.dtype == torch.float32
    assert cosine(ours.double(), truth) >= 0.9995
    assert cosine(naive.double(), truth) < 0.9995


def test_a_side_without_rows_is_refused():
    with pytest.raises(ValueError, match="expected rows on both sides, got 0 positive and 3"):
        difference_of_means(torch.zeros(0, 4), torch.zeros(3, 4))


def test_a_lost_partner_is_refused():
    with pytest.raises(ValueError, match="expected pairs, got 2 positive and 3 negative"):
        paired_difference_of_means(torch.zeros(2, 4), torch.zeros(3, 4))
