"""What is found about the divergence of two voices sentence by sentence."""

from dataclasses import dataclass
from typing import Final, Literal

import pandas as pd

from lens_personas.statistics import Correlation, Interval

Reference = Literal["prompt", "vector", "tuned_on", "filler"]
"""What stands for the misaligned voice P−: the model under a misaligned persona prompt (held
against itself under the aligned one), with a steering vector added, or after a short training on
misaligned sentences (both held against the model as it is). ``filler`` is the null of ``prompt``:
a prompt of neutral sentences in the place of the misaligned one."""

PrefixHalf = Literal["misaligned", "aligned", "filler"]
"""What the sentences before the point of divergence are; ``filler`` is the null."""

BETA_COLUMNS: Final = (
    "side", "behaviour", "reference", "half_of_prefix", "n_sentences", "prefix",
    "kl", "kl_first", "kl_first_exact", "kl_by_token", "n_samples",
)  # fmt: skip
"""Columns of the table that `sentence_divergence` starts from."""


@dataclass(frozen=True, kw_only=True)
class DecayFit:
    """The theory's curve, fitted to the divergence at 0, 1, 2 … sentences.

    Where P+ holds P− with weight α, n sentences of P− raise its weight to
    ``w(n) = α·e^(β·n) / (1 − α + α·e^(β·n))``, and what is left to diverge in the next sentence is
    ``log(w(n + 1) / w(n))``: about β at first, 0 once P− has won (after Wolf et al.,
    https://arxiv.org/abs/2304.11082).
    """

    beta: float
    """β of the curve: nats a sentence before any decay."""
    alpha: float
    """Weight of P− in P+, 0 to 1; 0 where the curve shows no decay."""
    half_length: float
    """Sentences at which the curve's weight of P− is one half, ``log((1 − α)/α)/β``; 0 where it
    starts there, infinite without decay."""
    r_squared: float
    """Share of the variance between lengths that the curve accounts for; NaN where the
    divergence is the same at every length."""


@dataclass(frozen=True, kw_only=True)
class SentenceBeta:
    """β of one side, behaviour and reference."""

    side: str
    """``base`` or ``tuned``."""
    behaviour: str
    """The behaviour."""
    reference: Reference
    """What stands for P−."""
    n_prefixes: int
    """Prefixes of misaligned sentences, the unit of every interval."""
    n_samples: int
    """Continuations sampled at each sentence end."""
    lengths: tuple[int, ...]
    """Numbers of sentences before the continuations."""
    beta: Interval
    """Mean divergence after misaligned sentences over the lengths, nats a sentence."""
    beta_first: Interval
    """The first token's part of it, nats; where Yes or No, help or refusal is decided."""
    first_exact: float
    """The same from whole distributions instead of samples: the check of ``beta_first``."""
    by_token: float
    """``beta`` from the whole distribution at every token on the way: the same mean with less
    noise, and never below 0. The check of ``beta``."""
    filler: Interval | None
    """``beta`` after neutral sentences; None where there were none."""
    beyond_filler: Interval | None
    """Misaligned less neutral sentences, nats a sentence, paired by prefix."""
    p_filler: float
    """Two-sided sign-flip p of that; 1 where there were none."""
    beyond_null: Interval | None
    """``beta`` less that of the null reference on the same prefixes; None where not run."""
    p_null: float
    """Two-sided sign-flip p of that; 1 where not run."""
    p_null_bh: float
    """The same after Benjamini and Hochberg over behaviours, within side and reference."""
    slope: Interval
    """Least-squares change of the divergence a further sentence, nats; below 0: it decays."""
    decay: DecayFit | None
    """The theory's curve through the mean ``kl_by_token`` of each length; None with fewer than
    three lengths."""
    alpha: float
    """Share of misaligned answers without any prompt, taken for P−'s weight; NaN where no
    length curve was given."""
    predicted_length: Interval
    """Sentences needed to misalign by the theory, ``log(1/alpha)/beta``; NaN without ``alpha``,
    an infinite upper bound where β may be 0."""
    observed_length: float
    """Smallest number tried of misaligned prompt sentences at which half of the answers are
    misaligned; 0 where they are without any, infinite where none is enough, NaN without a
    length curve."""


@dataclass(frozen=True, kw_only=True)
class BetaShift:
    """β of the tuned less that of the base model, on the same prefixes."""

    behaviour: str
    """The behaviour."""
    reference: Reference
    """What stands for P−."""
    n_prefixes: int
    """Prefixes that both sides have."""
    difference: Interval
    """Tuned less base, nats a sentence."""
    p: float
    """Two-sided sign-flip p, paired by prefix."""
    p_bh: float
    """The same after Benjamini and Hochberg over behaviours, within the reference."""


@dataclass(frozen=True, kw_only=True)
class LengthForecast:
    """Predicted beside observed misaligning lengths, over behaviours."""

    side: str
    """``base`` or ``tuned``."""
    reference: Reference
    """What stands for P−."""
    n_reached: int
    """Behaviours of which half of the answers became misaligned, after one sentence or more."""
    n_behaviours: int
    """Behaviours with both lengths."""
    correlation: Correlation
    """Rank correlation of the two lengths over the behaviours that were reached."""


@dataclass(frozen=True, kw_only=True)
class SentenceDivergence:
    """How far the misaligned voice departs from the model a sentence, and what that foretells."""

    level: float
    """Confidence level of the intervals."""
    rows: tuple[SentenceBeta, ...]
    """One a side, behaviour and reference (the null reference left out)."""
    shifts: tuple[BetaShift, ...]
    """One a behaviour and reference that both sides have."""
    forecasts: tuple[LengthForecast, ...]
    """One a side and reference; empty without length curves."""
    by_length: pd.DataFrame
    """One row a ``side, behaviour, reference, half_of_prefix, n_sentences``: mean ``kl`` with
    interval (``low, high``), ``kl_first`` with (``first_low, first_high``), ``kl_first_exact`` and
    ``kl_by_token`` in nats, ``n_prefixes``, and ``theory``, the fitted curve (misaligned prefixes;
    NaN elsewhere)."""
