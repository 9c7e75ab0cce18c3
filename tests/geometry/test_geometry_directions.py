"""Unit vectors, projections, random directions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lens_personas.geometry import projection, random_directions, unit_vector


@given(exponent=st.integers(-30, 30), seed=st.integers(0, 2**31), width=st.integers(1, 40))
def test_unit_vector_has_norm_one_at_every_scale_and_keeps_the_direction(exponent, seed, width):
    torch_rng = torch.Generator().manual_seed(seed)
    base = torch.randn(width, generator=torch_rng)
    unit = unit_vector(base * 10.0**exponent)
    assert unit.norm().item() == pytest.approx(1.0, abs=1e-6)
    torch.testing.assert_close(unit, base / base.norm(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("fill", [0.0, math.nan, math.inf])
def test_unit_vector_refuses_a_direction_without_finite_positive_norm(fill):
    with pytest.raises(ValueError, match="finite, positive norm"):
        unit_vector(torch.full((4,), fill))


def test_unit_vector_refuses_a_direction_without_entries():
    with pytest.raises(ValueError, match="finite, positive norm"):
        unit_vector(torch.empty(0))


def test_unit_vector_widens_bfloat16_to_float32_and_keeps_float64(torch_rng):
    direction = torch.randn(512, generator=torch_rng)
    assert unit_vector(direction.bfloat16()).dtype == torch.float32
    assert unit_vector(direction.bfloat16()).norm().item() == pytest.approx(1.0, abs=1e-6)
    assert unit_vector(direction.double()).dtype == torch.float64


def test_projection_is_the_signed_length_along_the_unit():
    unit, other = torch.eye(8)[2], torch.eye(8)[5]
    activation = torch.stack([3.0 * unit + 2.0 * other, -4.0 * unit])[None]
    torch.testing.assert_close(projection(activation, unit), torch.tensor([[3.0, -4.0]]))
    assert projection(activation.bfloat16(), unit).dtype == torch.float32


def test_random_directions_are_unit_follow_the_seed_and_point_everywhere():
    draw = [
        random_directions(4000, 6, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1)
    ]
    torch.testing.assert_close(draw[0].norm(dim=-1), torch.ones(4000))
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])
    # Even on the sphere: mean 0 and covariance 1 / d_model.
    assert draw[0].mean(dim=0).abs().max() < 0.03
    torch.testing.assert_close(draw[0].T @ draw[0] / 4000, torch.eye(6) / 6, atol=0.02, rtol=0.0)


def test_random_directions_refuse_a_negative_number():
    with pytest.raises(ValueError, match="n >= 0 and d_model >= 1, got n=-1"):
        random_directions(-1, 4, generator=torch.Generator())
