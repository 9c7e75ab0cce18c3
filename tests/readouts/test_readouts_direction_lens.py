"""The lens of a direction: gain and unembedding, no scale, no bias."""

from typing import Any

import pytest
import torch

from lens_personas.models import LensModel
from lens_personas.readouts import TokenWeights, lens_of_direction


def _direction(d_model: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(d_model, generator=torch.Generator().manual_seed(seed))


def _all(weights: TokenWeights) -> dict[int, float]:
    return {each.token_id: each.weight for each in weights.top}


def test_weights_are_gain_and_unembedding_of_the_unit_direction(
    model: LensModel, plain: Any
) -> None:
    direction = _direction(model.card.d_model)
    unit = direction / direction.norm()
    # Only GPT-2's norm centres; it is the one that has a bias.
    centred = unit - unit.mean() if hasattr(plain.norm, "bias") else unit
    scale = centred.norm()
    expected = plain.unembedding @ (plain.norm.weight.detach() * centred / scale)
    found = _all(lens_of_direction(model, direction, k=model.card.d_vocab))
    values = torch.tensor([found[i] for i in range(model.card.d_vocab)])
    torch.testing.assert_close(values, expected, atol=1e-4, rtol=1e-4)


def test_length_has_no_effect_and_the_opposite_swaps_the_ends(model: LensModel) -> None:
    direction = _direction(model.card.d_model)
    weights = lens_of_direction(model, direction)
    longer = lens_of_direction(model, 37 * direction)
    assert [t.token_id for t in longer.top] == [t.token_id for t in weights.top]
    opposite = lens_of_direction(model, -direction)
    assert [t.token_id for t in opposite.top] == [t.token_id for t in weights.bottom]
    assert opposite.top[0].weight == pytest.approx(-weights.bottom[0].weight)


def test_a_planted_token_comes_first(model: LensModel, plain: Any) -> None:
    token_id = int(plain.unembedding.norm(dim=1).argmax())
    direction = plain.unembedding[token_id] / plain.norm.weight.detach()
    direction = direction.clamp(-5, 5) * plain.norm.weight.detach().abs().gt(0.2)
    weights = lens_of_direction(model, direction, k=3)
    assert weights.top[0].token_id == token_id
    assert weights.top[0].token == model.tokenizer.decode([token_id])
    assert [t.weight for t in weights.top] == sorted((t.weight for t in weights.top), reverse=True)
    assert [t.weight for t in weights.bottom] == sorted(t.weight for t in weights.bottom)


def test_impossible_directions_and_counts_are_refused(model: LensModel) -> None:
    with pytest.raises(ValueError, match="finite, positive norm"):
        lens_of_direction(model, torch.zeros(model.card.d_model))
    with pytest.raises(ValueError, match=f"k from 1 to {model.card.d_vocab} tokens, got 0"):
        lens_of_direction(model, _direction(model.card.d_model), k=0)
