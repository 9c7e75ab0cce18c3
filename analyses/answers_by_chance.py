"""What chance does to answers about the user: random directions, dealt vectors, intervals."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from analyses.answers_about_users import Asked, UserChanges, changes_of, corrected, place_mean
from lens_personas.statistics import Interval, paired_bootstrap, prediction_interval, wilson


def specificity_p(
    gap: Float[np.ndarray, "vector persona"],
    own: Sequence[int],
    *,
    rng: np.random.Generator,
    n_permutations: int = 10_000,
) -> float:
    """Two-sided p of the mean of ``gap[i, i]`` over ``own``, the vectors dealt anew as wholes.

    Each vector keeps all that it does, so what two questions share and what two vectors share
    stays as it is (Mantel, https://pubmed.ncbi.nlm.nih.gov/6018555/). The observed deal is
    counted; 1 without a second vector or where a change is not known.

    Args:
        gap: What each vector does to the questions on each persona.
        own: Personas that count.
        rng: Source of every draw.
        n_permutations: Deals that are drawn.
    """
    n = len(gap)
    if n < 2 or not own or not np.isfinite(gap[:, own]).all():
        return 1.0
    deals = rng.permuted(np.tile(np.arange(n), (n_permutations, 1)), axis=1)
    means = gap[deals[:, own], own].mean(axis=1)
    centre = gap[:, own].mean()
    # A deal that only rounds differently from the observed one must count as equal.
    reached = np.abs(means - centre) >= np.abs(gap[own, own].mean() - centre) * (1 - 1e-9)
    return float((1 + reached.sum()) / (1 + n_permutations))


def passes_signed(plus: Interval, minus: Interval) -> bool:
    """Whether one is raised and the other lowered; never where there is no interval."""
    return bool(plus.low > 0 and minus.high < 0)


def mean_change(
    values: Float[np.ndarray, " unit"], rng: np.random.Generator, *, n_resamples: int = 2000
) -> Interval:
    """Mean over the questions that were asked, resampled by question; NaN where none was."""
    return paired_bootstrap(values[np.isfinite(values)], rng=rng, n_resamples=n_resamples)


def share_passed(passed: Sequence[bool]) -> Interval:
    """Share that passes, Wilson interval; NaN of none."""
    return wilson(sum(passed), len(passed))


def by_nulls(found: UserChanges, treatment: str) -> Float[np.ndarray, " pair"]:
    """Corrected changes of the sided personas' questions by all nulls of that treatment."""
    cube = found.cube(treatment)
    means = place_mean(corrected(cube))[len(found.asked.names) :, found.asked.sided]
    return np.asarray(means[np.isfinite(means)])


def middle_range(values: Float[np.ndarray, " pair"]) -> tuple[float, float] | None:
    """Where 95 % of the values lie; None for fewer than two."""
    if len(values) < 2:
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def prediction_range(values: Float[np.ndarray, " null"]) -> tuple[float, float] | None:
    """Where one more null would fall, no narrower than what they did; None for fewer than two."""
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return None
    more = prediction_interval(known)
    ends = [*known, more.low, more.high]
    return float(np.nanmin(ends)), float(np.nanmax(ends))


def random_passes(found: UserChanges, rng: np.random.Generator) -> Interval:
    """Share of pairs of a random direction and a persona that pass as that persona's vector."""
    plus, minus = (corrected(found.cube(sign)) for sign in ("plus", "minus"))
    passed = [
        passes_signed(
            *(mean_change(cube[at, about], rng, n_resamples=500) for cube in (plus, minus))
        )
        for at in range(len(found.asked.names), len(plus))
        for about in found.asked.sided
    ]
    return share_passed(passed)


def changes_by_layer(answers: pd.DataFrame, asked: Asked, rng: np.random.Generator) -> pd.DataFrame:
    """Mean corrected change at every layer, of questions that were asked alone.

    Columns ``scope, layer, treatment, who, estimate, low, high``; see
    :class:`analyses.manipulation_check.ManipulationCheck`.
    """
    alone = changes_of(answers, context="alone")
    steered = alone[alone["treatment"].isin(["plus", "minus"])]
    rows = []
    for scope, layer in sorted(set(zip(steered["scope"], steered["layer"], strict=True))):
        at = UserChanges(changes=steered, asked=asked, layer=int(layer))
        for treatment in ("plus", "minus"):
            means = place_mean(corrected(at.cube(treatment, scope=scope)))
            n, control = len(asked.names), asked.names.index(asked.control)
            curves = {
                "personas": means[asked.sided, asked.sided],
                "control": means[[control], [control]],
                "random": means[n:, asked.sided].mean(axis=1),
            }
            for who, values in curves.items():
                mean = mean_change(values, rng, n_resamples=500)
                rows.append((scope, int(layer), treatment, who, mean.estimate, mean.low, mean.high))
    columns = ["scope", "layer", "treatment", "who", "estimate", "low", "high"]
    return pd.DataFrame(rows, columns=columns)
