"""The prompt steerability index against the Beta profiles that define it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from lens_personas.statistics import steerability_index

GRID = np.linspace(0.0, 1.0, 4001)


def profile(answers) -> stats.rv_continuous:
    """Beta distribution of the share of yes."""
    yes = float(np.sum(answers))
    return stats.beta(1.0 + yes, 1.0 + len(answers) - yes)


def w1(one, other) -> float:
    """Area between two distribution functions."""
    return float(integrate.trapezoid(np.abs(one.cdf(GRID) - other.cdf(GRID)), GRID))


def index(before, after, target, rng):
    return steerability_index(
        np.array(before, dtype=float),
        np.array(after, dtype=float),
        np.arange(len(before)),
        target=target,
        rng=rng,
    )


@settings(max_examples=30)
@given(
    answers=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=30),
    target=st.sampled_from(["up", "down"]),
)
def test_it_is_the_published_ratio_of_distances(answers, target):
    before, after = np.array(answers).T
    n = len(before)
    ends = {"up": profile(np.ones(n)), "down": profile(np.zeros(n))}
    moved = w1(profile(before), ends[target]) - w1(profile(after), ends[target])
    expected = moved / w1(ends["up"], ends["down"])
    found = index(before, after, target, np.random.default_rng(0))
    assert found.estimate == pytest.approx(expected, abs=1e-4)


def test_all_the_way_is_one_and_the_wrong_way_is_below_zero(rng):
    assert index([0, 0, 0], [1, 1, 1], "up", rng).estimate == 1.0
    assert index([0, 0, 0], [1, 1, 1], "down", rng).estimate == -1.0
    assert index([0, 1, 0.5], [0, 1, 0.5], "up", rng).estimate == 0.0


def test_its_interval_holds_the_planted_change(rng):
    hits = []
    for _ in range(150):
        before = rng.random(40) * 0.4
        found = index(before, before + rng.uniform(0.0, 0.4, 40), "up", rng)
        hits.append(not found.excludes(0.2))
    assert np.mean(hits) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 150)


def test_bad_answers_are_refused(rng):
    with pytest.raises(ValueError, match="got lengths"):
        index([0.0], [1.0, 0.0], "up", rng)
    with pytest.raises(ValueError, match=r"expected answers in \[0, 1\], got -3.0 to 1.0"):
        index([-3.0], [1.0], "up", rng)
