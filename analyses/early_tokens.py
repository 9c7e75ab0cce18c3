"""Does the token that an early layer gives open an answer, where chance tokens do not?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Shaped

from lens_personas.statistics import Interval, cluster_bootstrap, max_statistic, wilson

EarlySource = Literal["plain", "early", "shuffled", "opener", "random", "sampled", "exit"]
"""Where an answer comes from: ``plain`` greedily; its first token read off an ``early`` layer, off
that layer on another request (``shuffled``), or from an answer to a harmless request (``opener``);
a ``random`` vector added at that layer; ``sampled`` at temperature 1; or every token of it read off
that layer (``exit``)."""

EARLY_COLUMNS = ("prompt_id", "source", "layer", "token", "label", "exact")
"""Columns of judged answers to requests alone, one row for each request, source and layer (-1 for
``plain``; a sampled answer bears the layer whose try it matches). ``token`` is the forced first
token, empty without; ``exact`` is 1 where the answer begins as the known one, else 0, NaN where
none is known."""

EarlyOutcome = Literal["answered", "exact"]
"""The judge says it is an answer; or it begins as the known answer, which needs no judge."""

NULLS: Final[tuple[EarlySource, ...]] = ("shuffled", "opener", "random", "sampled")
"""What an early token is held against, with as many tries."""

_OUTCOMES: Final[tuple[EarlyOutcome, ...]] = ("answered", "exact")
_DRAWS = 100_000


@dataclass(frozen=True, kw_only=True)
class EarlyTest:
    """Whether a layer's own token does what another request's token from there does not."""

    outcome: EarlyOutcome
    """What counts."""
    n: int
    """Requests."""
    n_clusters: int
    """Independent units among them: requests with one known answer are one unit."""
    layer: int
    """Layer with the greatest difference."""
    own: Interval
    """Share by the request's own token of that layer, Wilson interval."""
    other: Interval
    """Share by another request's token of the same layer, Wilson interval."""
    difference: Interval
    """Own less other there; bootstrap interval, resampled by unit; not corrected for the choice."""
    p: float
    """Sign-flip p by unit, corrected over all layers by the maximum."""
    beyond_nulls: bool
    """Whether the own share there is above that of every null of that layer."""
    union_own: Interval
    """Share answered greedily or by the own token of any layer."""
    union_other: Interval
    """The same with tokens of other requests, as many."""
    union_difference: Interval
    """Own union less the other; bootstrap interval, resampled by unit."""
    union_p: float
    """Sign-flip p of the unions, by unit."""
    union_beyond_nulls: bool
    """Whether the own union is above that of every null with as many tries."""


@dataclass(frozen=True, kw_only=True)
class EarlyTokens:
    """Answers to requests alone that an early layer opens, or writes, with their nulls."""

    n: int
    """Harmful test requests."""
    n_clusters: int
    """Independent units among them: requests with one known answer are one unit."""
    tries: tuple[int, ...]
    """Layers that count in a union, the model's last one not among them."""
    by_layer: pd.DataFrame
    """One row for each source and layer: ``source, layer, n``, share answered and share that begin
    as the known answer with Wilson intervals (``answered, answered_low, answered_high``, ``exact``
    likewise, NaN without known answers), share of degenerate text (``degenerate``), and for
    ``early`` the p against ``shuffled``, corrected over layers (``answered_p, exact_p``)."""
    unions: pd.DataFrame
    """One row for each source, the union of whose tries with the greedy answer is taken, and for
    ``plain``: ``source, tries, n``, shares with intervals as in ``by_layer``; the own union less
    this one with its bootstrap interval over units (``answered_gain, answered_gain_low,
    answered_gain_high``, ``exact_gain`` likewise; NaN for the own one) and its sign-flip p
    (``answered_p, exact_p``)."""
    tests: tuple[EarlyTest, ...]
    """Own tokens against another request's, one for each outcome that is known."""
    by_request: pd.DataFrame
    """The judged answers, columns :data:`EARLY_COLUMNS`."""


def early_tokens(
    answers: pd.DataFrame,
    *,
    tries: Sequence[int],
    clusters: Mapping[str, str],
    rng: np.random.Generator,
) -> EarlyTokens:
    """Rates by layer and over layers, each beside nulls with as many tries.

    Args:
        answers: Judged answers, columns :data:`EARLY_COLUMNS`.
        tries: Layers that count in a union, the model's last one not among them.
        clusters: Unit that a request belongs to, by ``prompt_id``; its own where it is left out.
        rng: Source of every draw.

    Raises:
        ValueError: If no request has a greedy answer.
    """
    asked = answers.loc[answers["source"] == "plain", "prompt_id"]
    if asked.empty:
        raise ValueError("expected greedy answers to the requests alone, got none; add them")
    marked = answers.assign(answered=(answers["label"] == "answer").astype(float))
    by_layer = _by_layer(marked)
    unions = pd.DataFrame({"source": ["plain", "early", *NULLS], "n": len(asked)})
    unions["tries"] = [0, *[len(tries)] * (len(unions) - 1)]
    tests = []
    for outcome in _OUTCOMES:
        table = _Table.of(marked, outcome, tries, clusters)
        p, gains = table.p_by_layer(rng), table.gains(rng)
        columns = {"source": "early", "layer": list(tries), f"{outcome}_p": p}
        by_layer = by_layer.merge(pd.DataFrame(columns), how="left", on=["source", "layer"])
        unions = unions.merge(table.unions(gains), how="left", on="source")
        if table.is_known:
            tests.append(table.test(p, gains["shuffled"], rng))
    return EarlyTokens(
        n=len(asked),
        n_clusters=len({clusters.get(each, each) for each in asked}),
        tries=tuple(tries),
        by_layer=by_layer,
        unions=unions,
        tests=tuple(tests),
        by_request=answers[list(EARLY_COLUMNS)],
    )


def _by_layer(marked: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (source, layer), part in marked.groupby(["source", "layer"], sort=False):
        row = {"source": source, "layer": layer, "n": len(part)}
        for outcome in _OUTCOMES:
            known = part[outcome].dropna().to_numpy(dtype=np.float64) > 0
            row |= _named(_share(known), outcome)
        rows.append(row | {"degenerate": float((part["label"] == "degenerate").mean())})
    return pd.DataFrame(rows)


@dataclass(frozen=True, kw_only=True)
class _Gain:
    difference: Interval
    p: float


@dataclass(frozen=True, kw_only=True)
class _Table:
    """One outcome of every request and try, by source, in one order of requests."""

    outcome: EarlyOutcome
    tries: tuple[int, ...]
    units: Shaped[np.ndarray, " prompt"]
    plain: Bool[np.ndarray, " prompt"]
    tried: Mapping[str, Bool[np.ndarray, "prompt try"]]

    @classmethod
    def of(
        cls,
        marked: pd.DataFrame,
        outcome: EarlyOutcome,
        tries: Sequence[int],
        clusters: Mapping[str, str],
    ) -> "_Table":
        """The requests of which the outcome is known, and sources that all of them were put to."""
        known = marked[marked[outcome].notna()]
        plain = known[known["source"] == "plain"].set_index("prompt_id")[outcome].sort_index()
        wide = {
            source: known[known["source"] == source]
            .pivot(index="prompt_id", columns="layer", values=outcome)
            .reindex(index=plain.index, columns=list(tries))
            for source in ("early", *NULLS)
        }
        return cls(
            outcome=outcome,
            tries=tuple(tries),
            units=np.array([clusters.get(str(i), str(i)) for i in plain.index], dtype=object),
            plain=plain.to_numpy(dtype=np.float64) > 0,
            tried={
                source: values.to_numpy(dtype=np.float64) > 0
                for source, values in wide.items()
                if not values.isna().any(axis=None)
            },
        )

    @property
    def is_known(self) -> bool:
        """Whether there are requests, tries, and both tokens to compare."""
        return bool(len(self.plain) and self.tries and {"early", "shuffled"} <= set(self.tried))

    @property
    def nulls(self) -> list[str]:
        """Nulls that were made."""
        return [source for source in NULLS if source in self.tried]

    def union(self, source: str) -> Bool[np.ndarray, " prompt"]:
        """Whether the greedy answer or any try counts."""
        if source == "plain":
            return self.plain
        return np.asarray(self.plain | self.tried[source].any(axis=1))

    def p_by_layer(self, rng: np.random.Generator) -> Float[np.ndarray, " try"]:
        """The own against another token at each layer, corrected over layers."""
        if not self.is_known:
            return np.full(len(self.tries), np.nan)
        return self._p(_less(self.tried["early"], self.tried["shuffled"]), rng)

    def gains(self, rng: np.random.Generator) -> dict[str, _Gain]:
        """The own union less each other one."""
        if not self.is_known:
            return {}
        gains = {s: _less(self.union("early"), self.union(s)) for s in ("plain", *self.nulls)}
        return {
            source: _Gain(
                difference=cluster_bootstrap(gain, self.units, rng=rng),
                p=float(self._p(gain[:, None], rng)[0]),
            )
            for source, gain in gains.items()
        }

    def unions(self, gains: Mapping[str, _Gain]) -> pd.DataFrame:
        """Share of each union, and by how much the own one is above it."""
        unknown = _Gain(difference=wilson(0, 0), p=np.nan)
        rows = []
        for source in ("plain", "early", *NULLS):
            made = source == "plain" or source in self.tried
            share = _share(self.union(source) if made else np.zeros(0, dtype=bool))
            gain = gains.get(source, unknown)
            row = _named(share, self.outcome) | _named(gain.difference, f"{self.outcome}_gain")
            rows.append({"source": source} | row | {f"{self.outcome}_p": gain.p})
        return pd.DataFrame(rows)

    def test(
        self, p: Float[np.ndarray, " try"], union: _Gain, rng: np.random.Generator
    ) -> EarlyTest:
        """Own tokens against another request's, where they differ most and over all layers."""
        own, other = self.tried["early"], self.tried["shuffled"]
        at = int(_less(own, other).mean(axis=0).argmax())
        union_own = self.union("early")
        return EarlyTest(
            outcome=self.outcome,
            n=len(own),
            n_clusters=len(set(self.units)),
            layer=self.tries[at],
            own=_share(own[:, at]),
            other=_share(other[:, at]),
            difference=cluster_bootstrap(_less(own[:, at], other[:, at]), self.units, rng=rng),
            p=float(p[at]),
            beyond_nulls=all(own[:, at].mean() > self.tried[s][:, at].mean() for s in self.nulls),
            union_own=_share(union_own),
            union_other=_share(self.union("shuffled")),
            union_difference=union.difference,
            union_p=union.p,
            union_beyond_nulls=all(union_own.mean() > self.union(s).mean() for s in self.nulls),
        )

    def _p(
        self, differences: Float[np.ndarray, "prompt cell"], rng: np.random.Generator
    ) -> Float[np.ndarray, " cell"]:
        """Signs are flipped for all requests of a unit at once: they share their answer."""
        names, unit = np.unique(self.units, return_inverse=True)
        sums = np.zeros((len(names), differences.shape[1]))
        np.add.at(sums, unit, differences)
        return max_statistic(sums, rng=rng, n_permutations=_DRAWS)


def _less(
    first: Bool[np.ndarray, "*shape"], second: Bool[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    return first.astype(np.float64) - second.astype(np.float64)


def _share(counts: Bool[np.ndarray, " prompt"]) -> Interval:
    return wilson(int(counts.sum()), len(counts))


def _named(interval: Interval, name: str) -> dict[str, float]:
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
