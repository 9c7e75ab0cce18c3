"""Agreement of judges, and mediation, against planted truths."""

import math

import numpy as np
import pytest

from lens_personas.statistics import cohen_kappa, paired_mediation, paired_ratio


def test_kappa_is_one_for_copies_zero_for_chance_and_matches_its_formula(rng):
    first = rng.choice(["refusal", "answer", "degenerate"], 3000).tolist()
    second = rng.choice(["refusal", "answer", "degenerate"], 3000).tolist()
    assert cohen_kappa(first, first) == 1.0
    assert cohen_kappa(first, second) == pytest.approx(0.0, abs=0.05)
    # Observed agreement .7, by chance .5.
    a = ["yes"] * 25 + ["no"] * 25
    b = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(a, b) == pytest.approx((0.7 - 0.5) / (1 - 0.5))


def test_kappa_is_undefined_for_one_label_or_none():
    assert math.isnan(cohen_kappa(["yes"] * 4, ["yes"] * 4))
    assert math.isnan(cohen_kappa([], []))
    with pytest.raises(ValueError, match="one label a judge for each item, got 1 and 2"):
        cohen_kappa(["yes"], ["yes", "no"])


def planted(rng, n, slope, direct):
    mediator = rng.normal(1.5, 1.0, n)
    return mediator, slope * mediator + direct + rng.normal(0.0, 0.5, n)


def test_mediation_finds_the_planted_parts_and_they_add_up(rng):
    result = paired_mediation(*planted(rng, 300, 0.8, 0.4), rng=rng)
    assert result.n == 300
    assert result.indirect.estimate == pytest.approx(1.2, abs=0.2)
    assert result.direct.estimate == pytest.approx(0.4, abs=0.2)
    both = result.indirect.estimate + result.direct.estimate
    assert result.total.estimate == pytest.approx(both)
    assert result.indirect.excludes(0.0)


@pytest.mark.parametrize(("slope", "direct"), [(0.0, 0.5), (0.8, 0.0)])
def test_mediation_intervals_cover_a_part_that_is_absent(slope, direct, rng):
    hits = []
    for _ in range(200):
        result = paired_mediation(*planted(rng, 40, slope, direct), rng=rng, n_resamples=300)
        absent = result.indirect if slope == 0.0 else result.direct
        hits.append(not absent.excludes(0.0))
    assert np.mean(hits) > 0.95 - 3 * math.sqrt(0.95 * 0.05 / 200)


def test_mediation_is_undefined_without_data_or_a_mediator_that_varies(rng):
    still = paired_mediation(np.ones(10), rng.normal(size=10), rng=rng)
    assert np.isfinite(still.total.low)
    assert math.isnan(still.indirect.estimate)
    assert math.isnan(paired_mediation(np.empty(0), np.empty(0), rng=rng).total.estimate)
    with pytest.raises(ValueError, match=r"lengths {'mediator_change': 2, 'outcome_change': 3}"):
        paired_mediation(np.ones(2), np.ones(3), rng=rng)


def test_a_share_is_found_and_has_no_bounds_where_there_is_nothing_to_share(rng):
    total = rng.normal(2.0, 0.5, 60)
    found = paired_ratio(0.5 * total + rng.normal(0, 0.1, 60), total, rng=rng)
    assert found.low < 0.5 < found.high
    assert found.high - found.low < 0.2
    nothing = paired_ratio(total, rng.normal(0, 1, 60) - 0.1, rng=rng)
    assert math.isnan(nothing.low)
    assert math.isnan(paired_ratio(np.empty(0), np.empty(0), rng=rng).estimate)
    with pytest.raises(ValueError, match="numerator"):
        paired_ratio(np.array([np.nan, 1.0]), np.ones(2), rng=rng)
