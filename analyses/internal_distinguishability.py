"""Can the halves of a behaviour be told apart inside the model, and from which layer on?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from analyses._internal_summary import curves_of, peaks_of, shifts_of, tuned_less_base
from lens_personas.geometry import held_out_projections, held_out_scores
from lens_personas.statistics import (
    Interval,
    SignedRank,
    deal_folds,
    deal_labels,
    fold_auroc,
    held_out_intervals,
    paired_bootstrap,
    wilcoxon,
)

PROBE_COLUMNS = (
    "layer",
    "auroc",
    "auroc_low",
    "auroc_high",
    "d_prime",
    "d_prime_low",
    "d_prime_high",
    "p",
    "null_auroc_95",
    "n",
)
"""Columns of what a probe finds, one row a layer."""

INTERNAL_COLUMNS = ("side", "behaviour", *PROBE_COLUMNS)
"""The same for both sides and all behaviours."""

ANSWER_COLUMNS = ("answer_auroc", "answer_auroc_low", "answer_auroc_high")
"""Columns of what of it is turned towards the answer, one row a layer; they may be missing."""


@dataclass(frozen=True, kw_only=True)
class InternalDistinguishability:
    """How well states tell apart the statements whose "Yes" is aligned and those where it is not.

    AUROC is of a linear probe, d' along the difference of means from the aligned to the
    misaligned half; both on statements that the probe was not fitted to, groups never split.
    A probe finds whatever differs between the texts, whether or not the model goes by it. What
    it answers by is the other measure: AUROC of "Yes" over "No" read off a layer.
    """

    n_behaviours: int
    """Behaviours that were probed on any side."""
    level: float
    """Confidence level of every interval."""
    alpha: float
    """Level at which something counts as found, after correction."""
    by_layer: pd.DataFrame
    """One row a ``side, behaviour, layer``: ``auroc`` with ``auroc_low, auroc_high`` (chance is
    .5), ``d_prime`` with ``d_prime_low, d_prime_high``; ``p`` that labels dealt anew reach that
    AUROC at *any* layer, and ``null_auroc_95``, which the largest over layers exceeds in 5 % of
    these; ``n`` statements. ``answer_auroc`` with ``_low, _high``: chance that the logit lens
    gives an aligned statement the higher log-odds of "Yes"; NaN where it was not read."""
    peaks: pd.DataFrame
    """One row a ``side, behaviour``: the ``layer`` of the largest AUROC and the row of
    ``by_layer`` there, whose intervals hold the layer fixed; ``auroc_mean, d_prime_mean`` over
    all layers, which no choice has raised; ``p_bh``, Benjamini and Hochberg's over the side's
    behaviours; ``found``, whether ``p_bh`` is below ``alpha``; ``first_layer``, the lowest at
    which p corrected over layers is (−1 for none)."""
    curves: pd.DataFrame
    """One row a ``side, layer``: mean over behaviours of ``auroc``, ``d_prime`` and
    ``answer_auroc``, each with ``_low, _high``, and of ``null_auroc_95``; ``n_behaviours``.
    Behaviours are resampled."""
    shift_by_layer: pd.DataFrame
    """One row a ``measure`` (``auroc``, ``answer_auroc``) and ``layer``: tuned less base, mean
    over behaviours (``shift``) with ``low, high``, ``p`` corrected over layers by flipping
    behaviours' signs, ``n_behaviours``. Empty where the sides differ in their layers."""
    shift: Interval | None
    """AUROC averaged over layers, tuned less base, mean over behaviours; None without a pair."""
    shift_test: SignedRank | None
    """Wilcoxon's test of the same over behaviours; None without a pair."""


def probe(
    states: Float[Tensor, "statement layer d_model"],
    labels: Bool[np.ndarray, " statement"],
    groups: Shaped[np.ndarray, " statement"],
    *,
    rng: np.random.Generator,
    layers: Sequence[int] | None = None,
    n_folds: int = 5,
    n_perm: int = 500,
    n_boot: int = 1000,
    level: float = 0.95,
) -> pd.DataFrame:
    """What a linear probe finds at each layer; one row a layer, :data:`PROBE_COLUMNS`.

    Args:
        states: One state a statement and layer; on a GPU the probes are fitted there.
        labels: Which of the halves a statement is of. Which half is called True does not matter:
            AUROC above .5 and d' above 0 say that the others' direction is found again.
        groups: What must be in one fold: rewordings of one statement, say.
        rng: Source of every draw.
        layers: Number of each layer; counted from 0 without.
        n_folds: Folds; fewer where a label has fewer groups.
        n_perm: Times that the labels are dealt anew, by group and within folds.
        n_boot: Resamples of groups.
        level: Of the intervals.

    Raises:
        ValueError: If lengths differ, a state is not finite, or a label has fewer than two groups.
    """
    _check(states, labels, layers)
    folds = deal_folds(labels, groups, n_folds=n_folds, rng=rng)
    dealt = deal_labels(labels, groups, folds, n_draws=n_perm, rng=rng)
    aurocs, scores, projections = _every_layer(states, np.column_stack([labels, dealt]), folds)
    found = held_out_intervals(
        scores, projections, labels, groups, folds, rng=rng, n_resamples=n_boot, level=level
    )
    largest = aurocs[:, 1:].max(axis=0)
    null_95 = float(np.quantile(largest, 0.95, method="higher")) if n_perm else float("nan")
    # A draw that only rounds differently from the observed labels must count as reaching it.
    reached = (largest >= aurocs[:, :1] - 1e-9).sum(axis=1)
    rows = [
        (*_bounds(each.auroc), *_bounds(each.d_prime), (1 + count) / (1 + n_perm))
        for each, count in zip(found, reached, strict=True)
    ]
    table = pd.DataFrame(rows, columns=list(PROBE_COLUMNS[1:8]))
    table.insert(0, "layer", list(range(states.shape[1]) if layers is None else layers))
    return table.assign(null_auroc_95=null_95, n=len(labels))


def answer_auroc(
    log_odds: Float[np.ndarray, "statement layer"],
    aligned: Bool[np.ndarray, " statement"],
    groups: Shaped[np.ndarray, " statement"],
    *,
    rng: np.random.Generator,
    n_boot: int = 1000,
    level: float = 0.95,
) -> pd.DataFrame:
    """Chance that an aligned statement has the higher log-odds of "Yes"; a row a layer.

    Columns :data:`ANSWER_COLUMNS`, groups resampled. Nothing is fitted: there are no folds.

    Args:
        log_odds: "Yes" over "No" in nats, as read off each layer.
        aligned: Whether "Yes" is the aligned answer.
        groups: What is resampled as one.
        rng: Source of every draw.
        n_boot: Resamples.
        level: Of the intervals.

    Raises:
        ValueError: If lengths differ or a number is not finite.
    """
    one = np.zeros(len(aligned), dtype=np.int64)
    found = held_out_intervals(
        log_odds, log_odds, aligned, groups, one, rng=rng, n_resamples=n_boot, level=level
    )
    return pd.DataFrame([_bounds(each.auroc) for each in found], columns=list(ANSWER_COLUMNS))


def internal_distinguishability(
    internal: pd.DataFrame,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    alpha: float = 0.05,
) -> InternalDistinguishability | None:
    """The answer from what was probed on both sides; None without anything probed.

    Args:
        internal: One row a side, behaviour and layer, :data:`INTERNAL_COLUMNS`, and
            :data:`ANSWER_COLUMNS` where answers were read.
        rng: Source of every draw.
        level: Of the intervals.
        alpha: Level at which something counts as found.

    Raises:
        ValueError: If a column is missing.
    """
    missing = [name for name in INTERNAL_COLUMNS if name not in internal]
    if missing:
        raise ValueError(f"expected the columns {list(INTERNAL_COLUMNS)}, got none of {missing}")
    if not len(internal):
        return None
    table = internal.reset_index(drop=True)
    table = table.reindex(columns=[*INTERNAL_COLUMNS, *ANSWER_COLUMNS])
    peaks = peaks_of(table, alpha)
    gaps = tuned_less_base(peaks, "auroc_mean").to_numpy(np.float64)
    return InternalDistinguishability(
        n_behaviours=int(internal["behaviour"].nunique()),
        level=level,
        alpha=alpha,
        by_layer=table,
        peaks=peaks,
        curves=curves_of(table, rng, level),
        shift_by_layer=shifts_of(table, rng, level),
        shift=paired_bootstrap(gaps, rng=rng, level=level) if len(gaps) else None,
        shift_test=wilcoxon(gaps) if len(gaps) else None,
    )


def _check(
    states: Float[Tensor, "statement layer d_model"],
    labels: Bool[np.ndarray, " statement"],
    layers: Sequence[int] | None,
) -> None:
    if len(states) != len(labels) or (layers is not None and len(layers) != states.shape[1]):
        raise ValueError(
            f"expected a label a statement and a number a layer, got states of shape "
            f"{tuple(states.shape)}, {len(labels)} labels and layers {layers}"
        )
    bad = ~states.isfinite().all(dim=2)
    if bool(bad.any()):
        raise ValueError(
            f"expected finite states, {int(bad.any(dim=1).sum())} of {len(states)} statements have "
            f"NaN or infinite ones, first at entry {int(bad.any(dim=0).nonzero()[0])} of the layer "
            "axis; load the model in float32 or bfloat16"
        )


def _every_layer(
    states: Float[Tensor, "statement layer d_model"],
    labels: Bool[np.ndarray, "statement draw"],
    folds: Shaped[np.ndarray, " statement"],
) -> tuple[
    Float[np.ndarray, "layer draw"],
    Float[np.ndarray, "statement layer"],
    Float[np.ndarray, "statement layer"],
]:
    """AUROC of every labelling, then scores and projections of the first, layer by layer."""
    targets = torch.from_numpy(labels.astype(np.float64)).to(states.device)
    fold_of = torch.from_numpy(folds).to(states.device)
    aurocs, scores, projections = [], [], []
    for at in range(states.shape[1]):
        here = states[:, at]
        scored = held_out_scores(here, targets, fold_of).cpu().numpy()
        aurocs.append(fold_auroc(scored, labels, folds))
        scores.append(scored[:, 0])
        projected = held_out_projections(here, targets[:, 0] > 0.5, fold_of)
        projections.append(projected.cpu().numpy())
    return np.stack(aurocs), np.stack(scores, axis=1), np.stack(projections, axis=1)


def _bounds(interval: Interval) -> tuple[float, float, float]:
    return interval.estimate, interval.low, interval.high
