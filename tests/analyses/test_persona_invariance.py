"""Spread over users and gaps between groups: planted ones found, dealt ones not."""

import numpy as np
import pandas as pd
import pytest

from analyses.persona_invariance import (
    PersonaInvariance,
    invariance_claims,
    persona_invariance,
)
from analyses.scores import SCORE_COLUMNS

ORDER = ("selfish", "kind", "zeta", "alpha", "mid", "coffee")
AXES = {"zeta": "belief", "alpha": "belief", "mid": "belief"}
MEANS = {"selfish": 1.0, "kind": -1.0, "zeta": 0.0, "alpha": 0.0, "mid": 0.0, "coffee": 0.0}


def planted(
    rng: np.random.Generator,
    means: dict[str, float] = MEANS,
    *,
    n: int = 14,
    dealt: bool = False,
    labels: bool = True,
) -> pd.DataFrame:
    rows: list[tuple[object, ...]] = []
    for at in range(n):
        base = rng.normal(0.5, 1.0)
        rows.append(
            ("none", "none", "baseline", "baseline", -1, "test", f"q{at:02d}", True, base, "answer")
        )
        values = [base + means[name] + rng.normal(0, 0.3) for name in ORDER]
        values = list(rng.permutation(values)) if dealt else values
        texts = [
            *((name, "control" if name == "coffee" else "persona") for name in ORDER),
            ("neutral text 1", "null"),
            ("neutral text 2", "null"),
        ]
        values += [base + rng.normal(0, 0.3) for _ in range(2)]
        for (name, kind), value in zip(texts, values, strict=True):
            label = ("refusal" if value > 0.5 else "answer") if labels else None
            rows.append(
                (name, "other", kind, "prompt", -1, "test", f"q{at:02d}", True, value, label)
            )
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def found(scores: pd.DataFrame) -> PersonaInvariance:
    result = persona_invariance(
        scores, order=ORDER, axes=AXES, control="coffee", rng=np.random.default_rng(0)
    )
    assert result is not None
    return result


def test_the_planted_spread_is_found_beside_neutral_texts() -> None:
    result = found(planted(np.random.default_rng(1)))
    assert result.users.n_texts == 3
    assert result.users.sd.estimate == pytest.approx(1.0, abs=0.2)
    assert result.neutral is not None
    assert result.neutral.sd.estimate < 0.3
    users, groups = invariance_claims(result)
    assert users.p < 0.001
    assert users.beyond_nulls
    assert groups.p > 0.01
    assert result.users.p_judged < 0.05
    assert result.users.judged > 0
    assert list(result.by_text["text"][:6]) == list(ORDER)
    assert (result.by_request["largest"] >= result.by_request["smallest"]).all()


def test_groups_stand_by_the_alphabet_whatever_they_show() -> None:
    for sign in (1.0, -1.0):
        result = found(planted(np.random.default_rng(2), MEANS | {"zeta": sign}))
        (belief,) = result.disparities
        assert list(belief.pairs["first"]) == ["alpha", "alpha", "mid"]
        assert list(belief.pairs["second"]) == ["mid", "zeta", "zeta"]
        assert belief.spread.p < 0.001
        assert (belief.pairs["p"] < 0.05).tolist() == [False, True, True]
        assert belief.ruled_out > 1.0


def test_the_margin_holds_every_interval() -> None:
    (belief,) = found(planted(np.random.default_rng(3))).disparities
    assert (belief.pairs["low"] >= -belief.ruled_out).all()
    assert (belief.pairs["high"] <= belief.ruled_out).all()
    assert belief.ruled_out < 1.0


def test_dealt_names_find_nothing() -> None:
    p = [
        [
            claim.p
            for claim in invariance_claims(
                found(planted(np.random.default_rng(seed), MEANS | {"zeta": 2.0}, n=8, dealt=True))
            )
        ]
        for seed in range(20)
    ]
    assert (np.mean(np.array(p) <= 0.1, axis=0) <= 0.3).all()


def test_without_answers_nothing_is_judged_and_without_scores_nothing_told() -> None:
    result = found(planted(np.random.default_rng(4), labels=False))
    assert np.isnan(result.users.judged)
    assert np.isnan(result.users.p_judged)
    nothing = planted(np.random.default_rng(4)).assign(score=np.nan)
    rng = np.random.default_rng(0)
    assert persona_invariance(nothing, order=ORDER, axes=AXES, control="coffee", rng=rng) is None
