"""Curves of planted circuits: what is planted is found, chance alone is not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lens_personas.statistics import FAITHFULNESS_COLUMNS, faithfulness_curve, paired_ratio

SIZES = (0, 2, 4, 8, 20)


def planted(
    rng: np.random.Generator,
    *,
    skill: float,
    n_random: int = 19,
    n_prompts: int = 12,
    sizes: tuple[int, ...] = SIZES,
) -> pd.DataFrame:
    """Runs of a model whose first four of twenty edges carry an effect of 1 in all.

    The ranking knows them with probability ``skill``; random ones do not.
    """
    weights = np.zeros(20)
    weights[:4] = 0.25
    effect = rng.uniform(0.5, 2.0, size=n_prompts)
    orders = [rng.permutation(20) for _ in range(n_random + 1)]
    if rng.random() < skill:
        orders[0] = np.arange(20)
    rows = []
    for draw, order in enumerate(orders):
        for size in sizes:
            inside = float(weights[order[:size]].sum())
            for part, share in (("circuit", inside), ("complement", 1.0 - inside)):
                kind, number = ("random", draw - 1) if draw else ("ranked", 0)
                rows += [
                    (size, kind, number, part, at, at // 2, 3.0 + share * own, 3.0 + own, 3.0)
                    for at, own in enumerate(effect)
                ]
    return pd.DataFrame(rows, columns=list(FAITHFULNESS_COLUMNS))


def test_a_planted_circuit_is_found(rng):
    curve = faithfulness_curve(planted(rng, skill=1.0), rng=rng)
    by_size = {point.size: point for point in curve.points}
    shares = [by_size[size].faithfulness.estimate for size in SIZES]
    assert shares == pytest.approx([0, 0.5, 1, 1, 1])
    left = [by_size[size].left.estimate for size in SIZES]
    assert left == pytest.approx([1, 0.5, 0, 0, 0])
    assert curve.reached == 4
    assert curve.p == by_size[4].random.p == by_size[4].random_left.p == pytest.approx(0.05)
    assert by_size[4].random.low <= by_size[4].random.mean <= by_size[4].random.high < 1
    # Where every circuit is the same one, none is better than another.
    assert by_size[0].random.p == by_size[20].random.p == 1
    assert (curve.n_prompts, curve.n_random) == (12, 19)
    assert curve.clean - curve.corrupted == pytest.approx(
        float(planted(np.random.default_rng(0), skill=1.0)["clean"].mean() - 3.0)
    )


def test_chance_alone_is_found_at_the_nominal_rate(rng):
    p = []
    for _ in range(60):
        table = planted(rng, skill=0.0, n_prompts=1, sizes=(2, 4, 8))
        p.append(faithfulness_curve(table, rng=rng).p)
    # Ties only make p larger; 9 of 60 at a rate of .05 is one time in two hundred.
    assert sum(each <= 0.05 for each in p) <= 8
    assert np.mean(p) > 0.4


def test_an_overshooting_circuit_is_not_faithful(rng):
    table = planted(rng, skill=1.0)
    more = (table["kind"] == "ranked") & (table["part"] == "circuit") & (table["size"] >= 4)
    table.loc[more, "value"] += 0.5 * (table["clean"] - table["corrupted"])
    curve = faithfulness_curve(table, rng=rng)
    assert curve.points[2].faithfulness.estimate == pytest.approx(1.5)
    assert curve.reached is None
    assert faithfulness_curve(table, rng=rng, share=0.5).reached == 2


def test_clusters_are_resampled_whole(rng):
    """As a ratio of their sums; copies of a prompt add nothing to what is known."""
    table = planted(rng, skill=1.0)
    table["value"] += rng.normal(scale=0.2, size=len(table))
    one = table[(table["kind"] == "ranked") & (table["part"] == "circuit") & (table["size"] == 4)]
    sums = one.groupby("cluster")[["value", "clean", "corrupted"]].sum()
    expected = paired_ratio(
        (sums["value"] - sums["corrupted"]).to_numpy(),
        (sums["clean"] - sums["corrupted"]).to_numpy(),
        rng=np.random.default_rng(1),
    )
    found = faithfulness_curve(table, rng=np.random.default_rng(1)).points[2].faithfulness
    assert found.estimate == pytest.approx(expected.estimate)
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high], abs=0.03)
    copies = pd.concat([table.assign(prompt=table["prompt"] + 12 * n) for n in range(3)])
    again = faithfulness_curve(copies, rng=np.random.default_rng(1)).points[2].faithfulness
    assert [again.low, again.high] == pytest.approx([found.low, found.high])


def test_without_an_effect_there_is_no_share(rng):
    table = planted(rng, skill=1.0)
    table["clean"] = table["corrupted"]
    curve = faithfulness_curve(table, rng=rng)
    assert all(np.isnan(point.faithfulness.estimate) for point in curve.points)
    assert all(point.random.p == 1 for point in curve.points)
    assert (curve.reached, curve.p) == (None, 1.0)


def test_without_random_circuits_there_is_no_p(rng):
    curve = faithfulness_curve(planted(rng, skill=1.0, n_random=0), rng=rng)
    assert curve.reached == 4
    assert curve.p == 1
    assert np.isnan(curve.points[2].random.mean)


def test_the_table_says_what_the_points_say(rng):
    curve = faithfulness_curve(planted(rng, skill=1.0), rng=rng)
    table = curve.table()
    assert table["size"].tolist() == list(SIZES)
    assert table["left_high"].iloc[1] == pytest.approx(curve.points[1].left.high, nan_ok=True)
    assert table["faithfulness_p"].iloc[2] == curve.points[2].random.p
    assert replace(curve, points=()).table().empty


def test_what_is_no_whole_result_is_refused(rng):
    table = planted(rng, skill=1.0, n_random=1)
    with pytest.raises(ValueError, match=r"got no \['cluster'\]; make them with circuit_values"):
        faithfulness_curve(table.drop(columns="cluster"), rng=rng)
    with pytest.raises(ValueError, match="got no row"):
        faithfulness_curve(table[:0], rng=rng)
    with pytest.raises(ValueError, match="2 rankings and 12 prompts once, 240 in all, got 239"):
        faithfulness_curve(table[1:], rng=rng)
    with pytest.raises(ValueError, match="240 in all, got 480"):
        faithfulness_curve(pd.concat([table, table]), rng=rng)
    with pytest.raises(ValueError, match="value"):
        faithfulness_curve(table.assign(value=np.nan), rng=rng)
    with pytest.raises(ValueError, match="expected one clean a prompt, got several"):
        faithfulness_curve(table.assign(clean=np.arange(len(table)) * 1.0), rng=rng)
    with pytest.raises(ValueError, match="share"):
        faithfulness_curve(table, rng=rng, share=1.0)
