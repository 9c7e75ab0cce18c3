"""Does a distance between two samples differ between two models that scored the same items?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from lens_personas.statistics._checks import require_finite, require_same_length
from lens_personas.statistics._sample_metrics import (
    METRIC_FUNCTIONS,
    Support,
    TwoSampleMetric,
    Weighted,
    support_of,
)

_BLOCK = 256


@dataclass(frozen=True, kw_only=True)
class SwappedSides:
    """One distance between two samples in two models, with the test of its change."""

    metric: TwoSampleMetric
    """How the samples are compared."""
    before: float
    """The distance in the first model; NaN without two samples."""
    after: float
    """The distance in the second."""
    p: float
    """Two-sided p of the change, by exchanging the models of items; 1 where it is undefined."""


def swap_sides(
    before: Float[np.ndarray, " before"],
    after: Float[np.ndarray, " after"],
    first: Bool[np.ndarray, " first"],
    clusters: Shaped[np.ndarray, " label"],
    *,
    rng: np.random.Generator,
    metrics: Sequence[TwoSampleMetric] = ("auroc", "d_prime", "wasserstein"),
    n_permutations: int = 2000,
) -> tuple[SwappedSides, ...]:
    """How far the sample ``first`` lies from the rest, in two models, and whether that changed.

    Where it makes no difference which model scored an item, its two scores may be exchanged.
    They are, for whole clusters at once, and the change of the distance is taken anew: its
    share that is at least as large as the observed one, the observed one counted, is p. The null
    is of whole distributions, so scores of another scale can be found even where a scale-free
    distance did not change.

    Args:
        before: Score of each item in the first model.
        after: Score of each item in the second.
        first: Whether the item belongs to the first sample.
        clusters: What is exchanged as one, by number or text.
        rng: Source of every draw.
        metrics: How the samples are compared.
        n_permutations: Exchanges that are drawn.

    Raises:
        ValueError: If there is not one entry an item in each, or a score is not finite.
    """
    require_same_length(before=before, after=after, first=first, clusters=clusters)
    require_finite("before", before)
    require_finite("after", after)
    nan = float("nan")
    if not first.any() or first.all():
        return tuple(SwappedSides(metric=m, before=nan, after=nan, p=1.0) for m in metrics)
    swap = _Swaps(before, after, first, kernel="mmd" in metrics)
    names, index = np.unique(clusters, return_inverse=True)
    found: dict[TwoSampleMetric, tuple[float, float]] = {}
    reached = dict.fromkeys(metrics, 1)
    for draw, exchanged in enumerate(_exchanges(len(names), n_permutations, rng)):
        one, other = swap.sides(exchanged[:, index])
        for metric in metrics:
            here, there = METRIC_FUNCTIONS[metric](one), METRIC_FUNCTIONS[metric](other)
            if not draw:
                found[metric] = float(here[0]), float(there[0])
                continue
            # An exchange that only rounds differently from the observed one must count as equal.
            change = abs(found[metric][1] - found[metric][0]) * (1.0 - 1e-9) - 1e-12
            reached[metric] += int((np.abs(there - here) >= change).sum())
    return tuple(_found(m, *found[m], reached[m] / (n_permutations + 1)) for m in metrics)


class _Swaps:
    """Weights of both samples in both models, however items are exchanged."""

    def __init__(
        self,
        before: Float[np.ndarray, " item"],
        after: Float[np.ndarray, " item"],
        first: Bool[np.ndarray, " item"],
        *,
        kernel: bool,
    ) -> None:
        self._support = support_of(before, after, kernel=kernel)
        self._samples = [np.flatnonzero(chosen) for chosen in (first, ~first)]
        self._n = len(before)

    def sides(self, exchanged: Bool[np.ndarray, "draw item"]) -> tuple[Weighted, Weighted]:
        """Both models after an exchange."""
        weights = exchanged.astype(np.float64)
        one, other = (
            np.concatenate([1 - weights, weights], 1),
            np.concatenate([weights, 1 - weights], 1),
        )
        return self._weighted(one), self._weighted(other)

    def _weighted(self, taken: Float[np.ndarray, "draw score"]) -> Weighted:
        parts = []
        for rows in self._samples:
            both = np.concatenate([rows, rows + self._n])
            parts.append(_gathered(self._support, both, taken[:, both]) / len(rows))
        sizes = [len(rows) for rows in self._samples]
        first, second = (n / (n - 1) if n > 1 else 1.0 for n in sizes)
        return Weighted(
            support=self._support, first=parts[0], second=parts[1], unbiased=(first, second)
        )


def _gathered(
    support: Support, scores: Int[np.ndarray, " chosen"], weights: Float[np.ndarray, "draw chosen"]
) -> Float[np.ndarray, "draw value"]:
    """Weights summed by the value that each score has."""
    place = support.place[scores]
    order = np.argsort(place, kind="stable")
    values, starts = np.unique(place[order], return_index=True)
    out = np.zeros((len(weights), len(support.values)))
    out[:, values] = np.add.reduceat(weights[:, order], starts, axis=1)
    return out


def _exchanges(
    n_clusters: int, n_draws: int, rng: np.random.Generator
) -> Iterator[Bool[np.ndarray, "draw cluster"]]:
    """Nothing exchanged, then what is drawn, a block at a time."""
    yield np.zeros((1, n_clusters), dtype=bool)
    for start in range(0, n_draws, _BLOCK):
        size = (min(_BLOCK, n_draws - start), n_clusters)
        yield rng.integers(0, 2, size=size).astype(bool)


def _found(metric: TwoSampleMetric, before: float, after: float, p: float) -> SwappedSides:
    defined = np.isfinite(before) and np.isfinite(after)
    return SwappedSides(metric=metric, before=before, after=after, p=p if defined else 1.0)
