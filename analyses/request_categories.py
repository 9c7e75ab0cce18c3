"""What is asked for: does the effect of who asks hang on it?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Shaped

from analyses._category_rows import (
    TREATMENTS,
    Column,
    difference,
    is_shown,
    rows,
)
from analyses.claims import Claim
from analyses.scores import Arm, ScoreTable, Treatment
from lens_personas.statistics import (
    Interval,
    between_share,
    interaction_p,
    null_range,
    unpaired_bootstrap,
)

POOLED = "other"
"""Category of requests that have none, or one with too few requests."""


MIN_REQUESTS = 3
"""Requests of a category below which it is pooled."""


@dataclass(frozen=True, kw_only=True)
class CategoryInteraction:
    """Whether the difference from the control varies over categories, most of all arms."""

    persona: str
    """Persona whose difference varies most, for its size and noise."""
    treatment: Treatment
    """Treatment under which it does."""
    most: str
    """Category with the greatest mean difference from the control."""
    least: str
    """Category with the smallest."""
    contrast: Interval
    """Mean difference in ``most`` less that in ``least``, in nats; the choice of the two is not
    in the interval, but it is in ``p``."""
    share: float
    """Share of the difference's variance over requests that lies between categories, 0 to 1."""
    null_share: float
    """Where the share of one more null could lie under that treatment and layer, at most, and no
    less than that of any; 1 where few nulls leave it open, NaN without nulls."""
    p: float
    """p that no arm's difference varies over categories, the best of all arms accounted for."""


@dataclass(frozen=True, kw_only=True)
class RequestCategories:
    """Effect of every persona by what is asked for."""

    n: int
    """Harmful test requests."""
    n_harmless: int
    """Harmless test requests."""
    alpha: float
    """Level at which a variation is called found."""
    categories: tuple[str, ...]
    """Categories of the harmful requests, after pooling."""
    pooled: tuple[str, ...]
    """Categories with too few requests, which went into ``other``."""
    by_category: pd.DataFrame
    """One row a ``category``, ``persona`` (and its ``group``) and ``treatment``, at the ``layer``
    chosen for it (-1 for text): ``n`` requests; mean ``change`` of refusal log-odds with
    bootstrap interval ``low, high``; the control's ``control``; their ``difference`` with
    ``difference_low, difference_high`` (nats); the change of the probability of refusal
    (``points``, -1 to 1); and of the share answered where answers were judged (``answered``, -1
    to 1, else NaN)."""
    by_persona: pd.DataFrame
    """One row a ``persona`` and ``treatment``: ``share`` of the variance of its difference from
    the control that lies between categories, ``p`` of it alone, ``p_persona`` over its
    treatments, ``p_overall`` over all."""
    interaction: CategoryInteraction | None
    """The test over all arms; None with fewer than two categories."""


def request_categories(
    scores: pd.DataFrame,
    *,
    categories: Mapping[str, str | None],
    chosen: Mapping[tuple[str, str], int],
    control: str,
    rng: np.random.Generator,
    alpha: float = 0.05,
) -> RequestCategories | None:
    """Effects by category, and the test that they do not vary; None without scores.

    Requests that are named benign stand with the harmless ones.

    Args:
        scores: One row for each arm and request, columns :data:`analyses.scores.SCORE_COLUMNS`.
        categories: Category of each request, by ``prompt_id``.
        chosen: Layer of each persona and treatment, -1 for text.
        control: Name of the control persona.
        rng: Source of every draw.
        alpha: Level at which a variation is called found.

    Raises:
        ValueError: As :meth:`analyses.scores.ScoreTable.of`.
    """
    table = ScoreTable.of(_known(scores, categories), control=control)
    if not any(key[3:] == ("test", True) for key in table.cells):
        return None
    own, pooled = _pooled([categories.get(str(i)) for i in table.baseline("test").prompt_ids])
    arms = [(a, chosen.get((a.persona, a.treatment), -1)) for a in table.arms if is_shown(a)]
    columns = [Column(arm=a, layer=at, difference=difference(table, a, at)) for a, at in arms]
    columns = [column for column in columns if np.isfinite(column.difference).all()]
    if not columns:
        return None
    harmless = table.at("none", "baseline", -1, "test", harmful=False)
    tested = _tested([c for c in columns if c.arm.kind == "persona"], own, rng)
    return RequestCategories(
        n=len(own),
        n_harmless=0 if harmless is None else len(harmless.score),
        alpha=alpha,
        categories=tuple(dict.fromkeys(own)),
        pooled=pooled,
        by_category=pd.DataFrame(
            [row for arm, layer in arms for row in rows(table, arm, layer, own, rng)]
        ),
        by_persona=tested,
        interaction=_interaction(table, columns, tested, own, rng),
    )


def category_claims(result: RequestCategories) -> tuple[Claim, ...]:
    """One claim: that what a persona does hangs on what is asked for."""
    found = result.interaction
    if found is None:
        return ()
    return (
        Claim(
            part="categories",
            statement="what a persona does to refusal hangs on what is asked for",
            refuted_by="differences from the control that vary between categories no more than "
            "those of requests whose signs are flipped at random, largest of all personas and "
            "treatments, or no more than the nulls' do",
            n=result.n,
            estimate=found.contrast,
            unit="nats between two categories",
            control=None,
            p=found.p,
            beyond_nulls=not found.share <= found.null_share,
        ),
    )


def _known(scores: pd.DataFrame, categories: Mapping[str, str | None]) -> pd.DataFrame:
    """Test scores under text and vectors; requests that are named benign count as harmless."""
    kept = scores[(scores["split"] == "test") & scores["treatment"].isin(("baseline", *TREATMENTS))]
    benign = [i for i, name in categories.items() if (name or "").strip().lower() == "benign"]
    return kept.assign(harmful=kept["harmful"].astype(bool) & ~kept["prompt_id"].isin(benign))


def _pooled(
    names: Sequence[str | None],
) -> tuple[Shaped[np.ndarray, " prompt"], tuple[str, ...]]:
    """Category of each request after pooling, and what was pooled."""
    given = [name or POOLED for name in names]
    few = sorted({n for n in given if given.count(n) < MIN_REQUESTS and n != POOLED})
    return np.array([POOLED if n in few else n for n in given], dtype=object), tuple(few)


def _tested(
    columns: Sequence[Column], own: Shaped[np.ndarray, " prompt"], rng: np.random.Generator
) -> pd.DataFrame:
    names = {
        "persona": [c.arm.persona for c in columns],
        "treatment": [c.arm.treatment for c in columns],
    }
    table = pd.DataFrame(names)
    if not columns or len(set(own)) < 2:
        return table.assign(share=np.nan, p=np.nan, p_persona=np.nan, p_overall=np.nan)
    differences = np.stack([c.difference for c in columns], axis=1)
    families = [
        np.arange(len(columns)),
        table["persona"].factorize()[0],
        np.zeros(len(columns), dtype=np.int64),
    ]
    p = interaction_p(differences, own, families, rng=rng)
    return table.assign(
        share=between_share(differences, own), p=p[0], p_persona=p[1], p_overall=p[2]
    )


def _interaction(
    table: ScoreTable,
    columns: Sequence[Column],
    tested: pd.DataFrame,
    own: Shaped[np.ndarray, " prompt"],
    rng: np.random.Generator,
) -> CategoryInteraction | None:
    if not len(tested) or tested["share"].isna().all():
        return None
    best = tested.sort_values("share", ascending=False, kind="stable").iloc[0]
    (column,) = (
        c
        for c in columns
        if (c.arm.persona, c.arm.treatment) == (best["persona"], best["treatment"])
    )
    means = {str(name): float(column.difference[own == name].mean()) for name in dict.fromkeys(own)}
    most, least = max(means, key=lambda n: means[n]), min(means, key=lambda n: means[n])
    return CategoryInteraction(
        persona=column.arm.persona,
        treatment=column.arm.treatment,
        most=most,
        least=least,
        contrast=unpaired_bootstrap(
            column.difference[own == most], column.difference[own == least], rng=rng
        ),
        share=float(best["share"]),
        null_share=_null_share(table, column, own),
        p=float(best["p_overall"]),
    )


def _null_share(table: ScoreTable, column: Column, own: Shaped[np.ndarray, " prompt"]) -> float:
    treatment = column.arm.treatment
    differences = [
        difference(
            table, Arm(persona=name, treatment=treatment, group="null", kind="null"), column.layer
        )
        for name in table.names("null", treatment)
    ]
    finite = [each for each in differences if np.isfinite(each).all()]
    if not finite:
        return float("nan")
    # The best of many personas would pass the greatest of a few nulls by chance.
    reach = null_range(between_share(np.stack(finite, axis=1), own))
    return float("nan") if reach is None else min(reach[1], 1.0)
