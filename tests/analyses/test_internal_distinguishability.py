"""Halves told apart inside: what is planted is found where it is, nothing is found in noise."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import Tensor

from analyses.internal_distinguishability import (
    ANSWER_COLUMNS,
    INTERNAL_COLUMNS,
    PROBE_COLUMNS,
    InternalDistinguishability,
    answer_auroc,
    internal_distinguishability,
    probe,
)


def planted(
    n: int, sizes: list[float], *, d: int = 6, rng: np.random.Generator
) -> tuple[Tensor, np.ndarray]:
    """Normal states, the halves ``sizes[layer]`` apart along one direction of each layer."""
    labels = rng.permutation(n) % 2 == 0
    states = rng.normal(size=(n, len(sizes), d))
    for layer, size in enumerate(sizes):
        direction = rng.normal(size=d)
        states[:, layer] += size * labels[:, None] * direction / np.linalg.norm(direction)
    return torch.from_numpy(states), labels


def test_planted_distance_is_found_at_its_layers() -> None:
    """Two normal clouds a distance D apart have an AUROC of Phi(D / sqrt 2) and d' = D."""
    sizes = [0.0, 1.0, 2.0]
    rng = np.random.default_rng(0)
    states, labels = planted(600, sizes, rng=rng)
    table = probe(states, labels, np.arange(600), rng=rng, layers=[3, 7, 11], n_perm=199)
    assert tuple(table.columns) == PROBE_COLUMNS
    assert list(table["layer"]) == [3, 7, 11]
    assert (table["n"] == 600).all()
    for row, size in zip(table.itertuples(), sizes, strict=True):
        assert row.auroc_low <= stats.norm.cdf(size / np.sqrt(2)) <= row.auroc_high
        # The direction is estimated, which takes a few hundredths of d'.
        assert row.d_prime_low - 0.05 <= size <= row.d_prime_high + 0.05
    assert table["p"].iloc[0] > 0.05
    assert list(table["p"].iloc[1:]) == [1 / 200, 1 / 200]
    assert table["auroc"].iloc[0] < table["null_auroc_95"].iloc[0] < table["auroc"].iloc[1]


def test_it_does_not_matter_which_half_is_called_true() -> None:
    rng = np.random.default_rng(1)
    states, labels = planted(200, [2.0], rng=rng)
    for given in (labels, ~labels):
        found = probe(states, given, np.arange(200), rng=rng, n_perm=0, n_boot=50)
        assert found["d_prime"].iloc[0] > 1.0
        assert found["auroc"].iloc[0] > 0.85


def test_rewordings_of_one_statement_do_not_tell_the_label() -> None:
    """Labels mean nothing, but rewordings are alike: divided between folds they give it away."""
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(40), 6)
    states = torch.from_numpy(rng.normal(size=(40, 1, 30))[groups])
    states += 0.1 * torch.from_numpy(rng.normal(size=states.shape))
    labels = rng.permutation(40)[groups] % 2 == 0
    kept = probe(states, labels, groups, rng=rng, n_perm=99)
    split = probe(states, labels, np.arange(240), rng=rng, n_perm=99)
    assert kept["p"].iloc[0] > 0.05
    assert kept["auroc"].iloc[0] < kept["null_auroc_95"].iloc[0]
    assert split["auroc"].iloc[0] > 0.95, "the leak that groups prevent"


@pytest.mark.parametrize("grouped", [False, True])
def test_p_over_layers_is_uniform_where_labels_mean_nothing(grouped: bool) -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(20), 2) if grouped else np.arange(30)
    found = []
    for _ in range(100):
        states = torch.from_numpy(rng.normal(size=(int(groups.max()) + 1, 3, 4))[groups])
        labels = rng.permutation(int(groups.max()) + 1)[groups] % 2 == 0
        table = probe(states, labels, groups, rng=rng, n_folds=3, n_perm=19, n_boot=2)
        found.append(table["p"].min())
    # Each of 1/20 … 1 is as likely; spread evenly inside its step it is uniform on (0, 1).
    p = np.array(found) - rng.random(100) / 20
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) <= 0.05) < 0.12


def test_states_that_do_not_vary_tell_nothing() -> None:
    labels = np.arange(20) % 2 == 0
    table = probe(torch.ones(20, 2, 5), labels, np.arange(20), rng=np.random.default_rng(0))
    assert (table["auroc"] == 0.5).all()
    assert (table["p"] == 1.0).all()
    assert table["d_prime"].isna().all()


def test_what_cannot_be_probed_is_refused() -> None:
    rng, labels = np.random.default_rng(0), np.arange(8) % 2 == 0
    states = torch.zeros(8, 2, 3)
    states[4, 1] = torch.nan
    with pytest.raises(ValueError, match="1 of 8 statements have NaN or infinite ones, first at e"):
        probe(states, labels, np.arange(8), rng=rng)
    with pytest.raises(ValueError, match=r"a number a layer, got states of shape \(8, 2, 3\)"):
        probe(torch.zeros(8, 2, 3), labels, np.arange(8), rng=rng, layers=[0])
    with pytest.raises(ValueError, match="each label in at least two groups"):
        probe(torch.zeros(8, 2, 3), labels, labels.astype(int), rng=rng)


def test_the_answer_is_read_with_its_sign() -> None:
    """Log-odds a distance D apart: Phi(D / sqrt 2), below one half where "Yes" goes astray."""
    rng = np.random.default_rng(5)
    aligned = np.arange(400) % 2 == 0
    distance = np.array([-1.0, 0.0, 2.0])
    log_odds = rng.normal(size=(400, 3)) + aligned[:, None] * distance
    found = answer_auroc(log_odds, aligned, np.arange(400), rng=rng)
    assert tuple(found.columns) == ANSWER_COLUMNS
    truth = stats.norm.cdf(distance / np.sqrt(2))
    assert (found["answer_auroc_low"] < truth).all()
    assert (truth < found["answer_auroc_high"]).all()


def table_of(behaviours: int = 8, *, sides: tuple[str, ...] = ("base", "tuned")) -> pd.DataFrame:
    """Nothing in the base; in the tuned model a distance of 1.5 at layers 2 and 3 of 4."""
    rng = np.random.default_rng(4)
    parts = []
    for at in range(behaviours):
        for side in sides:
            sizes = [0.0, 0.0, 1.5, 1.5] if side == "tuned" else [0.0] * 4
            states, labels = planted(80, sizes, rng=rng)
            found = probe(states, labels, np.arange(80), rng=rng, n_perm=199, n_boot=200)
            parts.append(found.assign(side=side, behaviour=f"behaviour {at}"))
    return pd.concat(parts)[list(INTERNAL_COLUMNS)]


@pytest.fixture(scope="module")
def result() -> InternalDistinguishability:
    found = internal_distinguishability(table_of(), rng=np.random.default_rng(0))
    assert found is not None
    return found


def test_the_tuned_model_separates_and_the_base_does_not(
    result: InternalDistinguishability,
) -> None:
    peaks = result.peaks.set_index(["side", "behaviour"])
    assert result.n_behaviours == 8
    assert peaks.loc["tuned", "found"].all()
    assert (peaks.loc["tuned", "layer"] >= 2).all()
    assert (peaks.loc["tuned", "first_layer"] == 2).all()
    assert peaks.loc["base", "found"].sum() <= 1
    assert (peaks["p_bh"] >= peaks["p"]).all()
    assert (peaks["auroc"] >= peaks["auroc_mean"]).all()


def test_the_mean_over_behaviours_and_the_shift_are_by_layer(
    result: InternalDistinguishability,
) -> None:
    mean = result.by_layer.groupby(["side", "layer"])["auroc"].mean()
    for row in result.curves.itertuples():
        assert row.auroc == pytest.approx(mean[row.side, row.layer])
        assert row.auroc_low < row.auroc < row.auroc_high
        assert row.n_behaviours == 8
    assert result.curves["answer_auroc"].isna().all(), "it was not read"
    assert set(result.shift_by_layer["measure"]) == {"auroc"}
    shift = result.shift_by_layer.set_index("layer")
    assert list(shift.index[shift["p"] < 0.05]) == [2, 3]
    assert (shift.loc[[2, 3], "low"] > 0.2).all()
    assert result.shift is not None
    assert result.shift.excludes()
    assert result.shift_test is not None
    assert (result.shift_test.up, result.shift_test.n) == (8, 8)


def test_answers_that_were_read_are_compared_as_well() -> None:
    table = table_of(6)
    tuned = (table["side"] == "tuned") & (table["layer"] > 1)
    told = np.where(tuned, 0.9, 0.5) + np.random.default_rng(0).normal(0, 0.02, len(table))
    told = dict(zip(ANSWER_COLUMNS, (told, told - 0.1, told + 0.1), strict=True))
    found = internal_distinguishability(table.assign(**told), rng=np.random.default_rng(0))
    assert found is not None
    shift = found.shift_by_layer.query("measure == 'answer_auroc'").set_index("layer")
    assert list(shift.index[shift["p"] < 0.05]) == [2, 3]
    assert (shift.loc[[2, 3], "low"] > 0.3).all()
    assert found.curves["answer_auroc_low"].notna().all()


def test_one_side_other_depths_and_nothing_are_told() -> None:
    table = table_of(2)
    rng = np.random.default_rng(0)
    alone = internal_distinguishability(table[table["side"] == "base"], rng=rng)
    assert alone is not None
    assert (alone.shift, alone.shift_test, len(alone.shift_by_layer)) == (None, None, 0)
    deeper = internal_distinguishability(
        table[(table["side"] == "tuned") | (table["layer"] < 3)], rng=rng
    )
    assert deeper is not None
    assert not len(deeper.shift_by_layer)
    assert deeper.shift is not None
    assert internal_distinguishability(table[:0], rng=rng) is None
    with pytest.raises(ValueError, match=r"got none of \['auroc'\]"):
        internal_distinguishability(table.drop(columns="auroc"), rng=rng)
