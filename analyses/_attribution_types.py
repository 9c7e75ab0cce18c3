"""What a study of attribution is made of: foretold and real grids, and what comes of them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from analyses._patching_types import PatchKind, Place, Slot
from lens_personas.statistics import FaithfulnessCurve, Interval

ForetoldBy = Literal["plain", "integrated"]
"""Where gradients are taken: at the second user's run, or on the way to the first one's."""


@dataclass(frozen=True, kw_only=True)
class Foretold:
    """One grid twice: foretold from gradients, and patched for real."""

    kind: PatchKind
    """What is patched."""
    method: ForetoldBy
    """How it was foretold."""
    places: tuple[Place, ...]
    """Cells."""
    predicted: Float[np.ndarray, "couple request place"]
    """What each patch is foretold to move towards the first user, nats."""
    patched: Float[np.ndarray, "couple request place"]
    """What it moves, nats."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How well the patches of one grid are foretold."""

    kind: PatchKind
    """What is patched."""
    method: ForetoldBy
    """How it was foretold."""
    n_cells: int
    """Cells in which any prompt can change."""
    spearman: Interval
    """Rank correlation over cells of the mean changes, foretold and real; resampled by request."""
    by_pair: Interval
    """Mean over pairs of the rank correlation over their own cells; resampled by request."""
    halves: float
    """Rank correlation of the real grid of one half of the requests with that of the other: what
    any request's grid would foretell of another's; NaN where undefined."""
    slope: float
    """Real change for each nat that is foretold, least squares through 0: below 1 where the
    gradient promises too much."""
    top: int
    """Cells that are looked at more closely: those foretold to move most."""
    top_spearman: float
    """Rank correlation over them; NaN where undefined."""
    top_shared: int
    """How many of them are among as many that really move most."""


@dataclass(frozen=True, kw_only=True)
class PersonaAttribution:
    """How far gradients foretell what patches between two users do."""

    n: int
    """Forbidden test requests, each asked by both users of every couple."""
    couples: tuple[tuple[str, str], ...]
    """The two users of each couple."""
    slots: tuple[Slot, ...]
    """Positions that all prompts have."""
    agreements: tuple[Agreement, ...]
    """One for each kind and method."""
    by_cell: pd.DataFrame
    """``kind, method, layer, head, slot, place, token, predicted, patched``: mean changes, nats."""
    edges: pd.DataFrame
    """The edges foretold to carry most: ``rank, source, target, estimate, low, high, share``,
    nats and share of the whole difference; empty where edges are not defined."""
    n_edges: int
    """Edges of the model; 0 where they are not defined."""
    curve: FaithfulnessCurve | None
    """What the first edges carry alone, by their number; None where edges are not defined."""
    n_curve: int
    """Requests that the curve was run on."""
    curve_apart: bool
    """Whether those are other requests than the edges were ranked on."""
