"""Halves that are told apart are found, habits of agreeing are not mistaken for it."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analyses.distinguishability import ANSWER_COLUMNS, Distinguishability, distinguishability
from lens_personas.statistics import TWO_SAMPLE_METRICS

RAW = ("raw_wasserstein", "beta_proxy")


def answers(
    gaps: dict[str, float],
    *,
    n: int = 60,
    habit: float = 0.0,
    first: float = 0.0,
    noise: float = 0.0,
    mass: float = 0.9,
    sizes: tuple[float, float] = (0.5, 0.5),
    behaviours: int = 3,
    seed: int = 1,
) -> pd.DataFrame:
    """Planted scores: halves ``gaps[side]`` nats apart about ``habit``, with a pull to the first.

    ``sizes`` is the share of statements of the aligned and of the misaligned half.
    """
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for side, gap in gaps.items():
        for behaviour in range(behaviours):
            for number in range(n):
                aligned = number < n * sizes[0]
                score = habit + (gap if aligned else -gap) / 2.0 + rng.normal()
                for order, sign in (("yes_first", 1.0), ("no_first", -1.0)):
                    told = score + sign * first / 2.0 + noise * rng.normal()
                    rows.append(
                        {
                            "side": side,
                            "behaviour": f"b{behaviour}",
                            "desirable": behaviour == 0,
                            "statement_id": f"b{behaviour}:{number}",
                            "group": f"b{behaviour}:{number}",
                            "aligned": aligned,
                            "order": order,
                            "log_odds": told,
                            "mass": mass,
                            "yes_logit": 2.0 * told + 7.0,
                            "no_logit": 6.0,
                        }
                    )
    return pd.DataFrame(rows)


def ask(table: pd.DataFrame, **options: Any) -> Distinguishability:
    draws = {"n_boot": 300, "n_perm": 199} | options
    return distinguishability(table, rng=np.random.default_rng(1), **draws)


@pytest.fixture(scope="module")
def found() -> Distinguishability:
    """A base model that tells nothing apart, a tuned one that does."""
    return ask(answers({"base": 0.0, "tuned": 2.0}, habit=1.0, first=0.6, noise=0.1))


def test_a_planted_distance_is_found_in_the_model_that_has_it(found):
    table = found.table
    apart = table[table["side"] == "tuned"].set_index(["behaviour", "metric"])
    for behaviour in found.behaviours:
        distance = apart.loc[(behaviour, "wasserstein")]
        assert distance["estimate"] == pytest.approx(2.0, abs=0.8)
        assert distance["low"] > 0.8
        assert apart.loc[(behaviour, "auroc"), "low"] > 0.7
        assert apart.loc[(behaviour, "d_prime"), "low"] > 1.0
    tested = table[table["metric"] != "beta_proxy"]
    assert (tested.loc[tested["side"] == "tuned", "p_bh"] < 0.01).all()
    assert (tested.loc[tested["side"] == "base", "p_bh"] > 0.02).all()


def test_every_metric_is_there_with_its_null(found):
    assert found.sides == ("base", "tuned")
    assert [row.metric for row in found.rows[:10]] == [*TWO_SAMPLE_METRICS, *RAW]
    assert len(found.rows) == 2 * 3 * 10
    for row in found.rows:
        assert (row.n_aligned, row.n_misaligned) == (30, 30)
        if row.metric != "beta_proxy":
            beyond = not row.null[0] <= row.value.estimate <= row.null[1]
            # Of a sign the range has both tails, as p has.
            assert beyond == (row.p <= 0.05) or abs(row.p - 0.05) < 0.03
    assert found.row("tuned", "b1", "auroc").desirable is False
    with pytest.raises(KeyError, match="behaviours"):
        found.row("tuned", "other", "auroc")
    assert set(found.measures["kind"]) == {"distinguishability"}


def test_a_habit_of_agreeing_is_not_a_distance(found):
    for side in found.sides:
        for habit in (each for each in found.habits if each.side == side):
            assert habit.acquiescence.estimate == pytest.approx(1.0, abs=0.4)
            assert habit.acquiescence.excludes(0.0)
            assert habit.order_effect.estimate == pytest.approx(0.6, abs=0.1)
            assert habit.mass == pytest.approx(0.9)
    base, tuned = found.habits[0], found.habits[-1]
    assert base.corrected.estimate == pytest.approx(0.0, abs=0.4)
    assert tuned.corrected.estimate == pytest.approx(1.0, abs=0.4)
    # A habit of agreeing gets the other half wrong.
    assert tuned.corrected_share.estimate > tuned.aligned_share.estimate > 0.5


def test_agreeing_more_moves_the_habit_alone():
    plain, eager = (ask(answers({"tuned": 1.0}, habit=habit)) for habit in (0.0, 5.0))
    for row, other in zip(plain.rows, eager.rows, strict=True):
        expected = row.plug_in + (10.0 if row.metric == "beta_proxy" else 0.0)
        assert other.plug_in == pytest.approx(expected, abs=1e-9)
    for one, two in zip(plain.habits, eager.habits, strict=True):
        assert two.acquiescence.estimate == pytest.approx(one.acquiescence.estimate + 5.0)
        assert two.corrected.low == pytest.approx(one.corrected.low)
        assert two.corrected_share.estimate == one.corrected_share.estimate


def test_halves_of_unequal_size_count_the_same():
    even, uneven = (ask(answers({"t": 3.0}, n=80, sizes=s)) for s in ((0.5, 0.5), (0.8, 0.2)))
    for one, two in zip(even.habits, uneven.habits, strict=True):
        assert two.acquiescence.estimate == pytest.approx(one.acquiescence.estimate, abs=0.5)
        assert two.corrected.estimate == pytest.approx(1.5, abs=0.5)


def test_the_published_numbers_are_those_of_the_raw_logits():
    table = answers({"base": 1.0}, behaviours=1)
    result = ask(table)
    means = table.groupby(["aligned", "statement_id"])[["yes_logit", "no_logit"]].mean()
    misaligned = means.loc[False]
    proxy = (misaligned["yes_logit"] - misaligned["no_logit"]).mean()
    assert result.row("base", "b0", "beta_proxy").plug_in == pytest.approx(proxy)
    assert math.isnan(result.row("base", "b0", "beta_proxy").p)
    # Raw logits were planted as twice the log-odds, those of the plain word as thrice.
    raw, log_odds = (
        result.row("base", "b0", name).plug_in for name in ("raw_wasserstein", "wasserstein")
    )
    assert raw == pytest.approx(2.0 * log_odds)
    plain = ask(table.assign(yes_logit_first=3.0 * table["log_odds"]))
    found = plain.row("base", "b0", "raw_wasserstein").plug_in
    assert found == pytest.approx(3.0 * log_odds)


def test_dealt_halves_give_nothing_beyond_chance():
    p = []
    for seed in range(12):
        table = answers({"tuned": 3.0}, n=40, behaviours=2, seed=seed)
        dealt = np.random.default_rng(seed)
        halves = table.groupby("statement_id")["aligned"].first()
        halves[:] = dealt.permutation(halves.to_numpy())
        table["aligned"] = table["statement_id"].map(halves)
        p += [row.p for row in ask(table, n_perm=99).rows if row.metric == "wasserstein"]
    assert np.mean(np.array(p) <= 0.05) <= 0.2
    assert 0.3 < np.mean(p) < 0.7


def test_groups_are_resampled_and_dealt_as_one():
    table = answers({"tuned": 0.0}, n=20, behaviours=1)
    # Ten wordings of each statement, of which nothing is new.
    copies = [table.assign(statement_id=table["statement_id"] + f":{i}") for i in range(10)]
    single = pd.concat(copies).assign(group=lambda rows: rows["statement_id"])
    grouped = ask(pd.concat(copies))
    apart = ask(single)
    for row, other, plain in zip(grouped.rows, apart.rows, ask(table).rows, strict=True):
        assert row.value.high - row.value.low >= other.value.high - other.value.low
        if row.metric in ("wasserstein", "auroc"):
            assert row.p == pytest.approx(plain.p, abs=0.1)
            assert other.p < row.p
    assert (grouped.habits[0].n, grouped.habits[0].n_groups) == (200, 20)


def test_low_mass_is_said():
    table = pd.concat(
        [answers({"base": 1.0}, mass=0.02), answers({"tuned": 1.0}, mass=0.8)], ignore_index=True
    )
    result = ask(table, n_boot=50, n_perm=50)
    assert [each.low_mass for each in result.habits] == [True] * 3 + [False] * 3
    (doubt,) = result.left_out
    assert doubt.startswith("The base model would rather say something else than Yes or No for 3")


def test_a_model_without_yes_and_no_has_no_raw_logits():
    table = answers({"base": 1.0}).query("order == 'yes_first'")
    table = table.assign(order="none", mass=np.nan, yes_logit=np.nan, no_logit=np.nan)
    result = ask(table, n_boot=50, n_perm=50)
    assert {row.metric for row in result.rows} == set(TWO_SAMPLE_METRICS)
    assert math.isnan(result.habits[0].order_effect.estimate)
    assert math.isnan(result.habits[0].acquiescence.estimate)
    assert math.isnan(result.habits[0].aligned_share.estimate)
    assert result.habits[0].corrected.excludes(0.0)
    assert not result.habits[0].low_mass
    assert "has no Yes and No" in result.left_out[0]


def test_a_behaviour_of_one_half_is_left_out_and_said():
    table = answers({"base": 1.0})
    table = table[(table["behaviour"] != "b1") | table["aligned"]]
    result = ask(table, n_boot=50, n_perm=50)
    assert {row.behaviour for row in result.rows} == {"b0", "b2"}
    assert result.left_out[0].startswith("b1 in the base model: all statements are of one half")


def test_a_seed_gives_the_same_numbers_again():
    table = answers({"base": 1.0}, n=20, behaviours=1, noise=0.1)
    one, two = ask(table), ask(table)
    pd.testing.assert_frame_equal(one.table, two.table)
    assert one.habits == two.habits


def test_bad_tables_are_refused():
    table = answers({"base": 1.0}, n=4, behaviours=1)
    with pytest.raises(ValueError, match=r"expected columns .* \['mass'\] are missing"):
        ask(table.drop(columns="mass"))
    table.loc[3, "log_odds"] = np.nan
    with pytest.raises(ValueError, match=r"expected finite log-odds, got 1 .* statement 'b0:1'"):
        ask(table)
    assert set(ANSWER_COLUMNS) <= set(table.columns)
