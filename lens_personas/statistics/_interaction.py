"""Does a paired difference hang on the category? A test that noisier categories do not mislead."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped

from lens_personas.statistics._checks import require_finite, require_same_length

_BLOCK = 256


def between_share(
    differences: Float[np.ndarray, "prompt cell"], categories: Shaped[np.ndarray, " prompt"]
) -> Float[np.ndarray, " cell"]:
    """Share of each cell's variance over prompts that lies between categories, 0 to 1.

    Eta squared; 0 where a cell does not vary.

    Raises:
        ValueError: If there is not one category a prompt, or a difference is not finite.
    """
    require_same_length(differences=differences, categories=categories)
    require_finite("differences", differences)
    if not len(categories):
        return np.zeros(differences.shape[1])
    return np.asarray(_shares(_membership(categories)[None], differences)[0])


def interaction_p(
    differences: Float[np.ndarray, "prompt cell"],
    categories: Shaped[np.ndarray, " prompt"],
    families: Sequence[Shaped[np.ndarray, " cell"]],
    *,
    rng: np.random.Generator,
    n_draws: int = 5000,
) -> Float[np.ndarray, "family cell"]:
    """P that no cell's mean difference varies over categories, corrected within families of cells.

    Signs of whole prompts are flipped, so that each keeps the size of its differences: to deal
    the categories out anew would find something wherever a small category is noisier than the
    rest. Two nulls are drawn, and the larger p counts. The differences themselves are flipped:
    exact where each is as likely as its negative. And what is left of them after a mean over
    categories, each weighted by its certainty: close where all categories have one mean that is
    not 0 (a wild bootstrap). The statistic is `between_share`, the largest of a family.

    Args:
        differences: A column for each cell, such as a persona and treatment.
        categories: Category of each prompt.
        families: For each correction that is wanted, the family of each cell.
        rng: Source of every draw.
        n_draws: Flips that are drawn; the observed one is counted too.

    Returns:
        One row a correction; 1 everywhere with fewer than two categories.

    Raises:
        ValueError: If there is not one category a prompt, or a difference is not finite.
    """
    require_same_length(differences=differences, categories=categories)
    require_finite("differences", differences)
    numbered = [np.unique(family, return_inverse=True)[1] for family in families]
    if len(set(categories)) < 2 or not differences.shape[1]:
        return np.ones((len(families), differences.shape[1]))
    member = _membership(categories)
    # A flip that only rounds differently from the observed one must count as equal.
    observed = _shares(member[None], differences)[0] * (1.0 - 1e-9)
    nulls = (differences, differences - _certain_mean(differences, member))
    reached = np.ones((len(nulls), len(families), len(observed)))
    for start in range(0, n_draws, _BLOCK):
        size = (min(_BLOCK, n_draws - start), 1, len(differences))
        flipped = member * (1.0 - 2.0 * rng.integers(0, 2, size=size))
        for null, values in enumerate(nulls):
            shares = _shares(flipped, values)
            for at, family in enumerate(numbered):
                largest = np.stack(
                    [shares[:, family == f].max(axis=1) for f in range(family.max() + 1)], axis=1
                )
                reached[null, at] += (largest[:, family] >= observed).sum(axis=0)
    return np.asarray(reached.max(axis=0) / (n_draws + 1.0))


def _membership(
    categories: Shaped[np.ndarray, " prompt"],
) -> Float[np.ndarray, "category prompt"]:
    return np.stack([categories == name for name in dict.fromkeys(categories)]).astype(np.float64)


def _shares(
    flipped: Float[np.ndarray, "draw category prompt"], values: Float[np.ndarray, "prompt cell"]
) -> Float[np.ndarray, "draw cell"]:
    """Share between categories, the values' signs flipped as those of the membership are."""
    sums = flipped @ values
    sizes = np.abs(flipped[0]).sum(axis=1)[:, None]
    squares = (values**2).sum(axis=0)
    whole = sums.sum(axis=1) ** 2 / len(values)
    between = (sums**2 / sizes).sum(axis=1) - whole
    total = np.broadcast_to(squares - whole, between.shape)
    varies = total > 1e-12 * squares
    return np.where(varies, between / np.where(varies, total, 1.0), 0.0)


def _certain_mean(
    values: Float[np.ndarray, "prompt cell"], member: Float[np.ndarray, "category prompt"]
) -> Float[np.ndarray, " cell"]:
    """Mean over categories, each weighted by one over the variance of its mean."""
    sizes = member.sum(axis=1)[:, None]
    means = member @ values / sizes
    spread = np.maximum(member @ values**2 - sizes * means**2, 0.0) / np.maximum(sizes - 1.0, 1.0)
    # A category of equal values would else count alone.
    weights = sizes / np.maximum(spread, 1e-3 * spread.mean(axis=0) + 1e-12)
    return np.asarray((weights * means).sum(axis=0) / weights.sum(axis=0))
