"""Slopes over doses and lengths: what was planted is found, and nothing where nothing was."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from analyses._parts._dose_response_claims import beyond
from analyses._parts._dose_response_matches import dose_matches, dose_of
from analyses.dose_response import dose_slopes, length_trends, null_ranges

DOSES = (-1.5, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 1.5)
CONTROL = "tea"


def steered(
    slopes: dict[str, float],
    *,
    rng: np.random.Generator,
    n: int = 30,
    noise: float = 0.2,
    even: float = 0.0,
    n_nulls: int = 6,
) -> pd.DataFrame:
    """Changes ``slope · dose + even · dose²`` with a slope of its own for each request."""
    nulls = {f"random {at}": float(rng.normal(0, 0.1)) for at in range(n_nulls)}
    rows = []
    for name, slope in (slopes | {CONTROL: 0.0} | nulls).items():
        kind = "random" if name in nulls else "control" if name == CONTROL else "persona"
        own = slope + rng.normal(0, noise, n)
        rows += [
            (name, "pro", kind, dose, f"r{at}", True, own[at] * dose + even * dose**2, np.nan)
            for at in range(n)
            for dose in DOSES
        ]
    columns = ["persona", "group", "kind", "dose", "prompt_id", "harmful", "change", "kl"]
    return pd.DataFrame(rows, columns=columns)


def said(per_doubling: dict[str, float], *, rng: np.random.Generator, n: int = 30) -> pd.DataFrame:
    """Changes of −1 at one statement and ``per_doubling`` more with every doubling."""
    fillers = {f"filler {at}": float(rng.normal(0, 0.05)) for at in range(5)}
    rows = []
    for name, slope in (per_doubling | {CONTROL: 0.0} | fillers).items():
        kind = "filler" if name in fillers else "control" if name == CONTROL else "persona"
        own = slope + rng.normal(0, 0.1, n)
        rows += [
            (name, "pro", kind, k, k == 8, f"r{at}", True, -1 + own[at] * np.log2(k), np.nan)
            for at in range(n)
            for k in (1, 2, 4, 8)
        ]
    columns = ["persona", "group", "kind", "statements", "full", "prompt_id", "harmful"]
    return pd.DataFrame(rows, columns=[*columns, "change", "kl"])


def test_a_planted_slope_is_found_and_a_flat_one_is_not() -> None:
    rng = np.random.default_rng(0)
    table = steered({"steep": -2.0, "flat": 0.0}, rng=rng)
    found = {s.persona: s for s in dose_slopes(table, control=CONTROL, within=1.0, rng=rng)}
    steep = found["steep"]
    assert steep.slope.low < -2.0 < steep.slope.high
    assert steep.p < 0.001
    assert beyond(steep)
    assert steep.monotone == 1.0
    assert not beyond(found["flat"])
    assert found["flat"].leaves_added is None


def test_the_slope_leaves_out_what_both_signs_do_alike() -> None:
    pure, bent = (
        dose_slopes(
            steered({"steep": -1.0}, rng=np.random.default_rng(1), even=even),
            control=CONTROL,
            within=1.5,
            rng=np.random.default_rng(2),
        )[0]
        for even in (0.0, -5.0)
    )
    assert pure.slope.estimate == pytest.approx(bent.slope.estimate)
    assert pure.p == pytest.approx(bent.p)


def test_doses_beyond_the_reach_do_not_enter_the_slope() -> None:
    rng = np.random.default_rng(3)
    table = steered({"steep": -1.0}, rng=rng)
    broken = table.assign(change=table["change"].where(table["dose"].abs() <= 1.0, 99.0))
    first, second = (
        dose_slopes(each, control=CONTROL, within=1.0, rng=np.random.default_rng(4))[0]
        for each in (table, broken)
    )
    assert first.slope == second.slope


def test_a_threshold_and_a_ceiling_are_found_where_they_were_planted() -> None:
    rng = np.random.default_rng(5)
    table = steered({"step": 0.0}, rng=rng, noise=0.01)
    step = np.clip(table["dose"], 0.25, 1.0) - 0.25
    table["change"] += np.where(table["persona"] == "step", -4 * step, 0.0)
    (found, *_) = dose_slopes(table, control=CONTROL, within=0.75, rng=rng)
    assert found.leaves_added == 0.5
    assert found.leaves_subtracted is None
    assert found.saturates_added == 1.0


def test_where_labels_mean_nothing_p_is_uniform_or_conservative() -> None:
    n_small, n_runs = 0, 100
    for seed in range(n_runs):
        rng = np.random.default_rng([6, seed])
        table = steered({"dealt": 0.0}, rng=rng, n=8, n_nulls=0)
        found = dose_slopes(table, control=CONTROL, within=1.0, rng=rng)
        n_small += found[0].p <= 0.1
    assert binom.sf(n_small - 1, n_runs, 0.1) > 0.001


def test_without_the_control_nothing_is_tested() -> None:
    rng = np.random.default_rng(7)
    table = steered({"steep": -2.0}, rng=rng)
    alone = table[table["persona"] != CONTROL]
    (found, *_) = dose_slopes(alone, control=CONTROL, within=1.0, rng=rng)
    assert (found.control, found.p) == (None, 1.0)


def test_missing_scores_give_no_slope_and_no_claim() -> None:
    rng = np.random.default_rng(8)
    table = steered({"steep": -2.0}, rng=rng).assign(change=np.nan)
    (found, *_) = dose_slopes(table, control=CONTROL, within=1.0, rng=rng)
    assert np.isnan(found.slope.estimate)
    assert found.p == 1.0
    assert not beyond(found)
    assert found.saturates_added is None


def test_a_trend_over_lengths_is_found_apart_from_the_first_statement() -> None:
    rng = np.random.default_rng(9)
    table = said({"adds": -0.5, "once": 0.0}, rng=rng)
    found = {s.persona: s for s in length_trends(table, control=CONTROL, rng=rng)}
    assert found["adds"].slope.low < -0.5 < found["adds"].slope.high
    assert found["adds"].p < 0.001
    assert beyond(found["adds"])
    assert not beyond(found["once"])


def test_a_trend_is_taken_over_the_lengths_that_the_control_has() -> None:
    rng = np.random.default_rng(10)
    table = said({"adds": -0.5}, rng=rng)
    short = table[(table["persona"] != CONTROL) | (table["statements"] <= 2)]
    bent = short.assign(change=short["change"].where(short["statements"] <= 2, 99.0))
    first, second = (
        length_trends(each, control=CONTROL, rng=np.random.default_rng(11))[0]
        for each in (short, bent)
    )
    assert first.slope == second.slope
    single = table[table["statements"] == 8]
    assert length_trends(single, control=CONTROL, rng=rng) == ()


def test_the_range_of_nulls_holds_their_extremes() -> None:
    rng = np.random.default_rng(12)
    table = steered({}, rng=rng)
    means = table[table["kind"] == "random"].groupby(["dose", "persona"])["change"].mean()
    for dose, (low, high) in null_ranges(table, "dose").items():
        assert low <= means[dose].min() <= means[dose].max() <= high


@pytest.mark.parametrize("slope", [-3.0, 0.7])
def test_an_equal_dose_is_where_the_line_meets_the_text(slope: float) -> None:
    doses = [0.5, 1.0, 2.0]
    curve = slope * np.array([doses])
    for dose in (0.0, 0.3, 1.0, 1.9):
        assert dose_of(np.array([slope * dose]), curve, doses) == pytest.approx([dose])
    beyond_it, other_side = slope * 2.1, -slope
    assert np.isinf(dose_of(np.array([beyond_it]), curve, doses)).all()
    assert np.isinf(dose_of(np.array([other_side]), curve, doses)).all()


def test_the_smallest_of_several_equal_doses_is_given() -> None:
    curve = np.array([[-2.0, -1.0, -3.0]])
    assert dose_of(np.array([-1.0]), curve, [1.0, 2.0, 3.0]) == pytest.approx([0.5])


def matched(
    by_text: float, kl: float, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A vector of −2 nats a norm with KL ``kl · dose²``, and a text that does ``by_text``."""
    vectors = steered({"helper": -2.0}, rng=rng, noise=0.05)
    texts = said({"helper": (by_text + 1) / 3}, rng=rng)
    harmless_vectors = vectors.assign(
        harmful=False, change=np.nan, kl=kl * vectors["dose"] ** 2, prompt_id="h"
    ).drop_duplicates(["persona", "dose"])
    harmless_texts = texts.assign(
        harmful=False, change=np.nan, kl=0.02, prompt_id="h"
    ).drop_duplicates(["persona", "statements"])
    return pd.concat([vectors, harmless_vectors]), pd.concat([texts, harmless_texts])


def test_text_and_vector_are_matched_at_equal_effect_and_at_equal_side_effect() -> None:
    rng = np.random.default_rng(13)
    vectors, texts = matched(-1.6, 0.2, rng)
    match = next(m for m in dose_matches(vectors, texts, rng=rng) if m.persona == "helper")
    assert match.equal_dose is not None
    assert match.equal_dose.low < 0.8 < match.equal_dose.high
    assert match.in_range == 1.0
    # 0.2 · 0.5² is within 0.1 nats, 0.2 · 1² is not.
    assert match.bounded_dose == 0.5
    assert match.bounded is not None
    assert match.text_less_bounded is not None
    assert match.bounded.estimate == pytest.approx(-1.0, abs=0.1)
    assert match.text_less_bounded.excludes(0.0)


def test_a_text_beyond_all_doses_has_no_equal() -> None:
    rng = np.random.default_rng(14)
    match = next(
        m for m in dose_matches(*matched(-9.0, 9.0, rng), rng=rng) if m.persona == "helper"
    )
    assert match.equal_dose is None
    assert match.in_range == 0.0
    assert match.bounded_dose is None
    assert match.bounded is None


def test_a_text_at_the_edge_of_the_doses_has_an_open_interval() -> None:
    rng = np.random.default_rng(15)
    vectors, texts = matched(-2.98, 0.0, rng)
    match = next(m for m in dose_matches(vectors, texts, rng=rng) if m.persona == "helper")
    assert 0.0 < match.in_range < 1.0
    if match.equal_dose is not None:
        assert np.isnan(match.equal_dose.high)


def test_a_slope_is_beyond_the_nulls_on_its_own_side_only() -> None:
    rng = np.random.default_rng(16)
    (found, *_) = dose_slopes(
        steered({"steep": -2.0}, rng=rng), control=CONTROL, within=1.0, rng=rng
    )
    assert beyond(found)
    assert not beyond(replace(found, null_range=(-3.0, 0.0)))
    # Below the nulls, yet above the control.
    turned = replace(found.difference, estimate=1.0)
    assert not beyond(replace(found, difference=turned))
