"""A planted circuit is found, sized and told from chance; without a difference nothing is."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, norm

from analyses._circuit_tables import (
    CUT,
    RANDOM_CUT,
    WHOLE,
    component_rows,
    edge_rows,
    head_rows,
    refusal_rows,
)
from analyses.persona_circuit import (
    FOUND,
    RUN_COLUMNS,
    PersonaCircuit,
    chosen_size,
    circuit_check,
    circuit_claims,
    curve_rows,
    has_effect,
    neutral_differences,
)

N = 20
# Share of the difference that circuits of each size carry: alone, and taken away where cut.
CARRIED = {False: {2: 0.1, 4: 0.5, 8: 0.9, 16: 1.0}, True: {1: 0.6, 2: 0.95, 4: 1.0}}


def runs(
    rng: np.random.Generator,
    *,
    effect: float = 4.0,
    found: Mapping[bool, Mapping[int, float]] = CARRIED,
    random: float = 0.0,
    pairs: tuple[str, ...] = ("cruel / kind", "bully / nurse"),
    draws: int = 4,
) -> pd.DataFrame:
    """Circuits that carry planted shares of the difference, random ones a share of their own."""
    tables = []
    for cut, sizes in found.items():
        for size, share in sizes.items():
            for draw in range(-1, draws):
                for pair in pairs:
                    corrupted = rng.normal(2.0, 0.3, N)
                    total = effect + rng.normal(0, 0.5, N)
                    carried = (share if draw < 0 else random) * total + rng.normal(0, 0.02, N)
                    value = corrupted + (total - carried if cut else carried)
                    rows = {
                        "circuit": FOUND if draw < 0 else f"random {draw + 1}",
                        "size": size,
                        "cut": cut,
                        "pair": pair,
                        "prompt_id": [f"r{at}" for at in range(N)],
                        "clean": corrupted + total,
                        "corrupted": corrupted,
                        "value": value,
                    }
                    tables.append(pd.DataFrame(rows))
    out = pd.concat(tables, ignore_index=True)
    assert tuple(out.columns) == RUN_COLUMNS
    # The whole difference is the same in every run of a pair and request.
    first = out.groupby(["pair", "prompt_id"])[["clean", "corrupted"]].transform("first")
    shift = first["corrupted"] - out["corrupted"]
    scale = (first["clean"] - first["corrupted"]) / (out["clean"] - out["corrupted"])
    value = (out["value"] - out["corrupted"]) * scale + out["corrupted"] + shift
    return out.assign(value=value, clean=first["clean"], corrupted=first["corrupted"])


def circuit(table: pd.DataFrame, rng: np.random.Generator, **changed: Any) -> PersonaCircuit:
    sizes = {cut: chosen_size(table, cut=cut) for cut in (False, True)}
    at = table[table["size"] == table["cut"].map(sizes)]
    neutral = runs(rng, effect=0.0, found={False: {8: 0.9}}, pairs=("a / c", "b / c"), draws=0)
    rows, within = neutral_differences(neutral, rng=rng)
    told: dict[str, Any] = {
        "sides": ("anti", "pro"),
        "control": "coffee",
        "n_found": N,
        "size": sizes[False],
        "live": sizes[False],
        "cut_size": sizes[True],
        "n_edges": 16,
        "checks": (circuit_check(at, personas="held out", rng=rng),),
        "neutral": rows,
        "neutral_range": within,
        "curve": curve_rows(table, rng=rng),
        **dict.fromkeys(("edges", "heads", "components", "refusal"), pd.DataFrame()),
        "left_out": (),
        "by_request": at,
    }
    return PersonaCircuit(**told | changed)


def test_the_smallest_circuits_that_do_are_chosen() -> None:
    table = runs(np.random.default_rng(0))
    assert chosen_size(table, cut=False) == 8
    assert chosen_size(table, cut=True) == 2


def test_a_circuit_that_overshoots_is_not_chosen() -> None:
    shares = {False: {2: 1.4, 4: 0.9, 16: 1.0}, True: {4: 1.0}}
    assert chosen_size(runs(np.random.default_rng(0), found=shares), cut=False) == 4
    none = {False: {2: 1.4, 4: 0.3}, True: {4: 1.0}}
    with pytest.raises(ValueError, match=r"carries 0.85 of the difference, got none of \[2, 4\]"):
        chosen_size(runs(np.random.default_rng(0), found=none), cut=False)


def test_planted_shares_are_found_and_claimed() -> None:
    rng = np.random.default_rng(0)
    found = circuit(runs(rng), rng)
    check = found.check
    assert (check.n, check.pairs) == (N, ("cruel / kind", "bully / nurse"))
    assert check.total.estimate == pytest.approx(4.0, abs=0.3)
    assert check.alone.share.estimate == pytest.approx(0.9, abs=0.02)
    assert check.cut.share.estimate == pytest.approx(0.95, abs=0.02)
    assert check.alone.random.estimate == pytest.approx(0.0, abs=0.05)
    alone, cut = circuit_claims(found)
    for claim in (alone, cut):
        assert claim.p < 0.001
        assert claim.beyond_nulls


def test_the_other_side_of_a_difference_is_claimed_too() -> None:
    rng = np.random.default_rng(0)
    assert all(each.beyond_nulls for each in circuit_claims(circuit(runs(rng, effect=-4.0), rng)))


def test_random_circuits_that_do_as_much_leave_nothing_to_claim() -> None:
    rng = np.random.default_rng(0)
    table = runs(rng, random=0.97)
    assert not any(claim.beyond_nulls for claim in circuit_claims(circuit(table, rng)))


def test_a_cut_that_leaves_half_is_not_claimed() -> None:
    rng = np.random.default_rng(0)
    shares = {False: CARRIED[False], True: {1: 0.4, 2: 0.95}}
    table = runs(rng, found=shares)
    found = circuit(table, rng)
    left = circuit_check(table[~table["cut"] | (table["size"] == 1)], personas="seen", rng=rng)
    _, cut = circuit_claims(circuit(table, rng, checks=(left,)))
    assert not cut.beyond_nulls
    assert circuit_claims(found)[1].beyond_nulls


def test_a_difference_no_larger_than_between_neutral_texts_is_none() -> None:
    rng = np.random.default_rng(0)
    found = circuit(runs(rng, effect=0.3), rng, neutral_range=(-0.6, 0.6))
    assert found.check.total.excludes(0.0)
    assert not has_effect(found)
    assert not any(claim.beyond_nulls for claim in circuit_claims(found))
    without = circuit(runs(rng), rng, neutral_range=None)
    assert not any(claim.beyond_nulls for claim in circuit_claims(without))


def test_dealt_names_are_claimed_at_no_more_than_the_nominal_rate() -> None:
    """Each request deals first and second user anew: the sign of all it shows is a coin's."""
    seeds, hits = 25, np.zeros(2)
    small = {False: {8: 0.9}, True: {2: 0.95}}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        table = runs(rng, found=small, pairs=("cruel / kind",), draws=2)
        swapped = table["prompt_id"].map(
            dict(zip(sorted(set(table["prompt_id"])), rng.random(N) < 0.5, strict=True))
        )
        turned = table.assign(
            clean=table["clean"].where(~swapped, table["corrupted"]),
            corrupted=table["corrupted"].where(~swapped, table["clean"]),
            value=table["value"].where(
                ~swapped, table["clean"] + table["corrupted"] - table["value"]
            ),
        )
        check = circuit_check(turned, personas="seen", rng=rng)
        hits += [max(each.p, check.p_total) <= 0.05 for each in (check.alone, check.cut)]
    assert (hits <= binom.ppf(norm.cdf(3), seeds, 0.05)).all()


def test_the_curve_gives_what_is_kept_and_what_is_left() -> None:
    rng = np.random.default_rng(0)
    table = curve_rows(runs(rng, random=0.2), rng=rng).set_index(["cut", "size"])
    assert table.loc[(False, 8), "estimate"] == pytest.approx(0.9, abs=0.02)
    assert table.loc[(True, 1), "estimate"] == pytest.approx(0.4, abs=0.02)
    assert table.loc[(False, 8), "random"] == pytest.approx(0.2, abs=0.02)
    assert table.loc[(True, 1), "random"] == pytest.approx(0.8, abs=0.02)
    assert (table["random_low"] <= table["random_high"]).all()


def test_edges_are_ranked_by_size_whatever_their_sign() -> None:
    rng = np.random.default_rng(0)
    edges = [("embed", "attn 0"), ("head 0.1", "mlp 0"), ("mlp 0", "logits")]
    scores = np.array([0.5, -2.0, 0.1]) + rng.normal(0, 0.01, (2 * N, 3))
    ids = [f"r{at}" for at in range(N)] * 2
    circuits = {"sufficient": {edges[1]}, "necessary": set()}
    table = edge_rows(scores, ids, edges, circuits=circuits, rng=rng)
    assert list(table["target"]) == ["mlp 0", "attn 0", "logits"]
    assert list(table["rank"]) == [1, 2, 3]
    assert list(table["sufficient"]) == [True, False, False]
    assert not table["necessary"].any()
    assert (table["low"] <= table["score"]).all()


def test_the_head_that_reads_the_user_is_found_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    ids, sides = [f"r{at}" for at in range(N)] * 2, ["anti"] * N + ["pro"] * N
    control = rng.normal(0.3, 0.02, (2 * N, 3, 2))
    mass, written = control + rng.normal(0, 0.02, control.shape), rng.normal(0, 0.1, control.shape)
    mass[:, 1, 0] += 0.2
    written[:N, 1, 0] += 0.5
    table = head_rows((mass, control), written, ids, sides, first="anti", rng=rng)
    one = table.set_index(["layer", "head"])
    assert one.loc[(1, 0), "mass_difference"] == pytest.approx(0.2, abs=0.02)
    assert one.loc[(1, 0), "written"] == pytest.approx(0.5, abs=0.1)
    assert max(one.loc[(1, 0), "mass_p"], one.loc[(1, 0), "written_p"]) < 0.001
    others = one.drop(index=(1, 0))
    assert min(others["mass_p"].min(), others["written_p"].min()) > 0.01


def test_direct_shares_are_ranked_and_add_up() -> None:
    rng = np.random.default_rng(0)
    shares = np.array([1.0, -3.0, 0.0]) + rng.normal(0, 0.1, (N, 3))
    parts = [("embed", -1, -1), ("head 2.1", 2, 1), ("mlp 2", 2, -1)]
    table = component_rows(shares, [f"r{at}" for at in range(N)], parts, rng=rng)
    assert list(table["component"]) == ["head 2.1", "embed", "mlp 2"]
    assert table["estimate"].sum() == pytest.approx(shares.mean(axis=0).sum())
    assert table["p"].iloc[0] < 0.001 < table["p"].iloc[2]


def test_refusal_as_such_is_told_from_the_difference() -> None:
    rng = np.random.default_rng(0)
    scores = {"anti": 4.0, "pro": -1.0}
    rows = [
        {
            "circuit": name,
            "side": side,
            "harmful": harmful,
            "pair": "p",
            "prompt_id": f"{harmful}{at}",
        }
        | {"value": (2.0 if name == CUT else level) if harmful else -10.0}
        for name in (WHOLE, CUT, RANDOM_CUT)
        for side, level in scores.items()
        for harmful in (True, False)
        for at in range(N)
    ]
    table = refusal_rows(pd.DataFrame(rows), sides=("anti", "pro"), rng=rng)
    value = table.set_index(["circuit", "measure"])["estimate"]
    assert value[WHOLE, "difference"] == pytest.approx(5.0)
    assert value[CUT, "difference"] == pytest.approx(0.0)
    assert value[CUT, "as such"] == pytest.approx(12.0)
    assert value[RANDOM_CUT, "anti"] == pytest.approx(4.0)
