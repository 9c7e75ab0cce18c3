"""Batches hold every prompt once, at the same absolute positions on either side."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lens_personas.models import Prompt, batches, pad

PAD = 0


def _prompts(lengths: list[int]) -> list[Prompt]:
    return [
        Prompt(
            prompt_id=str(at),
            ids=tuple(range(1, length + 1)),
            prompt_length=max(1, length - 1),
            spans={"prompt": (0, max(1, length - 1))},
            text="",
        )
        for at, length in enumerate(lengths)
    ]


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30), max_size=20),
    budget=st.integers(1, 120),
    side=st.sampled_from(["left", "right"]),
)
def test_each_prompt_is_in_one_batch_within_the_budget(
    lengths: list[int], budget: int, side: str
) -> None:
    prompts = _prompts(lengths)
    made = list(batches(prompts, pad_id=PAD, token_budget=budget, side=side))
    assert sorted(row for batch in made for row in batch.rows) == list(range(len(prompts)))
    for batch in made:
        assert batch.tokens.numel() <= budget or len(batch.rows) == 1
        for at, row in enumerate(batch.rows):
            real = batch.layout.positions[at] >= 0
            assert tuple(batch.tokens[at][real].tolist()) == prompts[row].ids
            assert batch.layout.positions[at][real].tolist() == list(range(lengths[row]))
            assert (batch.tokens[at][~real] == PAD).all()


def test_batches_are_of_like_length() -> None:
    made = list(batches(_prompts([9, 2, 9, 2]), pad_id=PAD, token_budget=18))
    assert [batch.rows for batch in made] == [(1, 3), (0, 2)]


def test_gotcha_7_either_side_has_the_same_positions() -> None:
    prompts = _prompts([4, 2])
    left = pad(prompts, [0, 1], pad_id=PAD, side="left")
    right = pad(prompts, [0, 1], pad_id=PAD, side="right")
    assert left.layout.positions.tolist() == [[0, 1, 2, 3], [-1, -1, 0, 1]]
    assert right.layout.positions.tolist() == [[0, 1, 2, 3], [0, 1, -1, -1]]
    assert left.last_column.tolist() == [3, 3]
    assert right.last_column.tolist() == [3, 1]
    assert torch.equal(left.layout.prompt_length, right.layout.prompt_length)
    assert torch.equal(left.layout.spans["prompt"], right.layout.spans["prompt"])


def test_a_part_that_a_row_lacks_is_empty(prompt_of: Callable[..., Prompt]) -> None:
    batch = pad([*_prompts([3]), prompt_of(1, 2)], [0, 1], pad_id=PAD)
    assert batch.layout.spans["prompt"].tolist() == [[0, 2], [0, 0]]


def test_what_cannot_be_batched(prompt_of: Callable[..., Prompt]) -> None:
    with pytest.raises(ValueError, match="expected a token budget of at least 1, got 0"):
        list(batches(_prompts([1]), pad_id=PAD, token_budget=0))
    with pytest.raises(ValueError, match="expected prompts of at least one token"):
        list(batches([prompt_of()], pad_id=PAD))
    assert list(batches([], pad_id=PAD)) == []
