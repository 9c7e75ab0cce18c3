"""The refusal score is the exact log-odds of a set of tokens."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lens_personas.readouts import refusal_score


def _logits(seed: int, rows: int = 5, d_vocab: int = 11) -> torch.Tensor:
    return 4 * torch.randn(rows, d_vocab, generator=torch.Generator().manual_seed(seed))


def _logit_of_p(logits: torch.Tensor, ids: list[int]) -> torch.Tensor:
    p = logits.double().softmax(-1)[:, ids].sum(-1)
    return (p.log() - (-p).log1p()).float()


@given(st.integers(0, 10_000), st.sets(st.integers(0, 10), min_size=1, max_size=10))
def test_score_is_the_logit_of_the_summed_probability(seed: int, ids: set[int]) -> None:
    logits = _logits(seed)
    score = refusal_score(logits, torch.tensor(sorted(ids)))
    torch.testing.assert_close(score, _logit_of_p(logits, sorted(ids)), atol=1e-4, rtol=1e-4)


@given(st.integers(0, 10_000), st.floats(-50, 50))
def test_adding_a_constant_to_the_logits_changes_nothing(seed: int, constant: float) -> None:
    logits, ids = _logits(seed), torch.tensor([1, 4])
    moved = refusal_score(logits + constant, ids)
    torch.testing.assert_close(moved, refusal_score(logits, ids), atol=1e-4, rtol=1e-4)


@given(st.integers(0, 10_000), st.permutations(range(11)))
def test_permuting_the_vocabulary_with_the_set_changes_nothing(seed: int, order: list[int]) -> None:
    logits, ids = _logits(seed), [0, 3, 7]
    permuted = refusal_score(logits[:, order], torch.tensor([order.index(i) for i in ids]))
    torch.testing.assert_close(permuted, refusal_score(logits, torch.tensor(ids)))


@given(st.integers(0, 10_000))
def test_the_complement_has_the_opposite_score(seed: int) -> None:
    logits = _logits(seed)
    score = refusal_score(logits, torch.tensor([2, 5]))
    rest = torch.tensor([i for i in range(11) if i not in (2, 5)])
    torch.testing.assert_close(refusal_score(logits, rest), -score)


def test_a_larger_set_scores_higher() -> None:
    logits = _logits(0)
    small, large = torch.tensor([2]), torch.tensor([2, 5])
    assert (refusal_score(logits, large) > refusal_score(logits, small)).all()


def test_order_and_repeats_of_the_set_change_nothing() -> None:
    logits = _logits(1)
    once = refusal_score(logits, torch.tensor([3, 8]))
    assert torch.equal(refusal_score(logits, torch.tensor([8, 3, 8])), once)


def test_a_near_certain_token_is_not_cut_off() -> None:
    # Adding 1e-6 inside the logarithms would stop at 13.8.
    logits = torch.tensor([[60.0, 0.0, 0.0]])
    score = refusal_score(logits, torch.tensor([0]))
    torch.testing.assert_close(score, torch.tensor([60.0 - 2 * 0.34657359]), atol=1e-4, rtol=0)


def test_score_is_float32_for_half_precision_logits() -> None:
    assert refusal_score(_logits(2).bfloat16(), torch.tensor([0])).dtype == torch.float32


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "expected at least one refusal token, got none"),
        (list(range(11)), "leave some of the 11 tokens out, got all of them"),
        ([3, 11], r"expected refusal tokens from 0 to 10, got \[3, 11\]"),
        ([-1], r"expected refusal tokens from 0 to 10, got \[-1\]"),
    ],
)
def test_impossible_sets_are_refused(ids: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        refusal_score(_logits(0), torch.tensor(ids, dtype=torch.long))
