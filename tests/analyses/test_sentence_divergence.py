"""β, its decay and what it foretells, on planted divergences."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from analyses._sentence_decay import fit_decay, theory_curve
from analyses.sentence_divergence import BETA_COLUMNS, SentenceDivergence, sentence_divergence

LENGTHS = (0, 1, 2, 4, 6)


def table(
    means: Any, *, side: str = "base", behaviour: str = "kind", seed: int = 0, **options: Any
) -> pd.DataFrame:
    """Divergences around ``means`` by length, a normal error for each prefix and length."""
    noise = options.pop("noise", 0.1)
    n = options.pop("n_prefixes", 8)
    rng = np.random.default_rng(seed)
    rows = [
        {"n_sentences": length, "prefix": prefix, "kl": mean + noise * rng.standard_normal()}
        for length, mean in zip(LENGTHS, np.broadcast_to(means, len(LENGTHS)), strict=True)
        for prefix in range(n)
    ]
    found = pd.DataFrame(rows).assign(side=side, behaviour=behaviour, n_samples=64)
    found = found.assign(reference="prompt", half_of_prefix="misaligned").assign(**options)
    return found.assign(
        kl_first=found["kl"] / 4, kl_first_exact=found["kl"] / 4, kl_by_token=found["kl"]
    )[list(BETA_COLUMNS)]


def study(*tables: pd.DataFrame, lengths: pd.DataFrame | None = None) -> SentenceDivergence:
    return sentence_divergence(pd.concat(tables), lengths, rng=np.random.default_rng(1), n_boot=400)


def answers(
    shares: dict[int, float], *, side: str = "base", behaviour: str = "kind"
) -> pd.DataFrame:
    """A length curve with these shares of misaligned answers, in both halves alike."""
    rows = [
        {
            "arm": "misaligned" if n else "none",
            "n_sentences": n,
            "aligned": aligned,
            "log_odds": logit(share) * (-1 if aligned else 1),
        }
        for n, share in shares.items()
        for aligned in (True, False)
    ]
    return pd.DataFrame(rows).assign(side=side, behaviour=behaviour)


@pytest.mark.parametrize("beta", [0.5, 2.0, 8.0])
@pytest.mark.parametrize("log_odds", [-6.0, -3.0, -1.0])
def test_the_curve_gives_back_what_it_was_made_of(beta: float, log_odds: float) -> None:
    at = np.arange(16.0)
    fit = fit_decay(range(16), theory_curve(at, beta=beta, log_odds=log_odds))
    assert fit is not None
    assert fit.beta == pytest.approx(beta, rel=0.02)
    assert fit.half_length == pytest.approx(-log_odds / beta, rel=0.05)
    assert fit.r_squared > 0.999


def test_all_sentences_together_diverge_by_no_more_than_the_weight_allows() -> None:
    for beta in (0.3, 2.0, 20.0):
        curve = theory_curve(np.arange(400.0), beta=beta, log_odds=-4.0)
        assert curve.sum() == pytest.approx(-np.log(expit(-4.0)), abs=1e-3)
        assert (np.diff(curve) <= 0).all()


def test_without_decay_no_length_is_enough() -> None:
    fit = fit_decay(LENGTHS, np.full(5, 1.5))
    assert fit is not None
    assert (fit.alpha, fit.half_length) == (0.0, np.inf)
    assert fit.beta == pytest.approx(1.5, rel=1e-3)
    assert fit_decay((0, 1), np.array([1.0, 0.5])) is None
    nothing = fit_decay(LENGTHS, np.full(5, -0.1))
    assert nothing is not None
    assert nothing.beta == 0.0
    with pytest.raises(ValueError, match="one divergence a length, got 5 lengths and 2 values"):
        fit_decay(LENGTHS, np.zeros(2))


def test_the_decay_of_a_known_mixture_gives_its_misaligning_length() -> None:
    """Two categorical voices; P+ holds P− with weight α, so its posterior is known exactly."""
    rng = np.random.default_rng(0)
    ours, theirs = rng.dirichlet(np.full(8, 4.0)), rng.dirichlet(np.full(8, 4.0))
    beta, alpha, n = float((ours * np.log(ours / theirs)).sum()), 0.02, 60
    said = rng.choice(8, size=(400, n), p=ours)
    gains = np.log(ours / theirs)[said]
    odds = logit(alpha) + np.concatenate([np.zeros((400, 1)), gains.cumsum(axis=1)], axis=1)
    weight = expit(odds)[:, :, None]
    mixed = weight * ours + (1 - weight) * theirs
    divergence = (ours * np.log(ours / mixed)).sum(axis=2).mean(axis=0)
    fit = fit_decay(range(n + 1), divergence)
    assert fit is not None
    assert fit.beta == pytest.approx(beta, rel=0.2)
    assert fit.half_length == pytest.approx(-logit(alpha) / beta, rel=0.2)
    assert fit.r_squared > 0.9


def test_intervals_hold_the_planted_mean_at_the_nominal_rate() -> None:
    tables = [table(2.0, behaviour=f"b{at}", seed=at, noise=0.5) for at in range(80)]
    rows = study(*tables).rows
    assert len(rows) == 80
    inside = np.mean([not row.beta.excludes(2.0) for row in rows])
    assert 0.9 <= inside <= 1.0
    assert np.mean([not row.slope.excludes(0.0) for row in rows]) >= 0.9


def test_nothing_planted_beyond_the_null_is_nothing_found() -> None:
    tables = []
    for at in range(40):
        name = f"b{at}"
        tables.append(table(1.0, behaviour=name, seed=at))
        tables.append(table(1.0, behaviour=name, seed=1000 + at, reference="filler"))
        tables.append(table(1.0, behaviour=name, seed=2000 + at, half_of_prefix="filler"))
    rows = study(*tables).rows
    # The null reference is no row of its own.
    assert len(rows) == 40
    assert np.mean([row.p_null <= 0.05 for row in rows]) <= 0.15
    assert np.mean([row.p_filler <= 0.05 for row in rows]) <= 0.15
    assert not any(row.p_null_bh <= 0.05 for row in rows)
    assert all(row.p_null_bh >= row.p_null for row in rows)


def test_what_is_planted_beyond_the_null_is_found() -> None:
    row = study(
        table(2.0),
        table(0.5, reference="filler", seed=1),
        table(1.0, half_of_prefix="filler", seed=2),
    ).rows[0]
    assert row.beyond_null is not None
    assert not row.beyond_null.excludes(1.5)
    assert row.beyond_filler is not None
    assert not row.beyond_filler.excludes(1.0)
    assert row.filler is not None
    assert not row.filler.excludes(1.0)
    assert max(row.p_null, row.p_filler) < 0.05
    assert row.beta_first.estimate == pytest.approx(row.beta.estimate / 4)
    assert row.by_token == pytest.approx(row.beta.estimate)
    alone = study(table(2.0)).rows[0]
    assert (alone.beyond_null, alone.beyond_filler, alone.filler) == (None, None, None)
    assert (alone.p_null, alone.p_filler) == (1.0, 1.0)
    assert np.isnan(alone.predicted_length.estimate)
    assert np.isnan(alone.observed_length)


def test_the_tuned_model_is_held_against_the_base_on_the_same_prefixes() -> None:
    common = np.random.default_rng(0).standard_normal(8)
    base, tuned = table(1.0), table(1.5, side="tuned", seed=1)
    for each in (base, tuned):
        each["kl"] += 5 * common[each["prefix"]]
    found = study(base, tuned)
    (shift,) = found.shifts
    # Far closer than what the prefixes differ by.
    assert shift.difference.high - shift.difference.low < 0.4
    assert not shift.difference.excludes(0.5)
    assert shift.p < 0.05
    assert study(base).shifts == ()


def test_the_forecast_is_the_theory_s() -> None:
    lengths = answers({0: 0.01, 1: 0.1, 2: 0.4, 4: 0.6, 6: 0.9})
    row = study(table(2.0), lengths=lengths).rows[0]
    assert row.alpha == pytest.approx(0.01)
    assert row.predicted_length.estimate == pytest.approx(np.log(100) / row.beta.estimate, rel=1e-6)
    low, high = row.predicted_length.low, row.predicted_length.high
    assert low < row.predicted_length.estimate < high
    assert row.observed_length == 4
    never = study(table(2.0), lengths=answers({0: 0.1, 2: 0.2})).rows[0]
    assert never.observed_length == np.inf
    already = study(table(2.0), lengths=answers({0: 0.7, 2: 0.9})).rows[0]
    assert (already.predicted_length.estimate, already.observed_length) == (0.0, 0.0)
    flat = study(table(0.0, noise=1.0), lengths=lengths).rows[0]
    assert flat.predicted_length.high == np.inf


def test_a_forecast_over_behaviours_is_ranked_against_what_was_observed() -> None:
    tables, curves = [], []
    for at, beta in enumerate((4.0, 2.0, 1.0, 0.5)):
        tables.append(table(beta, behaviour=f"b{at}", seed=at, noise=0.01))
        reached = {n: expit(logit(0.02) + beta * n) for n in range(0, 12)}
        curves.append(answers(reached, behaviour=f"b{at}"))
    curves.append(answers({0: 0.9}, behaviour="never asked"))
    (forecast,) = study(*tables, lengths=pd.concat(curves)).forecasts
    assert (forecast.n_reached, forecast.n_behaviours) == (4, 4)
    assert forecast.correlation.estimate == pytest.approx(1.0)
    assert study(*tables).forecasts == ()


def test_the_table_by_length_has_the_means_and_the_curve() -> None:
    curve = theory_curve(np.array(LENGTHS, dtype=float), beta=2.0, log_odds=-4.0)
    found = study(table(curve, noise=0.02), table(1.0, half_of_prefix="aligned")).by_length
    said = found[found["half_of_prefix"] == "misaligned"]
    assert said["kl"].to_numpy() == pytest.approx(curve, abs=0.03)
    assert said["theory"].to_numpy() == pytest.approx(curve, abs=0.05)
    assert (said["low"] < said["kl"]).all()
    assert (said["n_prefixes"] == 8).all()
    assert found.loc[found["half_of_prefix"] == "aligned", "theory"].isna().all()


def test_a_table_without_rows_or_columns_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\['kl', 'prefix'\] are missing"):
        study(table(1.0).drop(columns=["kl", "prefix"]))
    with pytest.raises(ValueError, match="at least one row of divergences"):
        study(table(1.0).head(0))
    with pytest.raises(ValueError, match=r"got 40 once more, such as \('base', 'kind'"):
        study(table(1.0), table(1.0))


def test_one_prefix_gives_an_estimate_without_bounds() -> None:
    row = study(table(1.0, n_prefixes=1)).rows[0]
    assert np.isfinite(row.beta.estimate)
    assert np.isnan(row.beta.low)
    assert row.p_filler == 1.0
