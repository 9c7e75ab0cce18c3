"""Metrics of pairs: what they are, that each pair is told its own, and that gradients pass."""

from typing import Any

import pytest
import torch

from lens_personas.hooks import Site
from lens_personas.interventions import (
    ByCell,
    Cell,
    LastTokens,
    answer_metric,
    by_pair,
    clean_kl_metric,
    margin_metric,
    patch_grid,
    refusal_metric,
)
from lens_personas.models import LensModel, Prompt
from lens_personas.readouts import last_position_kl, refusal_score

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def said(*ids: int) -> Prompt:
    return Prompt(prompt_id="", ids=ids, prompt_length=len(ids), spans={}, text="")


CLEAN = (said(1, 20, 31, 42, 53), said(90, 80, 70))
CORRUPTED = (said(1, 20, 60, 42, 12), said(91, 80, 70))


def cells(n: int) -> list[Cell]:
    return [Cell(arm=0, row=at, prompt=at) for at in range(n)]


def test_the_refusal_metric_is_the_refusal_score() -> None:
    logits = torch.randn(4, 11, generator=torch.Generator().manual_seed(0))
    score: Any = refusal_metric((3, 5))
    torch.testing.assert_close(score(logits)[:, 0], refusal_score(logits, torch.tensor([3, 5])))


def test_each_pair_is_told_its_own_answer() -> None:
    logits = torch.randn(4, 11, generator=torch.Generator().manual_seed(0))
    # Corrupted prompts come first, then the clean ones of the same pairs.
    rows = logits.log_softmax(dim=1)[torch.arange(4), torch.tensor([2, 7, 2, 7])]
    torch.testing.assert_close(answer_metric((2, 7)).reduce(logits, cells(4))[:, 0], rows)
    margin = margin_metric((2, 7), 5).reduce(logits, cells(4))[:, 0]
    expected = logits[torch.arange(4), torch.tensor([2, 7, 2, 7])] - logits[:, 5]
    torch.testing.assert_close(margin, expected)


def test_grids_of_many_pairs_are_those_of_each_pair(tiny_model: LensModel) -> None:
    answers = (7, 3)
    both = patch_grid(tiny_model, CLEAN, CORRUPTED, answer_metric(answers), layers=(1,))
    for at, token in enumerate(answers):
        own = LastTokens(token_ids=(token,), log_probs=True)
        one = patch_grid(tiny_model, CLEAN[at : at + 1], CORRUPTED[at : at + 1], own, layers=(1,))
        n = len(CLEAN[at].ids)
        torch.testing.assert_close(both.values[at, :, :n], one.values[0], **CLOSE)
        torch.testing.assert_close(both.clean[at], one.clean[0], **CLOSE)


def test_the_clean_run_is_no_way_from_itself(tiny_model: LensModel) -> None:
    metric = clean_kl_metric(tiny_model, CLEAN)
    last = tiny_model.card.n_layers - 1
    grid = patch_grid(
        tiny_model, CLEAN, CORRUPTED, metric, site=Site.RESID_POST, layers=(last,), positions=(2, 4)
    )
    torch.testing.assert_close(grid.clean, torch.zeros(2), **CLOSE)
    assert (grid.corrupted > 1e-4).all()
    # With the last state whole the run is the clean one.
    torch.testing.assert_close(grid.values[0, 0, 1], torch.tensor(0.0), **CLOSE)
    torch.testing.assert_close(grid.values[1, 0, 0], torch.tensor(0.0), **CLOSE)


def test_gradients_pass_through_every_metric() -> None:
    generator = torch.Generator().manual_seed(0)
    base, logits = torch.randn(2, 4, 11, generator=generator)
    for metric in (
        refusal_metric((3, 5)),
        answer_metric((1, 2, 3, 4)),
        margin_metric((1, 2, 3, 4), 5),
        by_pair(base, lambda now, known: last_position_kl(known, now)),
    ):
        given = logits.clone().requires_grad_()
        reduce: Any = metric.reduce if isinstance(metric, ByCell) else lambda x, _, m=metric: m(x)
        reduce(given, cells(4)).sum().backward()
        assert given.grad is not None
        assert given.grad.isfinite().all()
        assert (given.grad.abs().sum(dim=1) > 0).all()


def test_a_metric_of_no_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one pair, got none"):
        answer_metric(())
