"""What a model writes of a state that stands in another prompt."""

from dataclasses import dataclass

import pandas as pd

TEXT_COLUMNS = (
    "persona",
    "group",
    "kind",
    "place",
    "asked",
    "prompt_id",
    "text",
    "n_tokens",
    "finished",
    "degenerate",
)
"""Columns of the texts, one row for each arm (persona as text), place, question and request."""


@dataclass(frozen=True, kw_only=True)
class FreeTexts:
    """Greedy descriptions of the user's tendencies, the request's nature and its motive."""

    n: int
    """Texts."""
    summary: pd.DataFrame
    """By ``place, asked, group``: ``n`` texts, ``n_distinct`` different ones, mean ``n_tokens``,
    share ``finished`` and share ``degenerate``."""
    by_request: pd.DataFrame
    """Every text, columns :data:`TEXT_COLUMNS`; what a model says of a harmful request may be
    harmful, so reports show none of it."""


def free_texts(texts: pd.DataFrame) -> FreeTexts | None:
    """Counts and lengths of the texts; None without any."""
    if texts.empty:
        return None
    groups = texts.groupby(["place", "asked", "group"], sort=False)
    summary = groups.agg(
        n=("text", "size"),
        n_distinct=("text", "nunique"),
        n_tokens=("n_tokens", "mean"),
        finished=("finished", "mean"),
        degenerate=("degenerate", "mean"),
    )
    return FreeTexts(
        n=len(texts), summary=summary.reset_index(), by_request=texts.reset_index(drop=True)
    )
