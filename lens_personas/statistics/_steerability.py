"""How much of the way to where it should lead something moves answers."""

from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped

from lens_personas.statistics._checks import require_same_length
from lens_personas.statistics._intervals import Interval, cluster_bootstrap

SteeringTarget = Literal["up", "down"]
"""Whether all answers should become yes (1) or no (0)."""


def steerability_index(
    before: Float[np.ndarray, " before"],
    after: Float[np.ndarray, " after"],
    clusters: Shaped[np.ndarray, " label"],
    *,
    target: SteeringTarget,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Prompt steerability index: 1 is all the way, 0 no movement, below 0 the wrong way.

    Of Miehling et al. (https://arxiv.org/abs/2411.12405):
    ``[W1(before, target) - W1(after, target)] / W1(max+, max-)`` of Beta profiles. A profile of
    ``n`` answers of which ``k`` were yes is ``Beta(1 + k, 1 + n - k)``; ``max+`` and ``max-``
    are those of ``n`` and of no yes. Profiles of as many answers lie in order of ``k``, so each
    W1 is the difference of two means ``(1 + k) / (n + 2)``, and the index is just the change of
    the mean answer, whatever is added to the counts. So its interval is the change's, resampled
    by cluster.

    Args:
        before: Answer to each item without steering: 1, 0 or a probability.
        after: The same under steering.
        clusters: What items belong together.
        target: Where steering should lead.
        rng: Source of every draw.
        n_resamples: Resamples of clusters.
        level: Confidence level.

    Raises:
        ValueError: If lengths differ, a value is not finite or not in [0, 1], or ``level`` is
            not in (0, 1).
    """
    require_same_length(before=before, after=after, clusters=clusters)
    both = np.concatenate([before, after])
    if ((both < 0.0) | (both > 1.0)).any():
        raise ValueError(
            f"expected answers in [0, 1], got {both.min()} to {both.max()}; give probabilities, "
            "not log-odds"
        )
    change = after - before if target == "up" else before - after
    return cluster_bootstrap(change, clusters, rng=rng, n_resamples=n_resamples, level=level)
