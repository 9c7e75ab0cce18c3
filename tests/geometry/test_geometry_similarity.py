"""Cosines, removed directions, effective rank."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lens_personas.geometry import (
    cosine,
    cosine_by_layer,
    cosine_matrix,
    effective_rank,
    remove_direction_by_layer,
    representational_shift,
)


@given(scale=st.floats(1e-20, 1e10), seed=st.integers(0, 2**31))
def test_cosine_ignores_length_and_follows_sign(scale, seed):
    torch_rng = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, 12, generator=torch_rng)
    value = cosine(first, second)
    assert -1.0 <= value <= 1.0
    torch.testing.assert_close(cosine(scale * first, second), value, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(cosine(-first, second), -value)
    torch.testing.assert_close(cosine(first, first), torch.tensor(1.0))


def test_cosine_is_the_cosine_of_the_angle():
    for angle in (0.1, 1.0, 2.5):
        turned = torch.tensor([math.cos(angle), math.sin(angle)])
        assert cosine(torch.tensor([5.0, 0.0]), turned).item() == pytest.approx(math.cos(angle))


def test_cosine_of_a_zero_vector_is_undefined():
    assert cosine(torch.zeros(3), torch.ones(3)).isnan()


def test_cosine_by_layer_and_matrix_agree_with_single_cosines(torch_rng):
    first, second = torch.randn(2, 5, 7, generator=torch_rng)
    layers = cosine_by_layer(first, second)
    matrix = cosine_matrix(first)
    for i in range(5):
        torch.testing.assert_close(layers[i], cosine(first[i], second[i]))
        for j in range(5):
            torch.testing.assert_close(matrix[i, j], cosine(first[i], first[j]))


def test_cosine_in_bfloat16_is_calculated_wide(torch_rng):
    first, second = torch.randn(2, 4096, generator=torch_rng).bfloat16()
    assert cosine(first, second).dtype == torch.float32
    torch.testing.assert_close(cosine(first, second), cosine(first.float(), second.float()))


def test_removed_direction_is_orthogonal_and_its_length_has_no_effect(torch_rng):
    vectors, directions = torch.randn(2, 6, 10, generator=torch_rng, dtype=torch.float64)
    left = remove_direction_by_layer(vectors, directions)
    assert cosine_by_layer(left, directions).abs().max() < 1e-12
    torch.testing.assert_close(remove_direction_by_layer(vectors, -7.0 * directions), left)
    torch.testing.assert_close(remove_direction_by_layer(left, directions), left)


def test_a_shared_direction_makes_cosines_that_vanish_when_it_is_removed(torch_rng):
    shared = torch.randn(1, 200, generator=torch_rng)
    first, second = torch.randn(2, 1, 200, generator=torch_rng) + 3.0 * shared
    assert cosine_by_layer(first, second).item() > 0.8
    left = [remove_direction_by_layer(vector, shared) for vector in (first, second)]
    assert abs(cosine_by_layer(left[0], left[1]).item()) < 0.25


def test_a_layer_without_direction_is_named():
    directions = torch.ones(3, 4)
    directions[1] = 0.0
    with pytest.raises(ValueError, match=r"none at layers \[1\]"):
        remove_direction_by_layer(torch.ones(3, 4), directions)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_effective_rank_counts_orthogonal_directions_whatever_their_length(k):
    lengths = torch.tensor([1.0, 10.0, 0.1, 3.0, 100.0])[:k, None]
    assert effective_rank(torch.eye(8)[:k] * lengths) == pytest.approx(k, rel=1e-6)


@given(seed=st.integers(0, 2**31))
def test_effective_rank_lies_between_one_and_the_number_of_vectors(seed):
    torch_rng = torch.Generator().manual_seed(seed)
    vectors = torch.randn(4, 9, generator=torch_rng, dtype=torch.float64)
    rank = effective_rank(vectors)
    assert 1.0 <= rank <= 4.0 + 1e-9
    rotation, _ = torch.linalg.qr(torch.randn(9, 9, generator=torch_rng, dtype=torch.float64))
    assert effective_rank(vectors @ rotation) == pytest.approx(rank)


def test_effective_rank_of_copies_is_one_and_of_nothing_undefined():
    assert effective_rank(torch.ones(6, 3)) == pytest.approx(1.0, rel=1e-5)
    assert math.isnan(effective_rank(torch.zeros(2, 3)))
    assert math.isnan(effective_rank(torch.zeros(0, 3)))


def test_representational_shift_is_zero_unless_the_direction_is_touched():
    clean = torch.tensor([[1.0, 1.0, 0.0], [0.0, 2.0, 0.0]])
    directions = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert representational_shift(clean, clean, directions) == 0.0
    ablated = torch.tensor([[0.0, 1.0, 0.0], [0.0, 2.0, 0.0]])
    expected = (math.sqrt(0.5) + 0.0) / 2.0
    assert representational_shift(clean, ablated, directions) == pytest.approx(expected)
