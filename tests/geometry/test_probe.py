"""Probes on held-out rows: the theorems behind them, and what they must not look at."""

import math

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.linear_model import Ridge
from torch import Tensor

from lens_personas.geometry import held_out_projections, held_out_scores, unit_vector
from lens_personas.geometry._probe import ledoit_wolf, standardised


def rows(n: int, d: int, seed: int = 0) -> Tensor:
    mixing = torch.randn(d, d, generator=torch.Generator().manual_seed(seed + 1)) / math.sqrt(d)
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) @ mixing + 3.0


FOLDS = torch.arange(60) // 15
LABELS = (torch.arange(60) // 2) % 2 == 0


def test_scores_are_those_of_ridge_regression() -> None:
    states, shrinkage = rows(60, 12).double(), 0.3
    scores = held_out_scores(states, LABELS.double()[:, None], FOLDS, shrinkage=shrinkage)[:, 0]
    features = standardised(states).numpy()
    for fold in range(4):
        held = (fold == FOLDS).numpy()
        fitted = features[~held] - features[~held].mean(axis=0)
        penalty = shrinkage / (1 - shrinkage) * (fitted**2).sum() / 12
        ridge = Ridge(alpha=penalty).fit(features[~held], LABELS.numpy()[~held].astype(float))
        expected = ridge.predict(features[held]) - LABELS.numpy()[~held].mean()
        np.testing.assert_allclose(scores.numpy()[held], expected, atol=1e-9)


@pytest.mark.parametrize("d", [4, 200])
def test_the_direction_is_that_of_the_linear_discriminant(d: int) -> None:
    states = rows(60, d).double()
    states[LABELS] += 0.5
    scores = held_out_scores(states, LABELS.double()[:, None], FOLDS, shrinkage=0.5)[:, 0]
    features = standardised(states).numpy()
    held = (FOLDS == 0).numpy()
    train, labels = features[~held], LABELS.numpy()[~held]
    within = train - np.where(labels[:, None], train[labels].mean(0), train[~labels].mean(0))
    # Weight 1/2 on the identity adds the mean variance of a feature, over both labels.
    ridge = np.eye(d) * ((train - train.mean(axis=0)) ** 2).sum() / d
    gap = train[labels].mean(axis=0) - train[~labels].mean(axis=0)
    expected = features[held] @ np.linalg.solve(within.T @ within + ridge, gap)
    assert np.corrcoef(scores.numpy()[held], expected)[0, 1] == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("shape", [(60, 5), (40, 300)])
def test_the_shrinkage_is_that_of_ledoit_and_wolf(shape: tuple[int, int]) -> None:
    features = standardised(rows(*shape).double())
    expected = ledoit_wolf_shrinkage(features.numpy(), assume_centered=True)
    assert ledoit_wolf(features @ features.T, shape[1]) == pytest.approx(expected, abs=1e-9)


def test_draws_do_not_touch_each_other() -> None:
    states = rows(60, 7)
    targets = torch.rand(60, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    together = held_out_scores(states, targets, FOLDS)
    for at in range(3):
        alone = held_out_scores(states, targets[:, at : at + 1], FOLDS)
        torch.testing.assert_close(together[:, at : at + 1], alone)


def test_a_fold_is_scored_without_its_own_targets() -> None:
    states, targets = rows(60, 7), LABELS.double()[:, None]
    lied = targets.clone()
    lied[FOLDS == 2] = 17.0
    told, lying = (held_out_scores(states, each, FOLDS) for each in (targets, lied))
    torch.testing.assert_close(told[FOLDS == 2], lying[FOLDS == 2])
    assert not torch.allclose(told[FOLDS == 1], lying[FOLDS == 1])
    flipped = torch.where(FOLDS == 2, ~LABELS, LABELS)
    told, lying = (held_out_projections(states, each, FOLDS) for each in (LABELS, flipped))
    torch.testing.assert_close(told[FOLDS == 2], lying[FOLDS == 2])


def test_scores_do_not_hang_on_a_feature_s_unit() -> None:
    states = rows(60, 7).double()
    units = torch.logspace(-3, 3, 7, dtype=torch.float64)
    targets = LABELS.double()[:, None]
    torch.testing.assert_close(
        held_out_scores(states, targets, FOLDS), held_out_scores(states * units - 5, targets, FOLDS)
    )


def test_what_does_not_vary_scores_nothing() -> None:
    same = torch.full((60, 5), 0.1).mul_(torch.tensor([1.0, 1e4, -3.0, 0.0, 7.0]))
    noisy = same * (1 + 1e-7 * torch.randn(60, 5, generator=torch.Generator().manual_seed(0)))
    for states in (same, noisy):
        assert held_out_scores(states, LABELS.double()[:, None], FOLDS).abs().max() == 0.0
    assert held_out_projections(same, LABELS, FOLDS).abs().max() == 0.0


def test_projections_are_along_the_other_folds_difference_of_means() -> None:
    states = rows(60, 6).double()
    states[LABELS, 0] += 4.0
    projections = held_out_projections(states, LABELS, FOLDS)
    rest = FOLDS != 1
    above, below = states[rest & LABELS].mean(dim=0), states[rest & ~LABELS].mean(dim=0)
    expected = (states[~rest] - (above + below) / 2) @ unit_vector(above - below)
    torch.testing.assert_close(projections[~rest], expected)


def test_one_fold_and_odd_shrinkage_are_refused() -> None:
    with pytest.raises(ValueError, match="at least two folds, got 1"):
        held_out_projections(rows(60, 3), LABELS, torch.zeros(60, dtype=torch.long))
    with pytest.raises(ValueError, match=r"up to 1, got 1\.5"):
        held_out_scores(rows(60, 3), LABELS.double()[:, None], FOLDS, shrinkage=1.5)
