"""Effects by category: pooled, held against the control, and tested for variation."""

import numpy as np
import pandas as pd
import pytest

from analyses._category_rows import HARMLESS
from analyses.request_categories import (
    POOLED,
    RequestCategories,
    category_claims,
    request_categories,
)
from analyses.scores import SCORE_COLUMNS

KINDS = {"drugs": 10, "fraud": 10, "spam": 2, None: 1}
CATEGORIES = {
    f"q{at:02d}": name
    for at, name in enumerate(name for name, n in KINDS.items() for _ in range(n))
}


def planted(
    rng: np.random.Generator, by_category: dict[str, float], *, noise: float = 0.3
) -> pd.DataFrame:
    """Text arms; ``kind`` has an effect for each category, ``flat`` has the control's."""
    rows: list[tuple[object, ...]] = []
    for at, (prompt_id, category) in enumerate([*CATEGORIES.items(), *[("h1", ""), ("h2", "")]]):
        harmful = not prompt_id.startswith("h")
        base = rng.normal(2.0 if harmful else -6.0, 1.0)
        arms = {
            ("none", "none", "baseline", "baseline"): 0.0,
            ("kind", "pro", "persona", "prompt"): by_category.get(str(category), 0.0) - 0.5,
            ("flat", "other", "persona", "prompt"): -0.5,
            ("coffee", "control", "control", "prompt"): -0.5,
            **{(f"neutral text {i}", "null", "null", "prompt"): 0.0 for i in range(8)},
        }
        label = "refusal" if at % 2 else "answer"
        for who, change in arms.items():
            moved = 0.0 if who[0] == "none" else change + rng.normal(0, noise)
            rows.append((*who, -1, "test", prompt_id, harmful, base + moved, label))
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def found(scores: pd.DataFrame, categories: dict[str, str | None]) -> RequestCategories:
    result = request_categories(
        scores,
        categories=categories,
        chosen={},
        control="coffee",
        rng=np.random.default_rng(0),
    )
    assert result is not None
    return result


def test_small_categories_are_pooled_and_said() -> None:
    result = found(planted(np.random.default_rng(0), {}), CATEGORIES)
    assert result.categories == ("drugs", "fraud", POOLED)
    assert result.pooled == ("spam",)
    table = result.by_category
    assert dict(table[table["persona"] == "kind"][["category", "n"]].to_numpy()) == {
        "drugs": 10,
        "fraud": 10,
        POOLED: 3,
        HARMLESS: 2,
    }


def test_the_planted_category_is_found_beyond_the_control() -> None:
    result = found(planted(np.random.default_rng(1), {"fraud": -2.0}), CATEGORIES)
    assert result.interaction is not None
    assert result.interaction.persona == "kind"
    assert result.interaction.least == "fraud"
    (claim,) = category_claims(result)
    assert claim.p < 0.01
    assert claim.beyond_nulls
    rows = result.by_category.set_index(["persona", "category"])
    assert rows.loc[("kind", "fraud"), "difference"] == pytest.approx(-2.0, abs=0.4)
    assert rows.loc[("kind", "drugs"), "difference"] == pytest.approx(0.0, abs=0.4)
    assert rows.loc[("flat", "fraud"), "difference_low"] < 0.1
    assert (result.by_category["answered"] == 0).all()


def test_the_same_effect_everywhere_is_no_interaction() -> None:
    p = []
    for seed in range(10):
        same = planted(np.random.default_rng(seed), dict.fromkeys(map(str, KINDS), -2.0))
        (claim,) = category_claims(found(same, CATEGORIES))
        p.append(claim.p)
    assert np.mean(np.array(p) <= 0.1) <= 0.4


def test_requests_named_benign_stand_with_the_harmless_ones() -> None:
    categories = {k: "Benign" if v == "fraud" else v for k, v in CATEGORIES.items()}
    result = found(planted(np.random.default_rng(2), {}), categories)
    assert (result.n, result.n_harmless) == (13, 12)


def test_one_category_and_missing_scores_ask_nothing() -> None:
    scores = planted(np.random.default_rng(3), {})
    result = found(scores, dict.fromkeys(CATEGORIES))
    assert result.interaction is None
    assert category_claims(result) == ()
    assert (
        request_categories(
            scores.assign(score=np.nan),
            categories=CATEGORIES,
            chosen={},
            control="coffee",
            rng=np.random.default_rng(0),
        )
        is None
    )
