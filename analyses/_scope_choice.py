"""With which prompt, layers and scale a Patchscope reads best, on requests kept for that."""

from typing import cast

import numpy as np
import pandas as pd

from analyses._scope_types import Place, ScopeSetting

CHOICE_COLUMNS = (
    "place",
    "target",
    "target_layer",
    "scale",
    "source_layer",
    "persona",
    "prompt_id",
    "score",
    "mass",
    "asked",
)
"""Columns of the readings that settings are chosen by, all under persona texts; ``asked`` is the
text whose next word is the reading."""

_CELL = ["place", "target", "target_layer", "scale", "source_layer"]


def sweep_gaps(choice: pd.DataFrame, *, control: str) -> pd.DataFrame:
    """Mean absolute difference of personas from the control, and mass, of every setting.

    Columns ``place, target, target_layer, scale, source_layer, gap, mass``.
    """
    rows = []
    for cell, here in choice.groupby(_CELL, sort=False):
        means = here.groupby("persona")["score"].mean()
        gaps = (means.drop(control) - means[control]).abs()
        named = dict(zip(_CELL, cell, strict=True))
        rows.append(named | {"gap": float(gaps.mean()), "mass": float(here["mass"].mean())})
    return pd.DataFrame(rows, columns=[*_CELL, "gap", "mass"])


def choose_settings(sweep: pd.DataFrame, *, paper_layer: int) -> tuple[ScopeSetting, ...]:
    """The setting of each place with the greatest gap; the first of equals."""
    return tuple(
        _chosen(str(place), here, paper_layer) for place, here in sweep.groupby("place", sort=False)
    )


def _chosen(place: str, here: pd.DataFrame, paper_layer: int) -> ScopeSetting:
    best = here.iloc[int(here["gap"].fillna(-np.inf).to_numpy().argmax())]
    plain = here[(here["target_layer"] == paper_layer) & (here["scale"] == 1.0)]
    return ScopeSetting(
        place=cast(Place, place),
        target=str(best["target"]),
        target_layer=int(best["target_layer"]),
        scale=float(best["scale"]),
        source_layer=int(best["source_layer"]),
        gap=float(best["gap"]),
        paper_layer=paper_layer,
        paper_gap=float(plain["gap"].max()) if len(plain) else float("nan"),
    )


def paper_target_layer(n_layers: int) -> int:
    """Target layer at the paper's share of the depth: 3 of 40.

    >>> paper_target_layer(40), paper_target_layer(8)
    (3, 1)

    """
    return min(n_layers - 1, max(0, round(3 / 40 * n_layers)))
