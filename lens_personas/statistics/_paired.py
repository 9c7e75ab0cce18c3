"""Tests of a change within prompts: exact McNemar, sign flips, signed ranks."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from lens_personas.statistics._checks import require_finite, require_same_length
from lens_personas.statistics._max_statistic import max_statistic


@dataclass(frozen=True, kw_only=True)
class PairedBinary:
    """Change of a yes/no outcome within prompts, with its exact McNemar test."""

    n: int
    """Number of prompts."""
    gained: int
    """Prompts that went from no to yes."""
    lost: int
    """Prompts that went from yes to no."""
    p: float
    """Two-sided p; 1 where nothing changed."""

    @property
    def net(self) -> int:
        """Prompts gained less prompts lost."""
        return self.gained - self.lost


@dataclass(frozen=True, kw_only=True)
class SignedRank:
    """Wilcoxon's signed-rank test of paired differences."""

    n: int
    """Number of pairs."""
    up: int
    """Pairs with a positive difference."""
    down: int
    """Pairs with a negative difference."""
    p: float
    """Two-sided p; 1 where nothing changed."""


def mcnemar_exact(
    before: Bool[np.ndarray, " before"], after: Bool[np.ndarray, " after"]
) -> PairedBinary:
    """Change from ``before`` to ``after`` with the exact McNemar test.

    Binomial test of the prompts that changed; see ``scipy.stats.binomtest``.

    Raises:
        ValueError: If the two differ in length.
    """
    require_same_length(before=before, after=after)
    gained = int((after & ~before).sum())
    lost = int((before & ~after).sum())
    changed = gained + lost
    p = float(stats.binomtest(gained, changed, 0.5).pvalue) if changed else 1.0
    return PairedBinary(n=len(before), gained=gained, lost=lost, p=p)


def sign_flip(
    differences: Float[np.ndarray, " prompt"],
    *,
    rng: np.random.Generator,
    n_permutations: int = 10_000,
) -> float:
    """Two-sided p of the mean difference, by flipping signs of prompts.

    :func:`max_statistic` of one cell: exact where all ``2**n`` flips are no more than
    ``n_permutations``; else drawn, with the observed one counted, so that p is never 0.

    Raises:
        ValueError: If a difference is not finite.
    """
    return float(max_statistic(differences[:, None], rng=rng, n_permutations=n_permutations)[0])


def wilcoxon(differences: Float[np.ndarray, " pair"]) -> SignedRank:
    """Signed-rank test that the differences are symmetric about 0; zeros are left out.

    See ``scipy.stats.wilcoxon``: exact for up to 50 pairs without ties.

    Raises:
        ValueError: If a difference is not finite.
    """
    require_finite("differences", differences)
    moved = differences[differences != 0]
    p = float(stats.wilcoxon(moved).pvalue) if len(moved) else 1.0
    up = int((moved > 0).sum())
    return SignedRank(n=len(differences), up=up, down=len(moved) - up, p=p)
