"""All layers tested at once: what was planted lasts, and dealt names find nothing."""

import numpy as np
import pandas as pd
import pytest

from analyses._parts._layers_choices import layer_choices
from analyses._parts._layers_windows import window_test
from analyses.layer_test import LayerTest, layer_claims, layer_test
from analyses.scores import SCORE_COLUMNS

LAYERS = (0, 1, 2, 3)
NULLS = ("random 1", "random 2", "random 3")


def planted(
    rng: np.random.Generator,
    effect: dict[str, float],
    *,
    n: int = 16,
    at: int = 2,
    dealt: bool = False,
) -> pd.DataFrame:
    """Scores with each persona's effect at one layer, opposite for the two signs."""
    rows: list[tuple[object, ...]] = []
    people = {**effect, "coffee": 0.0}
    for split in ("layer", "test"):
        base = rng.normal(2.0, 1.0, n)
        ids = [f"{split}{i:02d}" for i in range(n)]
        rows += [
            ("none", "none", "baseline", "baseline", -1, split, i, True, b, None)
            for i, b in zip(ids, base, strict=True)
        ]
        for i, b in zip(ids, base, strict=True):
            moved = {
                (name, sign, layer): b
                + (size if layer == at else 0.0) * (1 if sign == "plus" else -1)
                + rng.normal(0, 0.4)
                for name, size in people.items()
                for sign in ("plus", "minus")
                for layer in LAYERS
            }
            names = list(people)
            owner = dict(zip(names, rng.permutation(names) if dealt else names, strict=True))
            for (name, sign, layer), _ in moved.items():
                kind = "control" if name == "coffee" else "persona"
                value = moved[owner[name], sign, layer]
                rows.append((name, "pro", kind, sign, layer, split, i, True, value, None))
            for name in NULLS:
                for sign in ("plus", "minus"):
                    for layer in LAYERS:
                        value = b + rng.normal(0, 0.4)
                        rows.append(
                            (name, "null", "null", sign, layer, split, i, True, value, None)
                        )
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def result_of(scores: pd.DataFrame) -> LayerTest:
    rng = np.random.default_rng(0)
    choices = layer_choices(scores, control="coffee", rng=rng)
    assert choices is not None
    found = layer_test(scores, choices=choices, control="coffee", rng=rng)
    assert found is not None
    return found


def test_only_the_planted_layer_lasts() -> None:
    result = result_of(planted(np.random.default_rng(1), {"kind": -1.5, "flat": 0.0}))
    kind, flat = result.personas
    assert (kind.plus, kind.minus, kind.layer) == ((2,), (2,), 2)
    assert kind.p < 0.001
    assert kind.p_joint < 0.01
    assert (flat.plus, flat.minus) == ((), ())
    claims = {claim.persona: claim for claim in layer_claims(result)}
    assert claims["kind"].beyond_nulls
    assert claims["kind"].vector
    assert claims["flat"].p > 0.05


def test_a_wider_family_never_lowers_p() -> None:
    table = result_of(planted(np.random.default_rng(2), {"kind": -0.4, "flat": 0.0})).by_layer
    # Drawn flips differ a little from one family to the next.
    assert (table["p_persona"] >= table["p_layers"] - 0.02).all()
    assert (table["p_joint"] >= table["p_persona"] - 0.02).all()


def test_the_chosen_layer_is_the_planted_one_and_choosing_on_test_never_costs() -> None:
    choices = result_of(planted(np.random.default_rng(3), {"kind": -1.5, "flat": 0.0})).choices
    rows = choices.by_arm.set_index(["persona", "treatment"])
    assert rows.loc[("kind", "plus"), "layer"] == 2
    assert rows.loc[("kind", "plus"), "stability"] == 1.0
    assert rows.loc[("flat", "plus"), "stability"] < 1.0
    assert (rows["naive_gain"] >= 0).all()
    assert choices.naive_gain.estimate == pytest.approx(rows["naive_gain"].mean())
    assert choices.optimism.estimate == pytest.approx(rows["optimism"].mean())


def test_choosing_among_layers_without_effect_is_optimistic() -> None:
    found = [
        result_of(planted(np.random.default_rng(seed), {"a": 0.0, "b": 0.0}, n=8)).choices
        for seed in range(4)
    ]
    assert np.mean([each.optimism.estimate for each in found]) > 0.05


def test_dealt_names_find_nothing() -> None:
    p = []
    for seed in range(8):
        scores = planted(np.random.default_rng(seed), {"a": -2.0, "b": 1.0}, n=8, dealt=True)
        p += [claim.p for claim in layer_claims(result_of(scores))]
    assert np.mean(np.array(p) <= 0.1) <= 0.3


def test_scores_that_are_missing_give_no_result() -> None:
    scores = planted(np.random.default_rng(0), {"a": 0.0}).assign(score=np.nan)
    assert layer_choices(scores, control="coffee", rng=np.random.default_rng(0)) is None


@pytest.mark.parametrize("more", [-0.8, 0.0])
def test_a_window_gains_what_was_planted(more: float) -> None:
    rng = np.random.default_rng(4)
    single = planted(rng, {"kind": -1.0})
    wide = single[(single["layer"] == 2)].copy()
    wide["layer"] = 1
    sign = np.where(wide["treatment"] == "plus", 1.0, -1.0)
    wide["score"] += more * sign * (wide["persona"] == "kind")
    found = window_test(
        single,
        wide,
        layers={1: (0, 1, 2)},
        width=3,
        dose=0.75,
        control="coffee",
        rng=rng,
    )
    assert found is not None
    assert found.gain.estimate == pytest.approx(-more, abs=1e-9)
    assert set(found.by_arm["single_layer"]) == {2}
    assert ((found.by_arm["p_corrected"] < 0.01) == (more != 0)).all()
