"""How much of an effect a circuit carries, by its size, beside random circuits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped

from lens_personas.statistics._checks import require_finite, require_fraction
from lens_personas.statistics._intervals import Interval
from lens_personas.statistics._mediation import paired_ratio

FAITHFULNESS_COLUMNS: Final = (
    "size",
    "kind",
    "draw",
    "part",
    "prompt",
    "cluster",
    "value",
    "clean",
    "corrupted",
)
"""Columns that `faithfulness_curve` reads: number of edges; ``ranked`` or ``random``; number of
the random ranking (0 for ``ranked``); whether the ``circuit`` or its ``complement`` ran clean;
number of the prompt pair, and what it belongs to when pairs are resampled; the metric of that
run, of the clean one and of the corrupted one."""


@dataclass(frozen=True, kw_only=True)
class RandomShares:
    """The same share of random circuits of the same size."""

    mean: float
    """Mean over random circuits; NaN without any."""
    low: float
    """Smallest of them."""
    high: float
    """Largest of them."""
    p: float
    """Share of random circuits at least as near to what a whole circuit would give, the ranked
    one counted among them; 1 without any."""


@dataclass(frozen=True, kw_only=True)
class FaithfulnessPoint:
    """Circuits of one size."""

    size: int
    """Number of edges in the circuit."""
    faithfulness: Interval
    """Share of the effect that is there when the circuit alone runs clean: 1 for all edges,
    0 for none; it can lie outside of [0, 1]. No bounds where the effect itself may be 0."""
    left: Interval
    """Share that is left when the circuit is cut and all else runs clean: 0 where it is
    complete, 1 where it does nothing."""
    random: RandomShares
    """``faithfulness`` of random circuits; near means near to 1."""
    random_left: RandomShares
    """``left`` of random circuits; near means near to 0."""


@dataclass(frozen=True, kw_only=True)
class FaithfulnessCurve:
    """Faithfulness of a ranking's circuits by size."""

    points: tuple[FaithfulnessPoint, ...]
    """One a size, the smallest first."""
    n_prompts: int
    """Pairs of prompts."""
    n_random: int
    """Random rankings beside."""
    clean: float
    """Mean metric of the clean runs."""
    corrupted: float
    """Mean metric of the corrupted runs."""
    share: float
    """Share of the effect asked for, in (0, 1)."""
    reached: int | None
    """Smallest size whose faithfulness lies within ``1 - share`` of 1, on either side: a
    circuit that overshoots is as unfaithful as one that falls short. None where none does."""
    p: float
    """As the points' p, of the mean distance of faithfulness to 1 over all sizes: one test of
    the whole ranking. 1 without random rankings."""

    def table(self) -> pd.DataFrame:
        """One row a size: shares with bounds, and their random range and p."""
        return pd.DataFrame([_flat(point) for point in self.points])


def faithfulness_curve(
    values: pd.DataFrame,
    *,
    rng: np.random.Generator,
    share: float = 0.85,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> FaithfulnessCurve:
    """Faithfulness by size from the metric of each run; see `FAITHFULNESS_COLUMNS`.

    A share is a ratio of means over prompts, ``(m - m_corrupted) / (m_clean - m_corrupted)``, as
    in Hanna et al. (https://arxiv.org/abs/2403.17806): prompts with a small effect of their own
    do not blow it up. Its interval resamples clusters. Random circuits of one draw contain each
    other, so that a draw is a ranking as well.

    Raises:
        ValueError: If a column is missing, a number is not finite, a run is missing or there
            twice, or a fraction is not in (0, 1).
    """
    require_fraction("share", share)
    runs = _Runs.of(values)
    points = tuple(
        FaithfulnessPoint(
            size=int(size),
            faithfulness=runs.interval(row, 0, rng, n_resamples, level),
            left=runs.interval(row, 1, rng, n_resamples, level),
            random=_beside(runs.shares[row, 0], target=1.0),
            random_left=_beside(runs.shares[row, 1], target=0.0),
        )
        for row, size in enumerate(runs.sizes)
    )
    reached = [point.size for point in points if abs(1 - point.faithfulness.estimate) <= 1 - share]
    # A size at which every circuit is the same one tells nothing, and changes no order.
    distance = np.abs(1.0 - runs.shares[:, 0]).mean(axis=0)
    return FaithfulnessCurve(
        points=points,
        n_prompts=runs.values.shape[-1],
        n_random=runs.values.shape[2] - 1,
        clean=float(runs.clean.mean()),
        corrupted=float(runs.corrupted.mean()),
        share=share,
        reached=min(reached, default=None),
        p=_rank_p(distance),
    )


@dataclass(frozen=True, kw_only=True)
class _Runs:
    """The table as arrays; the ranked circuit is draw 0, random ones follow."""

    sizes: tuple[int, ...]
    values: Float[np.ndarray, "size part draw prompt"]
    clean: Float[np.ndarray, " prompt"]
    corrupted: Float[np.ndarray, " prompt"]
    clusters: Shaped[np.ndarray, " prompt"]

    @classmethod
    def of(cls, table: pd.DataFrame) -> "_Runs":
        _check_table(table)
        draw = np.where(table["kind"] == "ranked", 0, table["draw"].to_numpy() + 1)
        keys = ["size", "part", "draw", "prompt"]
        cells = table.assign(draw=draw).set_index(keys)["value"].sort_index()
        levels = [cells.index.unique(key).sort_values() for key in keys]
        shape = tuple(map(len, levels))
        whole = pd.MultiIndex.from_product(levels)
        if not cells.index.equals(whole) or shape[1] != 2:
            raise ValueError(
                f"expected the value of each of {shape[0]} sizes, 2 parts, {shape[2]} rankings "
                f"and {shape[3]} prompts once, {int(np.prod(shape))} in all, got {len(cells)}; "
                "give whole results, each once"
            )
        prompts = table.drop_duplicates("prompt").sort_values("prompt")
        return cls(
            sizes=tuple(int(size) for size in levels[0]),
            values=cells.to_numpy(dtype=np.float64).reshape(shape),
            clean=prompts["clean"].to_numpy(dtype=np.float64),
            corrupted=prompts["corrupted"].to_numpy(dtype=np.float64),
            clusters=prompts["cluster"].to_numpy(),
        )

    @property
    def shares(self) -> Float[np.ndarray, "size part draw"]:
        """Ratio of means; NaN where clean and corrupted runs do not differ."""
        whole = (self.clean - self.corrupted).mean()
        moved = (self.values - self.corrupted).mean(axis=-1)
        return np.asarray(moved / whole if whole else np.full_like(moved, np.nan))

    def interval(
        self, size: int, part: int, rng: np.random.Generator, n_resamples: int, level: float
    ) -> Interval:
        moved = self.values[size, part, 0] - self.corrupted
        found = paired_ratio(
            self._summed(moved),
            self._summed(self.clean - self.corrupted),
            rng=rng,
            n_resamples=n_resamples,
            level=level,
        )
        # Where there is no effect, a change is no infinite share of it.
        return found if np.isfinite(found.estimate) else replace(found, estimate=float("nan"))

    def _summed(self, change: Float[np.ndarray, " prompt"]) -> Float[np.ndarray, " cluster"]:
        # The ratio of sums by cluster is that of sums over prompts.
        _, index = np.unique(self.clusters, return_inverse=True)
        return np.bincount(index, weights=change).astype(np.float64)


def _check_table(table: pd.DataFrame) -> None:
    missing = [name for name in FAITHFULNESS_COLUMNS if name not in table.columns]
    if missing or table.empty:
        raise ValueError(
            f"expected rows with the columns {', '.join(FAITHFULNESS_COLUMNS)}, got "
            f"{f'no {missing}' if missing else 'no row'}; make them with circuit_values"
        )
    for name in ("value", "clean", "corrupted"):
        require_finite(name, table[name].to_numpy(dtype=np.float64))
    for name in ("clean", "corrupted", "cluster"):
        if (table.groupby("prompt")[name].nunique() != 1).any():
            raise ValueError(
                f"expected one {name} a prompt, got several; number the pairs anew where tables "
                "are put together"
            )


def _beside(shares: Float[np.ndarray, " draw"], *, target: float) -> RandomShares:
    """The random draws after the first, and the rank of the first among all."""
    random = shares[1:]
    if not len(random):
        return RandomShares(mean=float("nan"), low=float("nan"), high=float("nan"), p=1.0)
    return RandomShares(
        mean=float(random.mean()),
        low=float(random.min()),
        high=float(random.max()),
        p=_rank_p(np.abs(shares - target)),
    )


def _rank_p(distances: Float[np.ndarray, " draw"]) -> float:
    """Share of all that are no larger than the first; 1 where it is undefined."""
    if not np.isfinite(distances).all():
        return 1.0
    # Circuits that only round differently are equal.
    return float((distances <= distances[0] + 1e-9).mean())


def _flat(point: FaithfulnessPoint) -> dict[str, int | float]:
    row: dict[str, int | float] = {"size": point.size}
    shares: Sequence[tuple[str, Interval, RandomShares]] = (
        ("faithfulness", point.faithfulness, point.random),
        ("left", point.left, point.random_left),
    )
    for name, own, random in shares:
        row |= {name: own.estimate, f"{name}_low": own.low, f"{name}_high": own.high}
        row |= {f"{name}_random": random.mean, f"{name}_random_low": random.low}
        row |= {f"{name}_random_high": random.high, f"{name}_p": random.p}
    return row
