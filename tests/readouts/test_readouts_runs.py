"""Scores that need a model: refusal, target log-probability, perplexity, an edit's KL."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from lens_personas.hooks import Edit, HookFn, Site
from lens_personas.models import LensModel, Prompt, map_last_logits
from lens_personas.readouts import (
    RefusalTokens,
    edit_kl,
    last_position_kl,
    perplexity,
    refusal_score,
    score_refusal,
    target_log_prob,
)
from lens_personas.readouts import _divergence as divergence

MakePrompts = Callable[..., list[Prompt]]
TOKENS = RefusalTokens(
    token_ids=(9, 20, 31),
    tokens=("a", "b", "c"),
    source="derived",
    rule="planted",
    n_refused=1,
    n_answered=1,
    coverage=1.0,
    false_share=0.0,
    prompt_ids=frozenset(),
)


def _add(vector: torch.Tensor) -> HookFn:
    def add(activation: torch.Tensor, /, *, hook: object) -> torch.Tensor:
        return activation + vector

    return add


def test_refusal_score_is_that_of_plain_transformers(
    model: LensModel, plain: Any, make_prompts: MakePrompts
) -> None:
    prompts = make_prompts(answer=2)
    logits = torch.stack([plain.logits(prompt.ids)[-1] for prompt in prompts])
    expected = refusal_score(logits, torch.tensor(TOKENS.token_ids))
    for token_budget in (1, 30, 4096):
        scores = score_refusal(model, prompts, TOKENS, token_budget=token_budget)
        torch.testing.assert_close(scores, expected, atol=1e-4, rtol=0)


def test_an_edit_towards_a_refusal_token_raises_the_score(
    model: LensModel, plain: Any, make_prompts: MakePrompts
) -> None:
    prompts = make_prompts()
    row = plain.unembedding[20]
    vector = 30 * row / row.norm() * plain.norm.weight.detach().sign()
    edit = Edit(site=Site.RESID_POST, layer=2, hook=_add(vector))
    opposite = Edit(site=Site.RESID_POST, layer=2, hook=_add(-vector))
    plain_scores, up, down = (
        score_refusal(model, prompts, TOKENS, edits=edits) for edits in ((), [edit], [opposite])
    )
    assert (up > plain_scores).all()
    # Other refusal tokens may gain from the opposite push, but never as much.
    assert (down < up).all()


def test_refusal_tokens_of_another_vocabulary_are_refused(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    from dataclasses import replace

    foreign = replace(TOKENS, token_ids=(model.card.d_vocab,))
    with pytest.raises(ValueError, match="derive them with this model's own tokenizer"):
        score_refusal(model, make_prompts(1), foreign)


def test_target_log_prob_is_that_of_plain_transformers(
    model: LensModel, plain: Any, make_prompts: MakePrompts
) -> None:
    prompts = make_prompts(answer=4)
    totals = target_log_prob(model, prompts)
    means = target_log_prob(model, prompts, mean=True, token_budget=25)
    for row, prompt in enumerate(prompts):
        start = prompt.prompt_length
        log_probs = plain.logits(prompt.ids).log_softmax(-1)[start - 1 : -1]
        expected = log_probs.gather(1, torch.tensor(prompt.ids[start:])[:, None])
        torch.testing.assert_close(totals[row], expected.sum(), atol=1e-3, rtol=0)
        torch.testing.assert_close(means[row], expected.mean(), atol=1e-3, rtol=0)


def test_perplexity_is_the_inverse_geometric_mean_probability(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    prompts = make_prompts(answer=4)
    lengths = torch.tensor([len(p.ids) - p.prompt_length for p in prompts])
    expected = target_log_prob(model, prompts).div(lengths).neg().exp()
    found = perplexity(model, prompts)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)
    assert (found >= 1).all()


@pytest.mark.parametrize("score", [target_log_prob, perplexity])
def test_prompts_without_an_answer_are_refused(
    model: LensModel, make_prompts: MakePrompts, score: Any
) -> None:
    with pytest.raises(ValueError, match="prompt 'p0' to carry an answer"):
        score(model, make_prompts(2))
    with pytest.raises(ValueError, match="at least one prompt with an answer, got none"):
        score(model, [])


def test_an_edit_that_changes_nothing_has_no_divergence(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    edit = Edit(site=Site.RESID_PRE, layer=1, hook=_add(torch.zeros(model.card.d_model)))
    assert edit_kl(model, make_prompts(), [edit]).max() < 1e-6


def test_edit_kl_is_the_divergence_of_the_logits_in_any_grouping(
    model: LensModel, make_prompts: MakePrompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = make_prompts(9)
    vectors = torch.randn(9, model.card.d_model, generator=torch.Generator().manual_seed(3))

    def make(rows: Sequence[int]) -> HookFn:
        return _add(vectors[list(rows), None])

    edits = [Edit(site=Site.RESID_PRE, layer=1, hook=make, per_row=True)]
    expected = last_position_kl(
        map_last_logits(model, prompts, lambda x: x),
        map_last_logits(model, prompts, lambda x: x, edits=edits),
    )
    assert expected.min() > 1e-4
    for size in (64, 4, 1):
        monkeypatch.setattr(divergence, "PROMPTS_AT_ONCE", size)
        found = edit_kl(model, prompts, edits, token_budget=40)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_edit_kl_of_no_prompt_is_refused(model: LensModel) -> None:
    with pytest.raises(ValueError, match="at least one prompt, got none"):
        edit_kl(model, [], [])


def test_perplexity_of_a_uniform_guess_is_the_vocabulary(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    def zero(activation: torch.Tensor, /, *, hook: object) -> torch.Tensor:
        return torch.zeros_like(activation)

    edit = Edit(site=Site.RESID_POST, layer=2, hook=zero)
    prompts = make_prompts(answer=2)
    means = target_log_prob(model, prompts, edits=[edit], mean=True)
    if model.card.architecture.startswith("Llama"):
        # A zero residual gives zero logits where the norm has no bias.
        uniform = torch.full_like(means, -math.log(model.card.d_vocab))
        torch.testing.assert_close(means, uniform, atol=1e-4, rtol=0)
    assert torch.isfinite(means).all()
