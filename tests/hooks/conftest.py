"""Activations, layouts and a way to run edits over them in one pass or column by column."""

from collections.abc import Callable, Sequence

import pytest
import torch

from lens_personas.hooks import Edit, Site, TokenLayout, compile_edits

PLACE = (Site.RESID_POST, 1)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def layout() -> TokenLayout:
    """Two left-padded rows: prompts of 4 and 2 tokens, two answer tokens each."""
    return TokenLayout(
        positions=torch.tensor([[0, 1, 2, 3, 4, 5], [-1, -1, 0, 1, 2, 3]]),
        prompt_length=torch.tensor([4, 2]),
        spans={
            "system": torch.tensor([[0, 1], [0, 0]]),
            "user": torch.tensor([[1, 3], [0, 1]]),
        },
    )


@pytest.fixture
def activation(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(2, 6, 8, generator=generator)


@pytest.fixture
def run_edits(
    activation: torch.Tensor, layout: TokenLayout
) -> Callable[[Sequence[Edit]], torch.Tensor]:
    """Apply edits at one place in a whole pass; fail where cached steps would differ."""

    def run(edits: Sequence[Edit]) -> torch.Tensor:
        hooks = compile_edits(edits, layout, (0, 1))
        assert list(hooks) == [PLACE]
        whole = hooks[PLACE](activation, hook=None)
        steps = []
        for start, stop in ((0, 3), (3, 4), (4, 5), (5, 6)):
            step = compile_edits(edits, layout.window(start, stop), (0, 1))[PLACE]
            steps.append(step(activation[:, start:stop], hook=None))
        torch.testing.assert_close(torch.cat(steps, dim=1), whole)
        return whole

    return run
