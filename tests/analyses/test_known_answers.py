"""A planted answer is found where it was planted; where none is, p is as often small as it says."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from analyses.known_answers import (
    OTHER,
    OWN,
    RANDOM,
    REFUSAL,
    KnownAnswers,
    known_answer_claims,
    known_answers,
)

LAYERS = (0, 3, 7)
OUTPUT = 7
FIRST = {OWN: 0, REFUSAL: 0}


def readings(
    means: dict[str, dict[int, float]],
    *,
    units: int = 12,
    a_unit: int = 2,
    noise: float = 0.5,
    lenses: tuple[str, ...] = ("logit", "tuned"),
    seed: int = 0,
) -> pd.DataFrame:
    """Answers with a planted mean log-probability a token by layer; those of a unit agree."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for answer, by_layer in means.items():
        for unit in range(units):
            shared = rng.normal(0, noise)
            for request in range(a_unit):
                for lens in lenses:
                    for layer, mean in by_layer.items():
                        value = mean + shared + rng.normal(0, 0.01)
                        rows.append(
                            {
                                "prompt_id": f"r{unit}-{request}",
                                "unit": f"answer {unit}",
                                "answer": answer,
                                "lens": lens,
                                "layer": layer,
                                "first_log_prob": value,
                                "first_rank": 0 if value > -1.5 else 5,
                                "whole_log_prob": 3.0 * value,
                                "n_tokens": 3.0,
                            }
                        )
    return pd.DataFrame(rows)


def flat(value: float) -> dict[int, float]:
    return dict.fromkeys(LAYERS, value)


def found(table: pd.DataFrame, seed: int = 0, **options: Any) -> KnownAnswers:
    return known_answers(table, output=OUTPUT, rng=np.random.default_rng(seed), **options)


def at(result: KnownAnswers, lens: str, layer: int) -> pd.Series:
    return result.by_layer.set_index(["lens", "layer"]).loc[(lens, layer)]


def test_a_planted_answer_is_found_at_its_layer() -> None:
    table = readings(
        {
            OWN: {0: -6.0, 3: -0.2, 7: -6.0},
            OTHER: flat(-6.0),
            "other 2": flat(-6.0),
            "other 3": flat(-6.0),
        },
        noise=0.1,
    )
    result = found(table)
    assert (result.n, result.n_units) == (24, 12)
    assert result.best_layer == 3
    assert result.difference is not None
    assert result.difference.estimate == pytest.approx(5.8, abs=0.1)
    assert result.difference.excludes(0.0)
    assert result.p < 0.01
    row = at(result, "logit", 3)
    assert (row["top1"], row["other_top1"], row["median_rank"]) == (1.0, 0.0, 0.0)
    assert row["whole"] == pytest.approx(3 * row["per_token"])
    assert at(result, "logit", 0)["p"] > 0.01
    (claim,) = known_answer_claims(result)
    assert claim.beyond_nulls
    assert claim.n == 12
    assert claim.p == result.p


def test_the_output_is_shown_and_never_claimed() -> None:
    table = readings({OWN: {0: -6.0, 3: -6.0, 7: -0.2}, OTHER: flat(-6.0)}, noise=0.1)
    result = found(table)
    assert result.best_layer != OUTPUT
    assert np.isnan(at(result, "logit", OUTPUT)["p"])
    assert at(result, "logit", OUTPUT)["top1"] == 1.0
    only = found(table[table["layer"] == OUTPUT])
    assert only.difference is None
    assert known_answer_claims(only) == ()


def test_an_answer_below_the_others_is_never_chosen_over_one_above() -> None:
    table = readings({OWN: {0: -9.0, 3: -5.9, 7: -6.0}, OTHER: flat(-6.0)}, noise=0.01)
    result = found(table)
    assert result.best_layer == 3


def test_a_difference_that_wrong_answers_show_too_is_not_beyond_the_nulls() -> None:
    table = readings({OWN: flat(-1.0), OTHER: flat(-6.0), "other 2": flat(-0.5)}, noise=0.1)
    result = found(table)
    assert result.null_high > 5.0
    assert not known_answer_claims(result)[0].beyond_nulls
    alone = found(table[table["answer"] != "other 2"])
    assert np.isnan(alone.null_high)
    assert known_answer_claims(alone)[0].beyond_nulls


def test_where_nothing_is_planted_p_is_small_as_often_as_it_says() -> None:
    # Answers of one unit agree: taken one by one they would be far too sure.
    runs, small = 40, 0
    for seed in range(runs):
        table = readings(
            {OWN: flat(-5.0), OTHER: flat(-5.0)}, units=8, a_unit=3, seed=seed, lenses=("logit",)
        )
        small += found(table, seed).p < 0.05
    assert small <= binom.ppf(0.999, runs, 0.05)


def test_requests_of_one_answer_count_once() -> None:
    means = {OWN: flat(-5.0), OTHER: flat(-5.4)}
    one, many = (found(readings(means, units=6, a_unit=n, noise=1.0)) for n in (1, 20))
    assert one.n_units == many.n_units == 6
    # 2**6 sign patterns: no smaller p can come of six answers, however often each is asked for.
    assert many.p >= 2 / 2**6
    assert known_answer_claims(many)[0].n == 6


def test_the_tuned_lens_tells_when_the_refusal_is_decided() -> None:
    means = {OWN: flat(-5.0), OTHER: flat(-6.0)}
    decided = readings(means | {REFUSAL: {0: -6.0, 3: -0.1, 7: -0.1}}, noise=0.1)
    assert found(decided).decided_at == 3
    # What it shows for a while and then no more is not yet decided.
    back = readings(means | {REFUSAL: {0: -0.1, 3: -6.0, 7: -0.1}}, noise=0.1)
    assert found(back).decided_at == 7
    assert found(readings(means)).decided_at is None
    assert found(decided[decided["lens"] == "logit"]).decided_at is None


def test_what_was_not_looked_up_is_missing() -> None:
    row = at(found(readings({OWN: flat(-1.0), OTHER: flat(-6.0)})), "logit", 3)
    assert np.isnan([row["random_top1"], row["refusal_log_prob"], row["null_high"]]).all()
    extra = readings({OWN: flat(-1.0), OTHER: flat(-6.0), RANDOM: flat(-7.0)}, noise=0.0)
    assert at(found(extra), "logit", 3)["random_log_prob"] == pytest.approx(-7.0, abs=0.1)


def test_what_cannot_be_compared_is_refused() -> None:
    table = readings({OWN: flat(-1.0), OTHER: flat(-6.0)})
    with pytest.raises(ValueError, match="own and other answers, got none of one"):
        found(table[table["answer"] == OWN])
    with pytest.raises(ValueError, match=r"\['unit'\] are missing"):
        found(table.drop(columns="unit"))
