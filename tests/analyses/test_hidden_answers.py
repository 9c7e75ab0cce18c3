"""Planted ranks are read back by layer, beside another request's answer."""

import numpy as np
import pytest
from scipy.stats import binom

from analyses.hidden_answers import hidden_answers


def test_planted_ranks_and_log_probs_are_found() -> None:
    ranks = np.array([[5, 0, 3], [5, 0, 0], [7, 0, 9], [1, 0, 0]])
    log_probs = np.array([[-4.0, -0.1, -2.0]] * 4)
    others = np.full((4, 3), 11)
    found = hidden_answers(
        log_probs,
        ranks,
        np.full((4, 3), -8.0),
        others,
        layers=(0, 3, 7),
        prompt_ids=["a", "b", "c", "d"],
        rng=np.random.default_rng(0),
    )
    table = found.by_layer.set_index("layer")
    assert found.n == 4
    assert table["top1"].to_dict() == {0: 0.0, 3: 1.0, 7: 0.5}
    assert table["median_rank"].to_dict() == {0: 5.0, 3: 0.0, 7: 1.5}
    assert table["log_prob"].to_dict() == pytest.approx({0: -4.0, 3: -0.1, 7: -2.0})
    assert (table["control_top1"] == 0.0).all()
    assert (table["control_log_prob"] == -8.0).all()
    assert (table["top1_low"] <= table["top1"]).all()
    assert (table["top1"] <= table["top1_high"]).all()
    by_request = found.by_request.set_index(["prompt_id", "layer"])["rank"]
    assert by_request["c", 7] == 9
    assert by_request["d", 0] == 1
    # Four of four is no proof of always.
    assert table.loc[3, "top1_low"] < 0.6


def test_intervals_of_the_mean_cover_it() -> None:
    rng = np.random.default_rng(1)
    ranks = np.zeros((30, 1), dtype=int)
    names = [f"r{at}" for at in range(30)]
    hits = 0
    for _ in range(60):
        values = rng.normal(-2.0, 1.0, (30, 1))
        row = hidden_answers(
            values, ranks, values, ranks, layers=(4,), prompt_ids=names, rng=rng
        ).by_layer.iloc[0]
        hits += row["log_prob_low"] <= -2.0 <= row["log_prob_high"]
    assert hits >= binom.ppf(0.001, 60, 0.95)


def test_no_request_is_an_error() -> None:
    none, ranks = np.zeros((0, 2)), np.zeros((0, 2), dtype=int)
    with pytest.raises(ValueError, match="at least one request with a known answer, got none"):
        hidden_answers(
            none, ranks, none, ranks, layers=(0, 1), prompt_ids=[], rng=np.random.default_rng(0)
        )
