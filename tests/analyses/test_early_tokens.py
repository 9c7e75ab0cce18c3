"""A layer's own token is told from forcing any token, and unions from as many other tries."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from analyses.early_tokens import EARLY_COLUMNS, EarlyTest, EarlyTokens, early_tokens

TRIES = (0, 1, 2)
RATES = {"early": 0.3, "shuffled": 0.3, "opener": 0.3, "random": 0.1, "sampled": 0.1}


def answers(
    rng: np.random.Generator,
    *,
    n: int = 40,
    rates: dict[str, float] | None = None,
    exact: dict[str, float] | None = None,
    best: float | None = None,
) -> pd.DataFrame:
    """Judged answers drawn at a rate a source; ``best`` is the own token's rate at layer 1."""
    rates = RATES | (rates or {})
    rows = [(f"r{i}", "plain", -1, "", "refusal", 0.0) for i in range(n)]
    for source, layer, i in itertools.product(rates, TRIES, range(n)):
        rate = best if best is not None and (source, layer) == ("early", 1) else rates[source]
        label = "answer" if rng.random() < rate else "refusal"
        hit = float(rng.random() < (exact or {}).get(source, 0.0))
        rows.append((f"r{i}", source, layer, "so", label, hit if exact is not None else np.nan))
    found = pd.DataFrame(rows, columns=list(EARLY_COLUMNS))
    return found if exact is not None else found.assign(exact=np.nan)


def asked(table: pd.DataFrame, seed: int = 0, per_unit: int = 1) -> EarlyTokens:
    names = sorted(set(table["prompt_id"]), key=lambda name: int(name[1:]))
    clusters = {name: f"u{at // per_unit}" for at, name in enumerate(names)}
    return early_tokens(table, tries=TRIES, clusters=clusters, rng=np.random.default_rng(seed))


def only(found: EarlyTokens, outcome: str) -> EarlyTest:
    (test,) = (each for each in found.tests if each.outcome == outcome)
    return test


def test_a_planted_layer_is_found_and_named() -> None:
    found = asked(answers(np.random.default_rng(0), best=0.95))
    test = only(found, "answered")
    assert test.layer == 1
    assert test.p < 1e-3
    assert test.beyond_nulls
    assert test.own.estimate > 0.85
    assert test.difference.low < 0.65 < test.difference.high
    by_layer = found.by_layer.set_index(["source", "layer"])
    assert by_layer.loc[("early", 1), "answered_p"] == test.p
    assert by_layer.loc[("early", 0), "answered_p"] > 0.05
    assert by_layer.loc[("shuffled", 1), "answered_p"] != by_layer.loc[("early", 1), "answered_p"]


def test_forcing_any_token_is_not_taken_for_what_a_layer_knows() -> None:
    """Own and other tokens open all answers; only the known answers tell them apart."""
    rates = {"early": 1.0, "shuffled": 1.0, "opener": 1.0, "random": 0.0, "sampled": 0.0}
    exact = {"early": 0.9, "shuffled": 0.05, "opener": 0.05}
    found = asked(answers(np.random.default_rng(1), rates=rates, exact=exact))
    judged, known = only(found, "answered"), only(found, "exact")
    assert judged.p == judged.union_p == 1.0
    assert not judged.beyond_nulls
    assert not judged.union_beyond_nulls
    assert known.p < 1e-3
    assert known.union_p < 1e-3
    assert known.union_beyond_nulls


def test_nothing_planted_is_found_at_no_more_than_the_nominal_rate() -> None:
    p = []
    for seed in range(40):
        found = asked(answers(np.random.default_rng(seed), n=10), seed)
        test = only(found, "answered")
        p += [(test.p, test.union_p)]
    for each in np.array(p).T:
        assert (each < 0.1).sum() <= binom.ppf(0.999, len(p), 0.1)
        assert (each > 0.2).any()


def test_requests_with_one_answer_are_one_unit() -> None:
    """Four units of ten alike requests: 2⁴ sign patterns cannot give a small p."""
    rates = {"early": 1.0, "shuffled": 0.0}
    table = answers(np.random.default_rng(2), rates=rates)
    grouped, single = (only(asked(table, per_unit=k), "answered") for k in (10, 1))
    assert grouped.n == single.n == 40
    assert (grouped.n_clusters, single.n_clusters) == (4, 40)
    assert grouped.p == grouped.union_p == 2 / 2**4
    assert single.p < 1e-4


def test_a_union_counts_the_greedy_answer_and_every_try_once() -> None:
    rows = [("a", "plain", -1, "", "answer", 1.0), ("b", "plain", -1, "", "refusal", 0.0)]
    for source, layer in itertools.product(RATES, TRIES):
        label = "answer" if (source, layer) == ("early", 2) else "refusal"
        rows += [("a", source, layer, "", "refusal", 0.0), ("b", source, layer, "", label, 0.0)]
    found = asked(pd.DataFrame(rows, columns=list(EARLY_COLUMNS)).replace({"a": "r0", "b": "r1"}))
    unions = found.unions.set_index("source")
    assert unions["answered"].to_dict() == {
        "plain": 0.5,
        "early": 1.0,
        "shuffled": 0.5,
        "opener": 0.5,
        "random": 0.5,
        "sampled": 0.5,
    }
    assert unions["tries"].to_dict() == {"plain": 0} | dict.fromkeys(RATES, 3)
    assert unions.loc["sampled", "answered_gain"] == 0.5
    assert np.isnan(unions.loc["early", "answered_gain"])


def test_more_tries_raise_a_union_though_no_layer_is_better() -> None:
    """Why a union is held against as many tries and not against the greedy answer."""
    found = asked(answers(np.random.default_rng(3), n=60))
    unions = found.unions.set_index("source")
    assert unions.loc["plain", "answered_p"] < 1e-3
    assert unions.loc["shuffled", "answered_p"] > 0.01


def test_what_is_not_known_or_not_made_is_left_out() -> None:
    table = answers(np.random.default_rng(4))
    found = asked(table)
    assert [test.outcome for test in found.tests] == ["answered"]
    assert found.by_layer["exact"].isna().all()
    assert found.unions["exact"].isna().all()
    lacking = asked(table[table["source"] != "opener"])
    assert np.isnan(lacking.unions.set_index("source").loc["opener", "answered"])
    assert len(lacking.tests) == 1
    no_layer = early_tokens(
        table[table["layer"] == -1], tries=(), clusters={}, rng=np.random.default_rng(0)
    )
    assert no_layer.tests == ()
    with pytest.raises(ValueError, match="greedy answers to the requests alone, got none"):
        asked(table[table["source"] != "plain"])
