"""Per-row hooks give each row its own vector, by its number in the whole call."""

import inspect

import pytest
import torch

from lens_personas.hooks import (
    Edit,
    Site,
    ablate_direction,
    ablate_row_directions,
    add_direction,
    add_row_directions,
    compile_edits,
    replace_by,
    replace_row_states,
    set_projection_to,
    set_row_projections,
)


@pytest.fixture
def vectors(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(4, 8, generator=generator)


DOSES = torch.tensor([0.0, -1.0, 0.5, 3.0])
PAIRS = {
    "add": (
        lambda vectors: add_row_directions(vectors, DOSES),
        lambda vectors, row: add_direction(vectors[row], dose=float(DOSES[row])),
    ),
    "ablate": (ablate_row_directions, lambda vectors, row: ablate_direction(vectors[row])),
    "set": (
        lambda vectors: set_row_projections(vectors[0], DOSES[: len(vectors)]),
        lambda vectors, row: set_projection_to(vectors[0], float(DOSES[row])),
    ),
    "replace": (replace_row_states, lambda vectors, row: replace_by(vectors[row])),
}


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_each_row_is_edited_as_it_would_be_alone(name, activation, vectors):
    make_rows, make_one = PAIRS[name]
    before = activation.clone()
    edited = make_rows(vectors)([3, 1])(activation, hook=None)
    for at, row in enumerate((3, 1)):
        alone = make_one(vectors, row)(activation[at : at + 1], hook=None)
        torch.testing.assert_close(edited[at : at + 1], alone)
    assert torch.equal(activation, before)


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_an_edit_picks_the_rows_of_its_batch_and_keeps_its_scope(name, activation, vectors, layout):
    hook = PAIRS[name][0](vectors)
    edit = Edit(site=Site.RESID_POST, layer=1, hook=hook, scope="last_prompt", per_row=True)
    edited = compile_edits([edit], layout, (2, 1))[Site.RESID_POST, 1](activation, hook=None)
    expected = hook([2, 1])(activation, hook=None)
    assert torch.equal(edited[:, 3], expected[:, 3])
    assert torch.equal(edited[:, [0, 1, 2, 4, 5]], activation[:, [0, 1, 2, 4, 5]])


@pytest.mark.parametrize("name", sorted(PAIRS))
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_dtype_is_kept(name, dtype, activation, vectors):
    assert PAIRS[name][0](vectors)([0, 1])(activation.to(dtype), hook=None).dtype == dtype


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_rows_without_a_vector_and_expanded_batches_are_refused(name, activation, vectors):
    make = PAIRS[name][0](vectors)
    with pytest.raises(ValueError, match=r"got 4 and prompts \[4\]"):
        make([0, 4])
    with pytest.raises(ValueError, match="the 1 rows the hook was made for, got 2"):
        make([0])(activation, hook=None)


@pytest.mark.parametrize("name", sorted(PAIRS))
@pytest.mark.parametrize("width", [1, 7])
def test_another_width_is_refused(name, width, activation):
    with pytest.raises(ValueError, match=f"width 8, got width {width}"):
        PAIRS[name][0](torch.ones(4, width))([0, 1])(activation, hook=None)


def test_bad_values_are_refused(vectors):
    holed = vectors.clone()
    holed[2] = 0
    with pytest.raises(ValueError, match=r"positive norm, got zeros in rows \[2\]"):
        ablate_row_directions(holed)
    # Unwrapped, because the checker of annotations, on in tests alone, refuses it first.
    with pytest.raises(ValueError, match="one dose for each of the 4 vectors, got shape"):
        inspect.unwrap(add_row_directions)(vectors, torch.ones(3))
    with pytest.raises(ValueError, match="finite doses"):
        add_row_directions(vectors, DOSES / 0)
    holed[2] = float("nan")
    with pytest.raises(ValueError, match="8 that are NaN or infinite"):
        replace_row_states(holed)


def test_a_row_of_zeros_is_a_control_for_addition(activation):
    make = add_row_directions(torch.zeros(2, 8), torch.ones(2))
    assert torch.equal(make([0, 1])(activation, hook=None), activation)


def test_a_projection_is_set_to_one_finite_value_a_row(activation, vectors):
    unit = vectors[0] / vectors[0].norm()
    edited = set_row_projections(vectors[0], DOSES)([3, 1])(activation, hook=None)
    torch.testing.assert_close(edited @ unit, DOSES[[3, 1]][:, None].expand(2, edited.shape[1]))
    with pytest.raises(ValueError, match="finite doses"):
        set_row_projections(vectors[0], DOSES / 0)
    with pytest.raises(ValueError, match="positive norm"):
        set_row_projections(torch.zeros(8), torch.ones(2))
