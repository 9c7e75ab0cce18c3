"""The search over made-up measurements, whose best candidate is known."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from lens_personas.interventions import DirectionRule, Racing, select_place
from lens_personas.interventions._direction_race import Measures, Race

N_PROMPTS, N_CANDIDATES = 32, 60
EVERY_LAYER = DirectionRule(layer_share=1.0)


@dataclass
class Made:
    """Scores of candidates on prompts that differ in difficulty, and what was asked of them."""

    bypass: np.ndarray
    induce: np.ndarray
    kl: np.ndarray
    base: np.ndarray
    asked: dict = field(default_factory=lambda: {"bypass": 0, "induce": 0, "kl": 0})

    def measures(self):
        def ask(name):
            def measure(pairs):
                self.asked[name] += len(pairs)
                return np.array([getattr(self, name)[pair] for pair in pairs])

            return measure

        return Measures(
            bypass=ask("bypass"),
            induce=ask("induce"),
            kl=ask("kl"),
            base=self.base,
            n_harmful=N_PROMPTS,
            n_candidates=len(self.bypass),
        )

    def best(self, rule=EVERY_LAYER):
        """What measuring everything chooses."""
        means = [table.mean(axis=1)[None] for table in (self.bypass, self.induce, self.kl)]
        place = select_place(*means, rule=rule)
        return None if place is None else place[1]


def made(seed, *, spread=1.0, heavy=False):
    """A few candidates that work, some that nearly do, many that do nothing."""
    rng = np.random.default_rng(seed)
    strength = np.sort(rng.beta(0.4, 1.2, N_CANDIDATES))[::-1]
    rng.shuffle(strength)
    difficulty = rng.normal(scale=4.0, size=(2, N_PROMPTS))
    shape = (N_CANDIDATES, N_PROMPTS)
    noise = rng.standard_t(4, size=(2, *shape)) if heavy else rng.normal(size=(2, *shape))
    base = -12.0 + difficulty[1]
    shift = strength[:, None] + rng.normal(scale=0.1, size=(N_CANDIDATES, 1))
    return Made(
        bypass=6.0 - 16.0 * strength[:, None] + difficulty[0] + spread * noise[0],
        induce=base + 18.0 * shift + spread * noise[1],
        kl=rng.exponential(scale=0.15 * rng.random((N_CANDIDATES, 1)), size=shape),
        base=base,
    )


def found(scores, racing=None, rule=EVERY_LAYER):
    return Race(scores.measures(), rule, racing).winner(range(len(scores.bypass)))


@pytest.mark.parametrize("seed", range(30))
def test_the_exact_search_chooses_as_measuring_everything_does_and_asks_for_less(seed):
    scores = made(seed)
    assert found(scores) == scores.best()
    assert sum(scores.asked.values()) < 0.7 * 3 * N_CANDIDATES * N_PROMPTS


@pytest.mark.parametrize("heavy", [False, True])
def test_racing_chooses_the_same_and_asks_for_far_less(heavy):
    wrong, asked = 0, 0
    for seed in range(200):
        scores = made(1000 + seed, heavy=heavy)
        wrong += found(scores, Racing(delta=0.05, seed=seed)) != scores.best()
        asked += sum(scores.asked.values())
    assert wrong <= 200 * 0.05
    assert asked < 0.25 * 200 * 3 * N_CANDIDATES * N_PROMPTS


def test_with_the_range_known_racing_needs_no_normal_scores():
    wrong = 0
    for seed in range(100):
        scores = made(seed)
        rng = np.random.default_rng(seed)
        scores.bypass += 20.0 * (rng.random(scores.bypass.shape) < 0.05)
        widest = max(
            float(np.ptp(scores.bypass[a] - scores.bypass[b]))
            for a in range(0, N_CANDIDATES, 7)
            for b in range(N_CANDIDATES)
        )
        racing = Racing(delta=0.05, difference_range=widest, seed=seed)
        wrong += found(scores, racing) != scores.best()
    assert wrong <= 5


def test_a_candidate_that_owes_its_place_to_one_prompt_is_lost_without_the_range():
    """What is said of the two bounds is so, and the race does drop."""
    scores = made(0)
    scores.bypass = np.random.default_rng(0).normal(scale=0.1, size=scores.bypass.shape)
    scores.bypass[7, 3] = -100.0
    scores.induce, scores.kl = np.ones_like(scores.induce), np.zeros_like(scores.kl)
    scores.bypass[9] -= 1.0
    assert scores.best() == 7
    chosen = [found(scores, Racing(seed=seed)) for seed in range(20)]
    assert chosen.count(9) > 10
    ranged = [found(scores, Racing(seed=s, difference_range=101.0)) for s in range(20)]
    assert ranged == [7] * 20


def test_where_none_passes_none_is_found():
    scores = made(0)
    scores.induce = scores.induce - 40.0
    assert scores.best() is None
    assert found(scores) is None
    assert scores.asked == {"bypass": 0, "induce": N_CANDIDATES * N_PROMPTS, "kl": 0}
    assert found(scores, Racing()) is None


def test_the_kl_of_one_that_fails_is_measured_until_that_is_sure():
    scores = made(0)
    scores.kl = np.full_like(scores.kl, 5.0)
    able = int((scores.induce.mean(axis=1) >= 0).sum())
    assert able > 1
    assert found(scores) is None
    assert scores.asked["kl"] == 8 * able


def test_a_candidate_whose_score_is_not_a_number_is_not_chosen():
    scores = made(0)
    best = scores.best()
    for name in ("bypass", "induce", "kl"):
        broken = made(0)
        getattr(broken, name)[best, 3] = np.nan
        assert broken.best() != best
        for racing in (None, Racing()):
            assert found(broken, racing) == broken.best()


def test_the_rounds_grow_to_all_prompts():
    assert Racing(first=6).sizes(32) == (6, 12, 24, 32)
    assert Racing(first=6).sizes(6) == (6,)
    assert Racing(first=6).sizes(3) == (3,)
    for wrong in ({"delta": 0.0}, {"first": 1}, {"growth": 1.0}):
        with pytest.raises(ValueError, match="expected 0 < delta < 1, first >= 2"):
            Racing(**wrong)
