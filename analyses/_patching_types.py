"""What a study of patches is made of: positions, cells, grids, and what comes of them."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from lens_personas.statistics import Interval

PatchKind = Literal["resid_pre", "attn_out", "mlp_out", "head", "head_at"]
"""What is patched: the residual before a block, what attention or the MLP adds, at one position;
what one head adds, at all positions or at one."""
KINDS: tuple[PatchKind, ...] = ("resid_pre", "attn_out", "mlp_out", "head", "head_at")

Way = Literal["denoise", "noise", "both"]
"""``denoise``: the first user's state put into the second one's run; ``noise``: the second one's
into the first one's run; ``both``: the mean of what the two move."""

Metric = Literal["refusal", "answer", "margin", "kl"]
"""Refusal score; log-probability of the known answer's first token; its logit less that of a
refusal's; KL from the first user's run. All in nats, the margin in logits."""

SlotRole = Literal["before", "persona", "between", "request", "after"]
"""Part of a prompt: what stands before the persona, what is said of the user, what stands between
that and the request, the request, what stands after it."""

TABLE_COLUMNS = (
    "kind",
    "way",
    "metric",
    "layer",
    "head",
    "slot",
    "place",
    "role",
    "token",
    "estimate",
    "low",
    "high",
    "share",
    "null_low",
    "null_high",
    "p",
    "n",
)
"""Columns of a table of patches, one row a cell: ``head`` and ``slot`` are -1 where all are patched
at once; ``estimate, low, high`` is what the patch moves towards the first user, in the metric's
unit; ``share`` the same over the whole difference, NaN where that may be 0; ``null_low, null_high``
where one more pair of neutral users would fall (denoised; NaN for ``noise``); ``p`` is corrected
over the cells of its grid; ``n`` requests."""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A position that all prompts have, named by its place in its part."""

    role: SlotRole
    """Part of the prompt."""
    offset: int
    """Place in it: from 0 at its first token, or from -1 backwards at its last one."""
    varies: bool
    """Whether the two prompts of a pair differ here."""
    token: str
    """The token; empty where it is not the same in all prompts, or is not to be shown."""

    @property
    def name(self) -> str:
        """Short name.

        >>> Slot(role="persona", offset=-2, varies=True, token="").name
        'persona −2'

        """
        return f"{self.role} {self.offset}".replace("-", "−")

    @property
    def label(self) -> str:
        """What stands at an axis: the token, or the name."""
        return self.token or self.name


class Place(NamedTuple):
    """What is patched in one cell of a grid."""

    layer: int
    """Block."""
    head: int
    """Head; -1 for none."""
    slot: int
    """Number of the slot; -1 for all positions at once."""


@dataclass(frozen=True, kw_only=True)
class PatchedGrid:
    """Scores of all runs of one grid, in one of the two ways."""

    kind: PatchKind
    """What is patched."""
    way: Way
    """Which way."""
    metric: Metric
    """What the scores are."""
    places: tuple[Place, ...]
    """Cells."""
    values: Float[np.ndarray, "couple request place"]
    """Scores of the patched runs."""
    first: Float[np.ndarray, "couple request"]
    """Scores of the first user's run."""
    second: Float[np.ndarray, "couple request"]
    """Scores of the second user's run."""
    null: Float[np.ndarray, "null place"]
    """What the patch moves between two neutral users, mean over requests; may have no row."""
    null_whole: Float[np.ndarray, " null"]
    """Whole difference between two neutral users, mean over requests."""

    @property
    def moved(self) -> Float[np.ndarray, "couple request place"]:
        """What each patch moves towards the first user."""
        if self.way == "noise":
            return np.asarray(self.first[..., None] - self.values)
        return np.asarray(self.values - self.second[..., None])

    @property
    def whole(self) -> Float[np.ndarray, " request"]:
        """Whole difference by request, mean over couples."""
        return np.asarray((self.first - self.second).mean(axis=0))


@dataclass(frozen=True, kw_only=True)
class CoupleEffect:
    """Two users whose prompts are swapped."""

    first: str
    """User expected to be refused more."""
    second: str
    """The other one."""
    total: Interval
    """Refusal score under the first less that under the second, nats, mean over requests."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """The strongest place outside of what is said of the user, of one kind."""

    kind: PatchKind
    """What is patched."""
    layer: int
    """Block."""
    head: int
    """Head; -1 for none."""
    place: str
    """Name of the position; empty for all."""
    token: str
    """Its token; empty for all, or where it is not to be shown."""
    moved: Interval
    """What the patch moves, nats, mean of both ways; at each request at the place where the others
    move most, so that choosing the place does not flatter it."""
    share: Interval
    """The same over the whole difference; without bounds where there is none."""
    null_range: tuple[float, float] | None
    """Where one more pair of neutral users would fall; None without any."""
    beyond_nulls: bool
    """Whether denoising moves more than that, on its own side."""
    p: float
    """Sign-flip p, corrected over all places of the kind that could have been chosen."""


@dataclass(frozen=True, kw_only=True)
class MetricGrid:
    """The same grid of residuals under another metric."""

    metric: Metric
    """The metric."""
    total: Interval
    """First user less second, in its unit."""
    spearman: float
    """Rank correlation of its cells with the refusal score's; NaN where undefined."""
    share: float
    """Share of the whole difference at the refusal score's strongest place; NaN without one."""


@dataclass(frozen=True, kw_only=True)
class PersonaPatching:
    """Where the difference between two users is carried to the answer."""

    n: int
    """Forbidden test requests, each asked by both users of every couple."""
    control: str
    """The control persona, which neutral users are paired with."""
    couples: tuple[CoupleEffect, ...]
    """Users whose prompts are swapped."""
    total: Interval
    """Difference of the refusal score within a couple, nats, mean over couples and requests."""
    n_nulls: int
    """Pairs of a neutral user and the control."""
    null_range: tuple[float, float] | None
    """Where the whole difference of one more such pair would fall; None without any."""
    n_statements: int
    """Statements said of each user."""
    slots: tuple[Slot, ...]
    """Positions that all prompts have; others are patched in no table."""
    by_cell: pd.DataFrame
    """Every cell, columns :data:`TABLE_COLUMNS`."""
    routes: tuple[Route, ...]
    """The strongest place of each kind."""
    metrics: tuple[MetricGrid, ...]
    """Residuals under every other metric that there is."""
    left_out: tuple[str, ...]
    """Couples that could not be paired, with the reason."""
    by_request: pd.DataFrame
    """``first, second, prompt_id, first_score, second_score``: refusal scores without a patch."""

    @property
    def beyond_nulls(self) -> bool:
        """Whether the users differ more than neutral ones: else there is nothing to follow."""
        low, high = self.null_range or (0.0, 0.0)
        return not low <= self.total.estimate <= high
