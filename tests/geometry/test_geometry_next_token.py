"""Odds of a set of tokens and divergence of two distributions, against their definitions."""

import pytest
import torch

from lens_personas.geometry import next_token_kl, set_log_odds


@pytest.fixture
def logits() -> torch.Tensor:
    return 3 * torch.randn(5, 7, generator=torch.Generator().manual_seed(0))


def test_odds_are_those_of_the_summed_probability(logits: torch.Tensor) -> None:
    p = logits.double().softmax(dim=1)[:, [1, 4]].sum(dim=1)
    odds = (p / (1 - p)).log().float()
    torch.testing.assert_close(set_log_odds(logits, torch.tensor([1, 4])), odds)
    torch.testing.assert_close(set_log_odds(logits, torch.tensor([4, 1, 1])), odds)


def test_complementary_sets_have_opposite_odds(logits: torch.Tensor) -> None:
    one = set_log_odds(logits, torch.tensor([0, 2, 3]))
    other = set_log_odds(logits, torch.tensor([1, 4, 5, 6]))
    torch.testing.assert_close(one, -other)


def test_a_distribution_is_no_way_from_itself(logits: torch.Tensor) -> None:
    torch.testing.assert_close(next_token_kl(logits, logits + 2.0), torch.zeros(5))
    other = logits.flip(0)
    p, q = logits.double().softmax(dim=1), other.double().softmax(dim=1)
    expected = (p * (p / q).log()).sum(dim=1).float()
    torch.testing.assert_close(next_token_kl(logits, other), expected)


def test_a_token_that_never_comes_adds_nothing(logits: torch.Tensor) -> None:
    logits[:, 0] = -torch.inf
    assert next_token_kl(logits, torch.zeros_like(logits)).isfinite().all()


@pytest.mark.parametrize(
    ("ids", "message"),
    [([], "at least one"), ([7], "from 0 to 6"), (range(7), "leave some of the 7 tokens out")],
)
def test_a_set_without_odds_is_refused(logits: torch.Tensor, ids: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        set_log_odds(logits, torch.tensor([*ids], dtype=torch.long))
