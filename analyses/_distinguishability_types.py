"""What the answers of two models about the two halves of behaviours are summed up as."""

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from lens_personas.statistics import TWO_SAMPLE_METRICS, Interval, TwoSampleMetric

DistinguishabilityMetric = TwoSampleMetric | Literal["raw_wasserstein", "beta_proxy"]
"""A metric of the log-odds, or one of the published study: W1 of the raw logits of "Yes", and
the mean over the misaligned half of the raw logit of "Yes" less that of "No"."""

DISTINGUISHABILITY_METRICS: tuple[DistinguishabilityMetric, ...] = (
    *TWO_SAMPLE_METRICS,
    "raw_wasserstein",
    "beta_proxy",
)
"""All of them, in the order of the tables."""

METRIC_COLUMNS = (
    "side",
    "behaviour",
    "desirable",
    "metric",
    "estimate",
    "low",
    "high",
    "plug_in",
    "null_low",
    "null_high",
    "p",
    "p_bh",
    "n_aligned",
    "n_misaligned",
)
"""Columns of :attr:`Distinguishability.table`."""


@dataclass(frozen=True, kw_only=True)
class ToldApart:
    """How far apart one metric finds the two halves of one behaviour in one model."""

    side: str
    """``base`` or ``tuned``."""
    behaviour: str
    """Name of the behaviour."""
    desirable: bool
    """Whether showing the behaviour is the aligned answer."""
    metric: DistinguishabilityMetric
    """Which metric; with a sign, it is that of the aligned half above the misaligned one."""
    value: Interval
    """The estimate, its bias taken off where the metric cannot be negative, with interval by
    group. Nats for ``wasserstein`` and ``energy``, raw logits for the published two."""
    plug_in: float
    """The metric as it is, as published studies give it."""
    null: tuple[float, float]
    """Where the estimate would be with the halves dealt anew; NaN where nothing can be dealt."""
    p: float
    """p that the halves dealt anew are as far apart; NaN for the β proxy, which looks at one
    half alone."""
    p_bh: float
    """The same after Benjamini and Hochberg, over behaviours of this side and metric."""
    n_aligned: int
    """Statements whose "Yes" is aligned."""
    n_misaligned: int
    """Statements whose "Yes" is misaligned."""


@dataclass(frozen=True, kw_only=True)
class AnswerHabit:
    """How one model answers about one behaviour at all: what a distance of halves is not."""

    side: str
    """``base`` or ``tuned``."""
    behaviour: str
    """Name of the behaviour."""
    desirable: bool
    """Whether showing the behaviour is the aligned answer."""
    n: int
    """Statements."""
    n_groups: int
    """Groups of statements, which are resampled whole."""
    acquiescence: Interval
    """Mean log-odds of "Yes", either half counted the same, nats: above 0, a habit of saying
    "Yes" to whatever is said. NaN where statements were scored by their own probability."""
    corrected: Interval
    """Mean log-odds of the aligned answer once acquiescence is taken off, nats: half of what the
    aligned half's mean is above the misaligned one's."""
    aligned_share: Interval
    """Share of statements whose aligned answer is the likelier, either half counted the same; NaN
    like ``acquiescence``."""
    corrected_share: Interval
    """The same once acquiescence is taken off."""
    order_effect: Interval
    """Mean log-odds of "Yes" with "Yes" offered first, less that with "No" first, nats; NaN
    where the two orders were not both asked."""
    mass: float
    """Mean of P(Yes) + P(No); NaN where statements were scored by their own probability."""
    low_mass: bool
    """Whether that is below ``mass_floor``: the model would rather say something else."""


@dataclass(frozen=True, kw_only=True)
class Distinguishability:
    """Whether answers tell the aligned half of each behaviour from the misaligned one."""

    level: float
    """Confidence level of every interval."""
    n_boot: int
    """Resamples behind an interval."""
    n_perm: int
    """Deals behind a p."""
    mass_floor: float
    """Mean P(Yes) + P(No) below which answers are called out."""
    sides: tuple[str, ...]
    """Models: ``base``, ``tuned``, or one of them."""
    behaviours: tuple[str, ...]
    """Behaviours, in the order of the scores."""
    rows: tuple[ToldApart, ...]
    """One entry a side, behaviour and metric."""
    habits: tuple[AnswerHabit, ...]
    """One entry a side and behaviour."""
    statements: pd.DataFrame
    """One row ``side, behaviour, desirable, statement_id, group, aligned``: ``log_odds`` (mean
    over orders) and ``corrected`` (less acquiescence), nats; ``mass``, ``yes_logit``,
    ``no_logit``, ``raw_yes`` (what the published W1 is of); ``order_effect``, nats."""
    left_out: tuple[str, ...]
    """What could not be computed or should not be trusted, and why, in sentences."""

    def row(self, side: str, behaviour: str, metric: DistinguishabilityMetric) -> ToldApart:
        """One entry.

        Raises:
            KeyError: If there is none.
        """
        for each in self.rows:
            if (each.side, each.behaviour, each.metric) == (side, behaviour, metric):
                return each
        raise KeyError(
            f"expected one of the sides {self.sides} and behaviours {self.behaviours}, got "
            f"{(side, behaviour, metric)}"
        )

    @property
    def table(self) -> pd.DataFrame:
        """All entries, with columns :data:`METRIC_COLUMNS`."""
        cells = [
            (
                each.side,
                each.behaviour,
                each.desirable,
                each.metric,
                each.value.estimate,
                each.value.low,
                each.value.high,
                each.plug_in,
                *each.null,
                each.p,
                each.p_bh,
                each.n_aligned,
                each.n_misaligned,
            )
            for each in self.rows
        ]
        return pd.DataFrame(cells, columns=list(METRIC_COLUMNS))

    @property
    def measures(self) -> pd.DataFrame:
        """Every metric: ``side, behaviour, measure, kind, estimate, low, high``."""
        table = self.table.rename(columns={"metric": "measure"}).assign(kind="distinguishability")
        return table[["side", "behaviour", "measure", "kind", "estimate", "low", "high"]]
