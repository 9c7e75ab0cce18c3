"""Finding the best candidate with few measurements: cheap tests first, the hopeless dropped early.

Knows no model: a candidate and a prompt are numbers, a measurement is a function of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from lens_personas.interventions._direction_rule import DirectionRule
from lens_personas.statistics import finite_mean_margin

_KL_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class Racing:
    """How candidates are dropped before they have met every prompt.

    Prompts come in random order. After each round a candidate is dropped if its induce score is
    surely too low, or its bypass score surely worse than that of the leader, which has passed
    the other tests on all prompts. Both are bounds on differences prompt by prompt, from the
    score without intervention or from the leader's, so that how hard a prompt is cancels.

    The best candidate is lost only if one of its own bounds fails: one for its induce score and
    one for each other candidate that may lead, in each round. With a risk of ``delta`` divided
    by their number for each, the same candidate as by measuring everything is found with
    probability at least ``1 - delta`` (the union bound, as in the elimination of Maron and
    Moore, https://doi.org/10.1023/A:1006556606079). For the bounds themselves, and for what
    they suppose, see `lens_personas.statistics.finite_mean_margin`.

    Raises:
        ValueError: If a number is out of its range.
    """

    delta: float = 0.01
    """Largest probability to choose another candidate than the exact search, in (0, 1)."""
    first: int = 6
    """Prompts of each kind in the first round, at least 2."""
    growth: float = 2.0
    """How many times as many prompts each further round has, above 1."""
    difference_range: float | None = None
    """Largest less smallest difference, over the prompts, between the scores of two arms on one
    prompt, in nats, if it is known: the bounds then hold whatever the scores are. None takes
    Student's bound."""
    seed: int = 0
    """Seed of the prompts' order."""

    def __post_init__(self) -> None:
        if not 0.0 < self.delta < 1.0 or self.first < 2 or self.growth <= 1.0:
            raise ValueError(
                f"expected 0 < delta < 1, first >= 2 and growth > 1, got delta={self.delta}, "
                f"first={self.first} and growth={self.growth}"
            )

    def sizes(self, n_prompts: int) -> tuple[int, ...]:
        """Prompts in each round, the last one of all ``n_prompts``."""
        found, size = [], float(self.first)
        while size < n_prompts:
            found.append(int(size))
            size *= self.growth
        return (*found, n_prompts)


class Pair(NamedTuple):
    """One measurement."""

    candidate: int
    """Number of the candidate."""
    prompt: int
    """Number of the prompt among those of its kind."""


Measure = Callable[[Sequence[Pair]], Float[np.ndarray, " pair"]]
"""One score a pair."""


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What can be measured of the candidates."""

    bypass: Measure
    """Score of a harmful prompt with the candidate ablated."""
    induce: Measure
    """Score of a harmless prompt with the candidate added."""
    kl: Measure
    """What the ablation costs on a harmless prompt, 0 or more."""
    base: Float[np.ndarray, " harmless"]
    """Score of each harmless prompt without intervention."""
    n_harmful: int
    """Number of harmful prompts."""
    n_candidates: int
    """Number of candidates."""


class Known:
    """Scores of one kind, measured as they are needed, in the order of the prompts drawn."""

    def __init__(
        self, measure: Measure, n_candidates: int, order: Int[np.ndarray, " prompt"]
    ) -> None:
        self._measure, self._order = measure, order
        self.values = np.full((n_candidates, len(order)), np.nan)
        self.known: Bool[np.ndarray, "candidate prompt"] = np.zeros(self.values.shape, dtype=bool)

    @property
    def n_prompts(self) -> int:
        """Number of prompts."""
        return len(self._order)

    def fill(self, candidates: Sequence[int], n: int) -> None:
        """Measure these candidates on the first ``n`` prompts."""
        columns = self._order[:n]
        pairs = [Pair(c, int(p)) for c in candidates for p in columns if not self.known[c, p]]
        if pairs:
            rows, at = np.array(pairs).T
            self.values[rows, at], self.known[rows, at] = self._measure(pairs), True

    def drawn(self, candidates: Sequence[int], n: int) -> Float[np.ndarray, "candidate drawn"]:
        """The scores of these candidates on the first ``n`` prompts."""
        self.fill(candidates, n)
        rows = np.array(candidates, dtype=int)
        return np.asarray(self.values[rows[:, None], self._order[:n]])

    def mean(self, candidate: int) -> float:
        """Mean over all prompts."""
        return float(self.drawn([candidate], self.n_prompts).mean())

    def means(self) -> Float[np.ndarray, " candidate"]:
        """Mean of each candidate over what was measured of it; NaN where nothing was."""
        total = np.where(self.known, self.values, 0.0).sum(axis=1)
        counts = self.counts()
        return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)

    def counts(self) -> Int[np.ndarray, " candidate"]:
        """Number of prompts on which each candidate was measured."""
        return np.asarray(self.known.sum(axis=1))

    def first_of(self, n: int, values: Float[np.ndarray, " prompt"]) -> Float[np.ndarray, " drawn"]:
        """Entries of ``values`` for the first ``n`` prompts."""
        return np.asarray(values[self._order[:n]])


class Race:
    """One search over measures; ``winner`` runs it, the scores stay to be read."""

    def __init__(self, measures: Measures, rule: DirectionRule, racing: Racing | None) -> None:
        n = measures.n_candidates
        harmful, harmless = np.arange(measures.n_harmful), np.arange(len(measures.base))
        if racing is not None:
            rng = np.random.default_rng(racing.seed)
            harmful, harmless = rng.permutation(harmful), rng.permutation(harmless)
        self.bypass = Known(measures.bypass, n, harmful)
        self.induce = Known(measures.induce, n, harmless)
        self.kl = Known(measures.kl, n, harmless)
        self._base, self._rule, self._racing = measures.base, rule, racing
        self._passed: dict[int, bool] = {}

    def winner(self, candidates: Sequence[int]) -> int | None:
        """The candidate of the lowest bypass score among those that pass; None if none does."""
        most = max(self.bypass.n_prompts, self.induce.n_prompts)
        sizes = (most,) if self._racing is None else self._racing.sizes(most)
        risk = 0.5
        if self._racing is not None:
            # The last round has no risk: its margins are 0.
            risk = self._racing.delta / max(1, len(candidates) * (len(sizes) - 1))
        alive, leader = list(candidates), None
        for size in sizes:
            alive = self._may_induce(alive, min(size, self.induce.n_prompts), risk)
            n = min(size, self.bypass.n_prompts)
            leader, alive = self._leader(alive, n)
            if leader is None:
                return None
            alive = self._may_win(alive, leader, n, risk)
            if alive == [leader]:
                break
        return leader

    def _may_induce(self, candidates: list[int], n: int, risk: float) -> list[int]:
        if not candidates:
            return []
        moved = self.induce.drawn(candidates, n) - self.induce.first_of(n, self._base)
        sound = np.isfinite(moved).all(axis=1)
        candidates, moved = [c for c, ok in zip(candidates, sound, strict=True) if ok], moved[sound]
        high = self._base.mean() + moved.mean(axis=1) + self._margin(self.induce, moved, risk)
        return [c for c, h in zip(candidates, high, strict=True) if h >= self._rule.min_induce]

    def _leader(self, candidates: list[int], n: int) -> tuple[int | None, list[int]]:
        """The best so far that passes, and those left once better ones that do not are gone."""
        means = self.bypass.drawn(candidates, n).mean(axis=1) if candidates else []
        scored = {c: m for c, m in zip(candidates, means, strict=True) if not np.isnan(m)}
        for candidate in sorted(scored, key=lambda c: (scored[c], c)):
            if self._passes(candidate):
                return candidate, list(scored)
            del scored[candidate]
        return None, []

    def _may_win(self, candidates: list[int], leader: int, n: int, risk: float) -> list[int]:
        behind = self.bypass.drawn(candidates, n) - self.bypass.drawn([leader], n)
        low = behind.mean(axis=1) - self._margin(self.bypass, behind, risk)
        return [c for c, worse in zip(candidates, low, strict=True) if c == leader or worse <= 0]

    def _passes(self, candidate: int) -> bool:
        """Whether it passes on all prompts."""
        if candidate not in self._passed:
            enough = self.induce.mean(candidate) >= self._rule.min_induce
            self._passed[candidate] = enough and self._low_kl(candidate)
        return self._passed[candidate]

    def _low_kl(self, candidate: int) -> bool:
        total = self.kl.n_prompts
        for n in [*range(_KL_AT_ONCE, total, _KL_AT_ONCE), total]:
            # No term is negative: a sum that is too large stays so.
            if not self.kl.drawn([candidate], n).sum() <= self._rule.max_kl * total:
                return False
        return True

    def _margin(
        self, of: Known, values: Float[np.ndarray, "candidate drawn"], risk: float
    ) -> Float[np.ndarray, " candidate"]:
        known = None if self._racing is None else self._racing.difference_range
        return finite_mean_margin(values, population=of.n_prompts, risk=risk, value_range=known)
