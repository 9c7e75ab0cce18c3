"""What choosing a layer on other requests costs, and what choosing on the test ones would add."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from analyses._layer_gaps import Gaps, arm_gaps
from analyses.layer_test import LayerChoices
from analyses.scores import ScoreTable
from lens_personas.statistics import paired_bootstrap, unpaired_bootstrap

_RESELECTED = 500


def layer_choices(
    scores: pd.DataFrame, *, control: str, rng: np.random.Generator
) -> LayerChoices | None:
    """Optimism, flattery and stability of every chosen layer; None without scores.

    Args:
        scores: One row for each arm and request, columns :data:`analyses.scores.SCORE_COLUMNS`.
        control: Name of the control persona.
        rng: Source of every draw.

    Raises:
        ValueError: As :meth:`analyses.scores.ScoreTable.of`.
    """
    gaps = arm_gaps(ScoreTable.of(scores[scores["harmful"]], control=control))
    if not gaps:
        return None
    ahead, here = _signed(gaps)
    return LayerChoices(
        n=len(ahead),
        by_arm=pd.DataFrame([_choice(each, rng) for each in gaps]),
        optimism=unpaired_bootstrap(ahead, here, rng=rng),
        naive_gain=paired_bootstrap(np.mean([_naive(g)[1] for g in gaps], axis=0), rng=rng),
    )


def _sign(each: Gaps) -> float:
    return -1.0 if each.choice.gap < 0 else 1.0


def _signed(
    gaps: Sequence[Gaps],
) -> tuple[Float[np.ndarray, " chooser"], Float[np.ndarray, " prompt"]]:
    """Differences at the chosen layers by request, mean over arms: layer split and test."""
    ahead = [_sign(g) * g.choosing[:, g.candidates.index(g.choice.layer)] for g in gaps]
    here = [_sign(g) * g.test[:, g.layers.index(g.choice.layer)] for g in gaps]
    return np.mean(ahead, axis=0), np.mean(here, axis=0)


def _naive(each: Gaps) -> tuple[int, Float[np.ndarray, " prompt"]]:
    """The layer that is best on the test requests, and what it adds there, by request."""
    columns = [each.layers.index(layer) for layer in each.candidates]
    means = each.test[:, columns].mean(axis=0)
    best = int(np.argmax(np.abs(means)))
    flattered = (-1.0 if means[best] < 0 else 1.0) * each.test[:, columns[best]]
    chosen = _sign(each) * each.test[:, each.layers.index(each.choice.layer)]
    return each.candidates[best], flattered - chosen


def _choice(each: Gaps, rng: np.random.Generator) -> dict[str, object]:
    ((ahead, here), (naive_layer, more)) = _signed([each]), _naive(each)
    optimism, gain = unpaired_bootstrap(ahead, here, rng=rng), paired_bootstrap(more, rng=rng)
    return {
        "persona": each.arm.persona,
        "group": each.arm.group,
        "treatment": each.arm.treatment,
        "layer": each.choice.layer,
        "selected": float(ahead.mean()),
        "tested": float(here.mean()),
        "optimism": optimism.estimate,
        "optimism_low": optimism.low,
        "optimism_high": optimism.high,
        "naive_layer": naive_layer,
        "naive_gain": gain.estimate,
        "naive_low": gain.low,
        "naive_high": gain.high,
        "stability": _stability(each, rng),
    }


def _stability(each: Gaps, rng: np.random.Generator) -> float:
    n = len(each.choosing)
    if n < 2:
        return float("nan")
    weights = rng.multinomial(n, np.full(n, 1.0 / n), size=_RESELECTED) / n
    chosen = np.abs(weights @ each.choosing).argmax(axis=1)
    return float((chosen == each.candidates.index(each.choice.layer)).mean())
