"""Edits along a direction: their algebra, and their numbers in half precision."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from lens_personas.geometry import (
    add_row_vectors,
    add_vector,
    affine_edit,
    cap_projection,
    project_out,
    project_out_rows,
    projection,
    set_projection,
    unit_vector,
)

seeds = st.integers(0, 2**31)
levels = st.floats(-5.0, 5.0, width=32)


def drawn(seed, d_model=24):
    torch_rng = torch.Generator().manual_seed(seed)
    activation = torch.randn(2, 5, d_model, generator=torch_rng, dtype=torch.float64)
    unit = unit_vector(torch.randn(d_model, generator=torch_rng, dtype=torch.float64))
    return activation, unit, torch.randn(d_model, generator=torch_rng, dtype=torch.float64)


def edits(unit, vector):
    row_vectors = torch.stack([vector, -vector])
    return {
        "project_out": lambda h: project_out(h, unit),
        "set": lambda h: set_projection(h, unit, 1.5),
        "cap": lambda h: cap_projection(h, unit, 0.3),
        "affine": lambda h: affine_edit(h, unit, vector, 2.0),
        "add": lambda h: add_vector(h, vector, 0.7),
        "add_row": lambda h: add_row_vectors(h, row_vectors, torch.tensor([0.5, 2.0])),
    }


NAMES = ["project_out", "set", "cap", "affine", "add", "add_row"]


@given(seed=seeds)
def test_project_out_is_orthogonal_idempotent_linear_and_blind_to_sign(seed):
    activation, unit, vector = drawn(seed)
    once = project_out(activation, unit)
    assert projection(once, unit).abs().max() < 1e-12
    torch.testing.assert_close(project_out(once, unit), once)
    torch.testing.assert_close(project_out(activation, -unit), once)
    both = project_out(2.0 * activation + vector, unit)
    torch.testing.assert_close(both, 2.0 * once + project_out(vector.expand(2, 5, -1), unit))


@given(seed=seeds)
def test_project_out_never_lengthens_and_keeps_what_is_orthogonal(seed):
    activation, unit, _ = drawn(seed)
    once = project_out(activation, unit)
    squares = once.square().sum(-1) + projection(activation, unit).square()
    torch.testing.assert_close(squares, activation.square().sum(-1))
    torch.testing.assert_close(project_out(once, unit), once)


@given(seed=seeds, value=levels)
def test_set_projection_gives_the_value_and_leaves_the_rest(seed, value):
    activation, unit, _ = drawn(seed)
    edited = set_projection(activation, unit, value)
    torch.testing.assert_close(
        projection(edited, unit), torch.full((2, 5), value, dtype=torch.float64)
    )
    torch.testing.assert_close(project_out(edited, unit), project_out(activation, unit))


@given(seed=seeds, threshold=levels)
def test_cap_projection_is_one_sided_and_idempotent(seed, threshold):
    activation, unit, _ = drawn(seed)
    capped = cap_projection(activation, unit, threshold)
    before = projection(activation, unit)
    torch.testing.assert_close(projection(capped, unit), before.clamp(max=threshold))
    assert torch.equal(capped[before <= threshold], activation[before <= threshold])
    torch.testing.assert_close(cap_projection(capped, unit, threshold), capped)
    floored = cap_projection(activation, -unit, -threshold)
    torch.testing.assert_close(projection(floored, unit), before.clamp(min=threshold))


@given(seed=seeds, dose=levels)
def test_affine_edit_takes_the_references_component_plus_the_dose(seed, dose):
    activation, unit, reference = drawn(seed)
    edited = affine_edit(activation, unit, reference, dose)
    along = projection(reference.expand(1, 1, -1), unit)
    formula = (
        activation
        - projection(activation, unit)[..., None] * unit
        + along[..., None] * unit
        + dose * unit
    )
    torch.testing.assert_close(edited, formula)
    torch.testing.assert_close(
        affine_edit(activation, unit, 0 * reference, 0.0), project_out(activation, unit)
    )


@given(seed=seeds, dose=levels)
def test_adding_a_vector_is_undone_by_the_opposite_dose(seed, dose):
    activation, _, vector = drawn(seed)
    there = add_vector(activation, vector, dose)
    torch.testing.assert_close(there - activation, (dose * vector).expand(2, 5, -1))
    torch.testing.assert_close(add_vector(there, vector, -dose), activation)


def test_each_row_gets_its_own_vector_and_dose():
    activation, _, vector = drawn(3)
    vectors, doses = torch.stack([vector, -3.0 * vector]), torch.tensor([2.0, 0.5])
    edited = add_row_vectors(activation, vectors, doses)
    for row in range(2):
        alone = add_vector(activation[[row]], vectors[row], float(doses[row]))
        torch.testing.assert_close(edited[[row]], alone)


def test_zero_doses_change_nothing_to_the_bit():
    activation, _, vector = drawn(4)
    zero = torch.zeros(2)
    assert torch.equal(add_vector(activation, vector, 0.0), activation)
    assert torch.equal(add_row_vectors(activation, torch.stack([vector] * 2), zero), activation)


def test_project_out_of_a_writing_matrix_leaves_it_nothing_to_write_along_the_unit(torch_rng):
    _, unit, _ = drawn(5)
    weight = torch.randn(7, 24, generator=torch_rng, dtype=torch.float64)
    inputs = torch.randn(3, 7, generator=torch_rng, dtype=torch.float64)
    edited = project_out_rows(weight, unit)
    assert (inputs @ edited @ unit).abs().max() < 1e-12
    torch.testing.assert_close(inputs @ edited, project_out_rows(inputs @ weight, unit))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_edits_give_back_the_type_and_do_not_write_to_their_input(name, dtype):
    activation, unit, vector = drawn(6)
    activation = activation.to(dtype)
    kept = activation.clone()
    edited = edits(unit.float(), vector.float())[name](activation)
    assert edited.dtype == dtype
    assert torch.equal(activation, kept)
    assert not torch.equal(edited, kept)


@pytest.mark.parametrize("name", NAMES)
def test_edits_in_bfloat16_are_the_rounded_float32_edits(name):
    activation, unit, vector = drawn(7)
    half, edit = activation.bfloat16(), edits(unit.float(), vector.float())[name]
    assert torch.equal(edit(half), edit(half.float()).bfloat16())


@pytest.mark.parametrize("name", NAMES)
def test_batched_edits_are_the_edits_of_each_position(name):
    activation, unit, vector = drawn(8)
    edit = edits(unit, vector)[name]
    alone = torch.cat([edit(activation[:, [i]]) for i in range(5)], dim=1)
    torch.testing.assert_close(edit(activation), alone)


def test_gotcha_17_projecting_in_bfloat16_leaves_ten_times_more_of_the_component(torch_rng):
    unit = unit_vector(torch.randn(2048, generator=torch_rng))
    noise = torch.randn(8, 64, 2048, generator=torch_rng)
    activation = (noise + 300.0 * unit).bfloat16()
    half = unit.bfloat16()
    naive = activation - (activation @ half)[..., None] * half
    ours = project_out(activation, unit)
    left = [projection(x.double(), unit).square().mean().sqrt() for x in (naive, ours)]
    assert left[0] > 10.0 * left[1]
    # What is left in ours is the rounding of the result alone.
    exact = project_out(activation.double(), unit).bfloat16().double()
    rounding = projection(exact, unit).square().mean().sqrt()
    assert left[1] < 1.5 * rounding


@pytest.mark.parametrize("name", NAMES)
def test_gotcha_27_a_direction_of_width_one_is_refused_instead_of_broadcast(name):
    activation = drawn(9)[0]
    with pytest.raises(TypeCheckError, match="d_model"):
        edits(torch.ones(1), torch.ones(1))[name](activation)
