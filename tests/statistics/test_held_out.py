"""Folds, dealt labels and intervals of held-out scores: what chance alone may do to them."""

import numpy as np
import pytest
from scipy import stats

from lens_personas.statistics import (
    auroc,
    d_prime,
    deal_folds,
    deal_labels,
    fold_auroc,
    held_out_intervals,
)


def example(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and groups: most of one label, the last 10 of both, of 2 to 4 rows."""
    sizes = np.random.default_rng(seed).integers(2, 5, 40)
    groups = np.repeat(np.arange(40), sizes)
    within = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    labels = np.where(groups < 30, groups < 15, within == 0)
    return labels.astype(bool), groups


def test_groups_stay_whole_and_labels_are_spread() -> None:
    labels, groups = example()
    folds = deal_folds(labels, groups, n_folds=5, rng=np.random.default_rng(1))
    assert set(folds) == set(range(5))
    assert all(len(set(folds[groups == name])) == 1 for name in groups)
    only = [{*groups[(folds == f) & (groups < 15)]} for f in range(5)]
    assert {len(each) for each in only} == {3}


def test_there_are_no_more_folds_than_groups_of_a_label() -> None:
    labels = np.arange(20) >= 3
    folds = deal_folds(labels, np.arange(20), n_folds=5, rng=np.random.default_rng(0))
    assert set(folds) == {0, 1, 2}
    assert all(labels[folds == f].any() and not labels[folds == f].all() for f in range(3))


def test_a_label_in_one_group_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="1 groups with it and 4 without"):
        deal_folds(np.arange(5) == 0, np.arange(5), n_folds=5, rng=rng)
    with pytest.raises(ValueError, match="at least 2 folds, got 1"):
        deal_folds(np.arange(6) < 3, np.arange(6), n_folds=1, rng=rng)


def test_dealt_labels_keep_what_must_not_change() -> None:
    labels, groups = example()
    rng = np.random.default_rng(2)
    folds = deal_folds(labels, groups, n_folds=5, rng=rng)
    dealt = deal_labels(labels, groups, folds, n_draws=50, rng=rng)
    assert dealt.shape == (len(labels), 50)
    assert (dealt != labels[:, None]).any()
    for name in range(40):
        mine, before = dealt[groups == name], labels[groups == name]
        if before.all() or not before.any():
            assert (mine == mine[0]).all(), "a group of one label exchanges it as a whole"
        else:
            assert (mine.sum(axis=0) == before.sum()).all(), "a mixed group keeps its numbers"
    for fold in range(5):
        of_one = [g for g in range(30) if (folds[groups == g] == fold).all()]
        with_it = sum(dealt[groups == g][0] for g in of_one)
        assert (with_it == sum(g < 15 for g in of_one)).all()


def test_every_group_is_as_likely_to_get_the_label() -> None:
    labels, groups = np.arange(24) < 12, np.arange(24)
    rng = np.random.default_rng(3)
    folds = deal_folds(labels, groups, n_folds=3, rng=rng)
    share = deal_labels(labels, groups, folds, n_draws=4000, rng=rng).mean(axis=1)
    assert abs(share - 0.5).max() < 4 * 0.5 / np.sqrt(4000)


def test_auroc_counts_pairs_of_one_fold() -> None:
    rng = np.random.default_rng(4)
    scores, labels = rng.normal(size=(40, 3)).round(1), rng.random((40, 3)) < 0.5
    folds = np.arange(40) % 4
    expected = []
    for at in range(3):
        sides = [
            (scores[here & labels[:, at], at], scores[here & ~labels[:, at], at])
            for here in (folds == fold for fold in range(4))
        ]
        pairs = [len(above) * len(below) for above, below in sides]
        expected.append(np.average([auroc(*each) for each in sides], weights=pairs))
    np.testing.assert_allclose(fold_auroc(scores, labels, folds), expected)
    moved = scores + 100.0 * folds[:, None]
    np.testing.assert_allclose(fold_auroc(moved, labels, folds), expected)
    with pytest.raises(ValueError, match="scores, got 1 NaN"):
        fold_auroc(np.where(np.arange(120).reshape(40, 3) == 7, np.nan, scores), labels, folds)


def test_estimates_are_those_of_the_plain_measures() -> None:
    rng = np.random.default_rng(5)
    labels, groups = example()
    scores = rng.normal(size=(len(labels), 2)) + labels[:, None]
    folds = deal_folds(labels, groups, n_folds=5, rng=rng)
    found = held_out_intervals(scores, scores + 1e4, labels, groups, folds, rng=rng)
    expected = fold_auroc(scores, np.column_stack([labels, labels]), folds)
    for at, each in enumerate(found):
        assert each.auroc.estimate == pytest.approx(expected[at])
        plain = d_prime(scores[labels, at], scores[~labels, at])
        assert each.d_prime.estimate == pytest.approx(plain, abs=1e-6)
        assert each.auroc.low < each.auroc.estimate < each.auroc.high
        assert each.d_prime.low < each.d_prime.estimate < each.d_prime.high


def test_separated_halves_still_have_an_interval() -> None:
    labels = np.arange(30) < 15
    rng = np.random.default_rng(6)
    folds = deal_folds(labels, np.arange(30), n_folds=5, rng=rng)
    scores = np.where(labels, 1.0, 0.0)[:, None]
    (found,) = held_out_intervals(scores, scores, labels, np.arange(30), folds, rng=rng)
    assert found.auroc.estimate == found.auroc.high == 1.0
    assert 0.7 < found.auroc.low < 0.95
    assert np.isnan(found.d_prime.estimate)


@pytest.mark.parametrize("size", [1, 3])
def test_intervals_hold_their_level_by_group(size: int) -> None:
    """Two normal distributions 1 apart: AUROC is Phi(1 / sqrt 2) and d' is 1, groups or not."""
    rng = np.random.default_rng(7)
    n, runs, inside = 60, 200, np.zeros(2)
    groups = np.repeat(np.arange(n), size)
    labels = groups < n // 2
    folds = groups % 5
    for _ in range(runs):
        scores = (rng.normal(size=n)[groups] + labels)[:, None]
        (found,) = held_out_intervals(
            scores, scores, labels, groups, folds, rng=rng, n_resamples=300
        )
        truth = stats.norm.cdf(1 / np.sqrt(2)), 1.0
        inside += [
            each.low <= value <= each.high
            for each, value in zip((found.auroc, found.d_prime), truth, strict=True)
        ]
    # .05 is what chance leaves of the level in that many runs, and .99 is no interval of 95 %.
    assert ((inside / runs > 0.90) & (inside / runs < 0.99)).all(), inside / runs
