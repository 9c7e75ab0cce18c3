"""KL of next-token distributions, and of an edit."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lens_personas.readouts import last_position_kl


def _pair(seed: int, scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    base, steered = scale * torch.randn(2, 6, 17, generator=torch.Generator().manual_seed(seed))
    return base, steered


@given(st.integers(0, 10_000))
def test_kl_is_torchs_and_never_negative(seed: int) -> None:
    base, steered = _pair(seed)
    p, q = (torch.distributions.Categorical(logits=x.double()) for x in (base, steered))
    expected = torch.distributions.kl_divergence(p, q).float()
    kl = last_position_kl(base, steered)
    torch.testing.assert_close(kl, expected, atol=1e-6, rtol=1e-5)
    assert (kl >= 0).all()


@given(st.integers(0, 10_000), st.floats(-100, 100))
def test_a_constant_added_to_all_logits_moves_nothing(seed: int, constant: float) -> None:
    base, _ = _pair(seed)
    assert last_position_kl(base, base + constant).max() < 1e-9


def test_direction_is_from_base_to_steered() -> None:
    base, steered = torch.tensor([[0.0, 0.0]]), torch.tensor([[5.0, 0.0]])
    forward, backward = last_position_kl(base, steered), last_position_kl(steered, base)
    assert forward.item() == pytest.approx(1.8135, abs=1e-3)
    assert backward.item() == pytest.approx(0.6530, abs=1e-3)


def test_large_logits_stay_finite() -> None:
    base, steered = torch.tensor([[200.0, 0.0]]), torch.tensor([[0.0, 200.0]])
    assert last_position_kl(base, steered).item() == pytest.approx(200)


def test_a_token_the_base_never_gives_adds_nothing() -> None:
    base = torch.tensor([[0.0, 0.0, -torch.inf]])
    assert last_position_kl(base, base).item() == 0
    assert last_position_kl(base, torch.zeros(1, 3)).item() == pytest.approx(0.405465, abs=1e-5)
