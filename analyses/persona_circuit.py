"""Which parts of the model carry who is asking to the refusal, and is that all of them?"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from analyses.claims import Claim
from lens_personas.statistics import (
    Interval,
    null_range,
    paired_bootstrap,
    paired_ratio,
    sign_flip,
)

RUN_COLUMNS = (
    "circuit",
    "size",
    "cut",
    "pair",
    "prompt_id",
    "clean",
    "corrupted",
    "value",
)
"""Columns of the runs of circuits: ``circuit`` is ``found`` or ``random`` with a number, ``size``
its edges, ``cut`` whether those edges alone carry what they do under the second text (else all
others do), ``pair`` two texts on the user, ``clean`` and ``corrupted`` the refusal score under the
first and under the second, ``value`` the score of the run. Edges out of the embedding are never
cut: without the words themselves there is no difference, and no finding."""

FOUND = "found"
"""The circuit that was looked for; every other one is random."""

SPREAD = "spread of answers"
"""What no part writes by itself: how evenly the answers that are no refusal share their rest."""

SHARE = 0.85
"""Share of the difference that a circuit has to keep alone, and has to take away where it is cut;
it may overshoot by no more than it may fall short."""


@dataclass(frozen=True, kw_only=True)
class Carried:
    """What the circuit does to the difference between two users, beside random circuits."""

    found: Interval
    """Nats of refusal log-odds, mean over requests."""
    share: Interval
    """The same over the whole difference; without bounds where there is none."""
    random: Interval
    """Mean of as large random circuits, nats."""
    random_range: tuple[float, float] | None
    """Where one more random circuit would fall, nats; None without any."""
    beyond_random: Interval
    """Found less random, by request."""
    p: float
    """Sign-flip p of ``beyond_random``."""


@dataclass(frozen=True, kw_only=True)
class CircuitCheck:
    """The circuit on requests that it was neither found nor sized on."""

    personas: str
    """``held out`` or ``seen``: whether the circuit was found on these users."""
    pairs: tuple[str, ...]
    """Pairs of users."""
    n: int
    """Requests."""
    total: Interval
    """Whole difference between the first and the second user of a pair, nats."""
    p_total: float
    """Sign-flip p of it."""
    alone: Carried
    """What the sufficient circuit keeps of it by itself; its share is the faithfulness."""
    cut: Carried
    """What is lost of it where the necessary circuit is cut; 1 less its share is what is left."""


@dataclass(frozen=True, kw_only=True)
class PersonaCircuit:
    """The circuit that carries a difference between users to the refusal."""

    sides: tuple[str, str]
    """Sides whose difference is looked at, the first less the second."""
    control: str
    """The control persona."""
    n_found: int
    """Requests that the circuit was found on."""
    size: int
    """Edges of the sufficient circuit: the fewest that keep :data:`SHARE` of the difference by
    themselves, on requests that are neither those it was found on nor those it is tested on."""
    live: int
    """Of these, edges on a way from the embedding to the logits inside the circuit."""
    cut_size: int
    """Edges of the necessary circuit: the fewest, none of them out of the embedding, that take
    away :data:`SHARE` of the difference where they are cut; chosen on the same requests."""
    n_edges: int
    """Edges in the model."""
    checks: tuple[CircuitCheck, ...]
    """The circuit on the test requests: held-out users first, then those it was found on."""
    neutral: pd.DataFrame
    """The same difference between two neutral texts, one row a pair: ``pair, estimate, low,
    high`` (nats), ``kept`` (nats, by the circuit alone)."""
    neutral_range: tuple[float, float] | None
    """Where the difference of one more pair of neutral texts would fall; None without any."""
    curve: pd.DataFrame
    """Circuits of every size: ``cut, size``, and the share of the difference that is kept by the
    circuit alone, or left where it is cut (``estimate, low, high``); the mean and the range of
    random circuits (``random, random_low, random_high``)."""
    edges: pd.DataFrame
    """Every edge, by what attribution says of it: ``rank, source, target, score, low, high``
    (nats of the difference), ``sufficient, necessary`` (whether it is in these circuits)."""
    heads: pd.DataFrame
    """Every head: ``layer, head``; ``mass, control_mass`` (share of its attention at the end of
    the prompt that lies on what is said of the user), ``mass_difference, mass_low, mass_high,
    mass_p``; ``written, written_low, written_high, written_p`` (along the refusal direction from
    there, first less second user, in residual norms); ``edges`` (its edges in the circuit)."""
    components: pd.DataFrame
    """Parts that write to the logits, and :data:`SPREAD`: ``component, layer, head, estimate,
    low, high, p`` (direct share of the difference, nats, which they add up to; p corrected)."""
    refusal: pd.DataFrame
    """Refusal as such: ``circuit`` (``whole``, ``cut``, ``random cut``), ``measure`` (the first
    side's score and the second's on harmful requests, harmless requests, difference of the sides,
    harmful less harmless), ``estimate, low, high`` (nats)."""
    left_out: tuple[str, ...]
    """Pairs of texts that could not be matched token by token, with the reason."""
    by_request: pd.DataFrame
    """Runs of the circuit and of random ones of its size; columns :data:`RUN_COLUMNS`."""

    @property
    def check(self) -> CircuitCheck:
        """The check that counts: on held-out users where there are any."""
        return self.checks[0]


def chosen_size(runs: pd.DataFrame, *, cut: bool) -> int:
    """Fewest edges that alone keep :data:`SHARE` of the difference, or take it away where cut.

    Raises:
        ValueError: If no circuit does; all edges always do.
    """
    found = runs[(runs["circuit"] == FOUND) & (runs["cut"] == cut)]
    for size, rows in found.groupby("size", sort=True):
        total, moved = _means(rows, lost=cut)
        if SHARE <= moved.mean() / total.mean() <= 2.0 - SHARE:
            return int(str(size))
    raise ValueError(
        f"expected a circuit that carries {SHARE} of the difference, got none of "
        f"{sorted(set(found['size']))} edges; give all edges among the sizes"
    )


def circuit_check(runs: pd.DataFrame, *, personas: str, rng: np.random.Generator) -> CircuitCheck:
    """Both circuits and random ones of their sizes on one set of users, from runs of these alone.

    The pairs of users are averaged within each request, which is what is resampled.
    """
    alone, cut = runs[~runs["cut"]], runs[runs["cut"]]
    total, _ = _means(alone[alone["circuit"] == FOUND])
    return CircuitCheck(
        personas=personas,
        pairs=tuple(dict.fromkeys(runs["pair"])),
        n=len(total),
        total=paired_bootstrap(total, rng=rng),
        p_total=sign_flip(total, rng=rng),
        alone=_carried(alone, lost=False, rng=rng),
        cut=_carried(cut, lost=True, rng=rng),
    )


def neutral_differences(
    runs: pd.DataFrame, *, rng: np.random.Generator
) -> tuple[pd.DataFrame, tuple[float, float] | None]:
    """Rows of :attr:`PersonaCircuit.neutral`, and where one more pair would fall.

    Which of two neutral texts comes first means nothing, so the range lies around 0.
    """
    rows = []
    for pair, own in runs.groupby("pair", sort=False):
        total, kept = _means(own)
        mean = paired_bootstrap(total, rng=rng)
        ends = {"low": mean.low, "high": mean.high}
        rows.append({"pair": pair, "estimate": mean.estimate} | ends | {"kept": kept.mean()})
    table = pd.DataFrame(rows, columns=["pair", "estimate", "low", "high", "kept"])
    return table, null_range(table["estimate"].to_numpy(np.float64), symmetric=True)


def curve_rows(runs: pd.DataFrame, *, rng: np.random.Generator) -> pd.DataFrame:
    """Rows of :attr:`PersonaCircuit.curve`."""
    rows = []
    for (cut, size), own in runs.groupby(["cut", "size"], sort=True):
        share = _share(own[own["circuit"] == FOUND], rng)
        draws = [_share(each, rng).estimate for each in _random(own)]
        ends = {"estimate": share.estimate, "low": share.low, "high": share.high}
        ends |= {"random": float(np.mean(draws)) if draws else np.nan}
        ends |= {
            "random_low": min(draws, default=np.nan),
            "random_high": max(draws, default=np.nan),
        }
        rows.append({"cut": bool(cut), "size": int(str(size))} | ends)
    return pd.DataFrame(rows)


def circuit_claims(found: PersonaCircuit) -> tuple[Claim, ...]:
    """Two: that the circuit carries the difference, and that little gets round it."""
    check = found.check
    first, second = found.sides
    return (
        Claim(
            part="persona-circuit",
            statement=f"a part of the model's edges carries the difference in refusal between "
            f"{first}- and {second}-social users",
            refuted_by="random circuits of as many edges carry as much, or two neutral texts "
            "differ as far",
            n=check.n,
            estimate=check.alone.beyond_random,
            unit="nats",
            control=check.alone.random,
            p=max(check.alone.p, check.p_total),
            beyond_nulls=_beyond(found, check.alone),
        ),
        Claim(
            part="persona-circuit",
            statement="where a few edges inside the model are cut, most of the difference in "
            f"refusal between {first}- and {second}-social users is gone",
            refuted_by="half of the difference or more is left, or cutting as many random edges "
            "takes away as much",
            n=check.n,
            estimate=check.cut.beyond_random,
            unit="nats",
            control=check.cut.random,
            p=max(check.cut.p, check.p_total),
            beyond_nulls=_beyond(found, check.cut) and check.cut.share.low > 0.5,
        ),
    )


def has_effect(found: PersonaCircuit) -> bool:
    """Whether the users differ at all: further than chance, and than two neutral texts do."""
    total = found.check.total
    if not total.excludes(0.0) or found.neutral_range is None:
        return False
    low, high = found.neutral_range
    return not low <= total.estimate <= high


def _beyond(found: PersonaCircuit, carried: Carried) -> bool:
    """Whether there is a difference, and the circuit is beyond random ones on its side."""
    if not has_effect(found) or carried.random_range is None:
        return False
    low, high = carried.random_range
    if found.check.total.estimate < 0:
        return carried.found.estimate < min(low, 0.0)
    return carried.found.estimate > max(high, 0.0)


def _carried(rows: pd.DataFrame, *, lost: bool, rng: np.random.Generator) -> Carried:
    total, moved = _means(rows[rows["circuit"] == FOUND], lost=lost)
    draws = [_means(each, lost=lost)[1] for each in _random(rows)]
    random = np.mean(draws, axis=0) if draws else np.zeros(len(total))
    return Carried(
        found=paired_bootstrap(moved, rng=rng),
        share=paired_ratio(moved, total, rng=rng),
        random=paired_bootstrap(random, rng=rng),
        random_range=null_range(np.array([each.mean() for each in draws])) if draws else None,
        beyond_random=paired_bootstrap(moved - random, rng=rng),
        p=sign_flip(moved - random, rng=rng),
    )


def _random(rows: pd.DataFrame) -> list[pd.DataFrame]:
    own = rows[rows["circuit"] != FOUND]
    return [each for _, each in own.groupby("circuit", sort=False)]


def _share(rows: pd.DataFrame, rng: np.random.Generator) -> Interval:
    total, kept = _means(rows)
    return paired_ratio(kept, total, rng=rng, n_resamples=500)


def _means(
    rows: pd.DataFrame, *, lost: bool = False
) -> tuple[Float[np.ndarray, " prompt"], Float[np.ndarray, " prompt"]]:
    """Whole difference and what is kept of it (or lost), by request, mean over pairs of users."""
    mean = rows.groupby("prompt_id", sort=True)[["clean", "corrupted", "value"]].mean()
    total, kept = mean["clean"] - mean["corrupted"], mean["value"] - mean["corrupted"]
    moved = total - kept if lost else kept
    return total.to_numpy(np.float64), moved.to_numpy(np.float64)
