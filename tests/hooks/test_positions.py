"""Scopes mean the same positions under any padding and in cached steps."""

import pytest
import torch

from lens_personas.hooks import Scope, TokenLayout, scope_mask, span_mask

EXPECTED: list[tuple[Scope, list[list[int]]]] = [
    ("all", [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3]]),
    ("prompt", [[0, 1, 2, 3], [0, 1]]),
    ("last_prompt", [[3], [1]]),
    ("generated", [[3, 4, 5], [1, 2, 3]]),
    ("user", [[1, 2], [0]]),
    ((0,), [[0], [0]]),
    ((-1,), [[3], [1]]),
    ((-2, 1, 5), [[1, 2, 5], [0, 1]]),
    ((), [[], []]),
]


@pytest.mark.parametrize(("scope", "expected"), EXPECTED)
def test_scope_is_its_positions_left_or_right_padded_whole_or_in_steps(scope, expected, layout):
    right = TokenLayout(
        positions=torch.tensor([[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, -1, -1]]),
        prompt_length=layout.prompt_length,
        spans=layout.spans,
    )
    for each in (layout, right):
        mask = scope_mask(scope, each)
        assert [each.positions[row][mask[row]].tolist() for row in (0, 1)] == expected
        steps = [scope_mask(scope, each.window(at, at + 1)) for at in range(6)]
        assert torch.equal(torch.cat(steps, dim=1), mask)


def test_generated_is_one_position_a_step_and_last_prompt_none(layout):
    for column in (4, 5):
        step = layout.window(column, column + 1)
        assert scope_mask("generated", step).sum(dim=1).tolist() == [1, 1]
        assert not scope_mask("last_prompt", step).any()


def test_a_row_without_the_named_part_is_an_error_whoever_shares_the_batch(layout):
    with pytest.raises(ValueError, match="a system part in every row, got 1 of 2 rows without"):
        scope_mask("system", layout)
    alone = layout.select(torch.tensor([0]))
    assert scope_mask("system", alone).sum() == 1


def test_an_unknown_part_and_an_unknown_scope_are_errors(layout):
    with pytest.raises(ValueError, match="one of the parts \\['system', 'user'\\], got 'answer'"):
        span_mask("answer", layout)
    # The checker of annotations, where it is on, refuses the name before the function does.
    with pytest.raises((ValueError, TypeError), match="middle"):
        scope_mask("middle", layout)  # type: ignore[arg-type]


def test_a_position_before_the_first_token_is_an_error(layout):
    with pytest.raises(ValueError, match="at least -2 for a prompt of 2 tokens, got -3"):
        scope_mask((-3,), layout)


def test_within_hides_the_columns_outside_and_select_takes_rows_in_order(layout):
    hidden = layout.within(scope_mask("last_prompt", layout))
    assert hidden.positions.tolist() == [[-1, -1, -1, 3, -1, -1], [-1, -1, -1, 1, -1, -1]]
    swapped = layout.select(torch.tensor([1, 0]))
    assert swapped.prompt_length.tolist() == [2, 4]
    assert swapped.spans["user"].tolist() == [[0, 1], [1, 3]]
