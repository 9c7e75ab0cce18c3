"""The tests that reviewers of a published table of 23 behaviours asked for.

Columns: beta base, beta chat, W1 base, W1 chat, from "How does RLHF shift behaviour
distributions?" (https://openreview.net/forum?id=Hbbus5IOYt).
"""

import numpy as np
import pytest

from lens_personas.statistics import correlation, wilcoxon

TABLE = np.array(
    [
        [0.5292, 0.3964, 0.1742, 0.4183],
        [1.0594, 1.3919, 0.1103, 0.0543],
        [0.4190, 1.0441, 0.6665, 1.0349],
        [0.4541, 0.6998, 0.2226, 0.3919],
        [0.3914, 0.3771, 0.5062, 1.7148],
        [0.6410, 0.6357, 0.2096, 0.1584],
        [0.6756, 0.6888, 0.4360, 0.1363],
        [0.7271, 0.6342, 0.5232, 0.2975],
        [0.5577, 0.6874, 0.3894, 0.2100],
        [0.5749, 0.3715, 0.3445, 0.5658],
        [0.6637, 0.5727, 0.1203, 0.5153],
        [0.7347, 0.7353, 0.5054, 0.6157],
        [0.4113, 0.1143, 0.1346, 0.2231],
        [0.4452, -0.0672, 0.5939, 1.0672],
        [0.6662, 0.2659, 0.7024, 1.5280],
        [0.7584, 0.5925, 0.1135, 0.2123],
        [0.5877, 0.6573, 0.1164, 0.0889],
        [0.4259, 0.3912, 1.0927, 1.3547],
        [0.4231, 0.1339, 0.3193, 1.0901],
        [1.4864, 2.1577, 0.3033, 0.3433],
        [0.5137, 0.4112, 0.1146, 0.1142],
        [0.3680, 0.4576, 0.6905, 1.2092],
        [0.7072, 0.4474, 0.1925, 0.0761],
    ]
)
BETA_BASE, BETA_CHAT, W1_BASE, W1_CHAT = TABLE.T


def test_beta_does_not_shift():
    assert (BETA_BASE.mean(), BETA_CHAT.mean()) == pytest.approx((0.618, 0.600), abs=5e-4)
    assert wilcoxon(BETA_CHAT - BETA_BASE).p == pytest.approx(0.36, abs=0.005)


def test_the_distance_shifts_up():
    assert (W1_BASE.mean(), W1_CHAT.mean()) == pytest.approx((0.373, 0.584), abs=1e-3)
    result = wilcoxon(W1_CHAT - W1_BASE)
    assert (result.n, result.up, result.down) == (23, 15, 8)
    assert result.p == pytest.approx(0.018, abs=5e-4)


def test_the_two_measures_are_negatively_rank_correlated(rng):
    result = correlation(BETA_CHAT, W1_CHAT, rng=rng, method="spearman", n_permutations=100_000)
    assert result.n == 23
    assert result.estimate == pytest.approx(-0.45, abs=0.005)
    assert result.p == pytest.approx(0.03, abs=0.006)
    assert result.low < result.estimate < result.high < 0.1
