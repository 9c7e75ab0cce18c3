"""Every factory does what it says, checks its parameters once, and never broadcasts."""

import inspect
from collections.abc import Callable

import pytest
import torch

from lens_personas.hooks import (
    HookFn,
    ablate_direction,
    add_direction,
    affine,
    cap_projection_at,
    replace_by,
    set_projection_to,
)

WIDTH = 8
FACTORIES: dict[str, Callable[[torch.Tensor], HookFn]] = {
    "add": lambda v: add_direction(v, dose=0.5),
    "ablate": ablate_direction,
    "set": lambda v: set_projection_to(v, 2.0),
    "cap": lambda v: cap_projection_at(v, 0.1),
    "affine": lambda v: affine(v, torch.ones_like(v), 0.3),
    "replace": replace_by,
}


@pytest.fixture(params=sorted(FACTORIES))
def factory(request: pytest.FixtureRequest) -> Callable[[torch.Tensor], HookFn]:
    return FACTORIES[request.param]


@pytest.fixture
def vector(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(WIDTH, generator=generator)


def along(activation: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    return activation @ (vector / vector.norm())


def test_add_moves_every_position_by_dose_times_vector(activation, vector):
    edited = add_direction(vector, dose=-2.0)(activation, hook=None)
    torch.testing.assert_close(edited - activation, (-2.0 * vector).expand_as(activation))


def test_ablation_leaves_nothing_along_and_is_idempotent_and_sign_free(activation, vector):
    once = ablate_direction(vector)(activation, hook=None)
    assert along(once, vector).abs().max() < 1e-6
    torch.testing.assert_close(ablate_direction(vector)(once, hook=None), once)
    torch.testing.assert_close(ablate_direction(-7 * vector)(activation, hook=None), once)


def test_ablation_in_bfloat16_is_as_exact_as_bfloat16_allows(activation, vector):
    exact = ablate_direction(vector)(activation.bfloat16().float(), hook=None)
    edited = ablate_direction(vector.bfloat16().float())(activation.bfloat16(), hook=None)
    assert edited.dtype == torch.bfloat16
    assert (edited.float() - exact).abs().max() < 0.03


def test_set_projection_sets_it_and_keeps_the_rest(activation, vector):
    edited = set_projection_to(3 * vector, 2.0)(activation, hook=None)
    torch.testing.assert_close(along(edited, vector), torch.full((2, 6), 2.0))
    cleaned = ablate_direction(vector)
    torch.testing.assert_close(cleaned(edited, hook=None), cleaned(activation, hook=None))


def test_cap_is_one_sided(activation, vector):
    before = along(activation, vector)
    after = along(cap_projection_at(vector, 0.1)(activation, hook=None), vector)
    assert (before > 0.1).any()
    assert (before < -0.1).any()
    torch.testing.assert_close(after, before.clamp(max=0.1))


def test_affine_with_a_zero_reference_is_ablation_and_with_its_own_state_nothing(vector):
    state = torch.arange(float(WIDTH))
    activation = state.expand(2, 6, WIDTH)
    same = affine(vector, state, 0.0)(activation, hook=None)
    torch.testing.assert_close(same, activation)
    ablated = affine(vector, torch.zeros(WIDTH))(activation, hook=None)
    torch.testing.assert_close(ablated, ablate_direction(vector)(activation, hook=None))


def test_affine_dose_is_in_units_of_the_activation(activation, vector):
    edited = affine(5 * vector, torch.zeros(WIDTH), 1.5)(activation, hook=None)
    torch.testing.assert_close(along(edited, vector), torch.full((2, 6), 1.5))


def test_replace_puts_the_state_everywhere(activation, vector):
    edited = replace_by(vector)(activation, hook=None)
    torch.testing.assert_close(edited, vector.expand_as(activation))


def test_hook_leaves_its_input_and_its_dtype(factory, activation, vector):
    for given in (activation, activation.bfloat16(), activation.double()):
        before = given.clone()
        edited = factory(vector)(given, hook=None)
        assert torch.equal(given, before)
        assert edited.dtype == given.dtype
        assert edited.shape == given.shape


def test_hook_keeps_its_own_copy_of_the_vector(factory, activation, vector):
    hook = factory(vector)
    before = hook(activation, hook=None)
    vector.fill_(100.0)
    assert torch.equal(hook(activation, hook=None), before)


@pytest.mark.parametrize("width", [1, WIDTH - 1])
def test_a_vector_of_another_width_is_refused_and_both_widths_named(factory, activation, width):
    with pytest.raises(ValueError, match=f"width {WIDTH}, got width {width}"):
        factory(torch.ones(width))(activation, hook=None)


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (torch.zeros(WIDTH), "positive norm, got zeros of width 8"),
        (torch.tensor([1.0, float("nan")]), "1 that are NaN or infinite"),
        (torch.tensor([float("inf"), 1.0]), "1 that are NaN or infinite"),
    ],
)
def test_a_vector_without_finite_positive_norm_is_refused(factory, vector, message):
    with pytest.raises(ValueError, match=message):
        factory(vector)


@pytest.mark.parametrize("vector", [torch.ones(2, WIDTH), torch.ones(WIDTH, dtype=torch.long)])
def test_a_vector_of_another_rank_or_of_integers_is_refused(factory, vector):
    with pytest.raises((ValueError, TypeError)):
        factory(vector)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda v, x: add_direction(v, dose=x), "finite dose, got nan"),
        (set_projection_to, "finite value, got nan"),
        (cap_projection_at, "finite threshold, got nan"),
        (lambda v, x: affine(v, v, x), "finite dose, got nan"),
    ],
)
def test_a_number_that_is_not_finite_is_refused(make, message, vector):
    with pytest.raises(ValueError, match=message):
        make(vector, float("nan"))


def test_affine_refuses_a_reference_that_does_not_fit(vector):
    # Unwrapped, because the checker of annotations, on in tests alone, refuses it first.
    with pytest.raises(ValueError, match="width 8, got shape \\(3,\\)"):
        inspect.unwrap(affine)(vector, torch.ones(3))
    with pytest.raises(ValueError, match="reference with finite values"):
        affine(vector, torch.full((WIDTH,), float("nan")))
