"""Planted angles are told from chance; what predicts is found, and what does not is not."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binom, norm

from analyses._parts._geometry_independence import independence_layers, independence_of
from analyses._parts._geometry_predictors import (
    Effects,
    best_layer,
    predict_effects,
    random_reference,
)
from analyses.vector_geometry import (
    COSINE,
    VectorGeometry,
    VectorSet,
    cosine_set,
    geometry_claims,
    persona_angles,
)

LAYERS = (1, 4)
D_MODEL = 48
NAMES = ("a", "b", "c", "d", "refusal (requests)")
GROUPS = {"a": "pro", "b": "pro", "c": "anti", "d": "anti"}


def vector_set(vectors: torch.Tensor, *, band: float = 0.3, reliability: float = 0.81) -> VectorSet:
    n, n_layers = vectors.shape[:2]
    bands = torch.full((n, n, n_layers, 2), band)
    bands[..., 0] = -band
    return VectorSet(
        family="statements",
        yes="kept",
        names=NAMES[:n],
        n_personas=n - 1,
        layers=LAYERS,
        vectors=vectors,
        bands=bands,
        reliability=torch.full((n, n_layers), reliability),
    )


def sided(rng: np.random.Generator) -> torch.Tensor:
    """Two personas on one side and two on the other of one axis, and refusal along it."""
    axis = rng.normal(size=D_MODEL)
    signs = np.array([1.0, 1.0, -1.0, -1.0, -1.0])
    noise = rng.normal(size=(5, 2, D_MODEL)) * 0.1
    return torch.tensor(signs[:, None, None] * axis + noise)


def test_sides_show_in_the_cosines_and_leave_their_band() -> None:
    rng = np.random.default_rng(0)
    found = persona_angles(
        vector_set(sided(rng)), GROUPS, generator=torch.Generator().manual_seed(0)
    )
    assert (found["same_side"] > 0.9).all()
    assert (found["opposite_side"] < -0.9).all()
    assert (found["beyond"] == 1.0).all()
    assert found["ceiling"].tolist() == pytest.approx([0.81, 0.81])
    assert (found["rank"] < 2).all()
    assert (found["rank_low"] > 3).all()
    assert (found["n"] == 4).all()


def test_unrelated_vectors_stay_in_their_band_and_have_the_rank_of_random_ones() -> None:
    inside = []
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        vectors = torch.randn(5, 2, D_MODEL, generator=generator)
        found = persona_angles(vector_set(vectors), GROUPS, generator=generator)
        # A cosine of random vectors has a standard deviation of 1 / sqrt(d_model).
        assert found["beyond"].mean() < 0.5
        inside += (
            (found["rank"] >= found["rank_low"]) & (found["rank"] <= found["rank_high"])
        ).tolist()
    assert sum(inside) >= binom.ppf(norm.sf(3), len(inside), 0.9)


def test_pairs_hold_the_wider_band_and_the_ceiling_of_both() -> None:
    made = vector_set(sided(np.random.default_rng(1)))
    made.bands[0, 4, :, 1] = 0.7
    made.bands[4, 1, :, 0] = -0.6
    made.reliability[0] = 0.36
    made.reliability[2] = -0.2
    pairs = cosine_set(made).pairs.set_index(["first", "second", "layer"])
    a, b, c = (pairs.loc[name, NAMES[4], 1] for name in "abc")
    assert (a["low"], a["high"]) == pytest.approx((-0.3, 0.7))
    assert (b["low"], b["high"]) == pytest.approx((-0.6, 0.3))
    assert a["ceiling"] == pytest.approx(math.sqrt(0.36 * 0.81))
    assert c["ceiling"] == 0.0
    assert a["cosine"] < -0.9
    assert set(pairs.index.get_level_values("second")) == {NAMES[4]}


def test_matrices_are_symmetric_with_a_diagonal_of_ones() -> None:
    matrices = cosine_set(vector_set(torch.randn(5, 2, D_MODEL))).matrices
    torch.testing.assert_close(matrices, matrices.transpose(1, 2))
    torch.testing.assert_close(matrices.diagonal(dim1=1, dim2=2), torch.ones(2, 5))


def test_independence_has_its_interval_and_the_range_of_the_nulls() -> None:
    rng = np.random.default_rng(0)
    shifts = np.abs(rng.normal(0.5, 0.05, (2, 30, 3)))
    shifts[1] /= 100
    nulls = np.abs(rng.normal(0.01, 0.002, (5, 2)))
    found = independence_of(shifts, nulls, "ab", GROUPS, way="persona removed", rng=rng)
    first, second = found.to_dict(orient="records")
    assert first["low"] < 0.5 < first["high"]
    assert first["low"] > first["null_high"]
    assert second["estimate"] < second["null_high"]
    assert first["null_low"] <= nulls.min()
    bare = independence_of(shifts, nulls[:0], "ab", GROUPS, way="x", rng=rng)
    assert bare["null_high"].isna().all()


def test_the_control_stands_apart_by_layer() -> None:
    shifts = np.stack([np.full((4, 2), 0.2), np.full((4, 2), 0.7)])
    rows = independence_layers(shifts, np.full((3, 1, 2), 0.1), LAYERS, control=1, way="x")
    by = rows.groupby("who")["shift"].first().to_dict()
    assert by == pytest.approx({"personas": 0.2, "control": 0.7, "random directions": 0.1})
    without = independence_layers(shifts, np.full((3, 1, 2), 0.1), LAYERS, control=None, way="x")
    assert set(without["who"]) == {"personas", "random directions"}


def effects(y: np.ndarray, choosing: np.ndarray | None = None) -> Effects:
    return Effects(
        treatment="prompt",
        names=tuple(f"p{at}" for at in range(len(y))),
        choosing=y if choosing is None else choosing,
        testing=y,
    )


def fits(values: dict, found: Effects, seed: int = 0) -> dict:
    made = predict_effects(
        values, found, LAYERS, rng=np.random.default_rng(seed), n_permutations=199
    )
    return {fit.name: fit for fit in made}


def test_an_effect_of_the_angle_is_the_angle_s() -> None:
    rng = np.random.default_rng(0)
    cosine, length = rng.normal(size=(2, 2, 16))
    y = 2 * cosine[1] + rng.normal(0, 0.3, 16)
    found = fits({COSINE: cosine, "length": length}, effects(y))
    assert (found[COSINE].layer, found[COSINE].n) == (4, 16)
    assert found[COSINE].r2.estimate > 0.8
    assert found[COSINE].p_over_layers == 1 / 200
    assert found[COSINE].slope.estimate > 0
    assert found["length"].beyond_cosine.high < 0
    assert found["length"].p_over_layers > 0.05
    assert list(found[COSINE].points.columns) == ["persona", "value", "effect"]


def test_an_effect_of_the_length_alone_is_not_the_angle_s() -> None:
    rng = np.random.default_rng(3)
    cosine, length = rng.normal(size=(2, 2, 16))
    found = fits({COSINE: cosine, "length": length}, effects(length[0] + rng.normal(0, 0.1, 16)))
    assert found["length"].layer == 1
    assert found["length"].beyond_cosine.low > 0
    assert found[COSINE].r2.estimate < 0.5
    assert found[COSINE].p_over_layers > 0.05


def test_the_layer_is_chosen_on_other_requests() -> None:
    rng = np.random.default_rng(1)
    cosine = rng.normal(size=(2, 12))
    found = fits({COSINE: cosine}, effects(cosine[1], choosing=cosine[0]))
    assert found[COSINE].layer == 1
    assert found[COSINE].r2.estimate < 0.5
    # What was not chosen still counts in the test over layers.
    assert found[COSINE].p_over_layers == 1 / 200


def test_dealt_personas_predict_nothing_at_the_nominal_rate() -> None:
    seeds, hits = 40, 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        cosine = rng.normal(size=(2, 5))
        found = fits({COSINE: cosine}, effects(rng.normal(size=5)), seed)
        hits += found[COSINE].p_over_layers <= 0.05
    assert hits <= binom.ppf(norm.cdf(3), seeds, 0.05)


def test_along_one_line_random_directions_predict_as_well() -> None:
    rng = np.random.default_rng(0)
    valence = np.linspace(-1, 1, 14)
    one_line = np.repeat(np.sign(rng.normal(size=(50, 2, 1))), 14, axis=2) * valence
    spread = rng.normal(size=(50, 2, 14))
    found = effects(valence + rng.normal(0, 0.05, 14))
    cosine = fits({COSINE: np.stack([valence, valence])}, found)[COSINE]
    line, cloud = (random_reference(x, found, cosine) for x in (one_line, spread))
    assert line is not None
    assert cloud is not None
    assert line["as_good"] > 0.9
    assert cloud["as_good"] == 0.0
    assert float(str(cloud["high"])) < cosine.r2.estimate
    assert random_reference(spread, found, None) is None


@pytest.mark.parametrize("y", [np.zeros(6), np.full(6, np.nan), np.array([1.0, 2, *[np.nan] * 4])])
def test_without_effects_nothing_is_predicted(y: np.ndarray) -> None:
    assert fits({COSINE: np.random.default_rng(0).normal(size=(2, 6))}, effects(y)) == {}


def test_layers_and_predictors_without_numbers_are_left_out() -> None:
    rng = np.random.default_rng(0)
    cosine = rng.normal(size=(2, 8))
    cosine[0, 3] = np.nan
    y = cosine[1] + rng.normal(0, 0.1, 8)
    found = fits({COSINE: cosine, "gone": np.full((2, 8), np.nan)}, effects(y))
    assert set(found) == {COSINE}
    assert found[COSINE].layer == 4
    assert best_layer(cosine, np.full(8, np.nan)) == 1


def geometry(estimate: float, p: float, high: float) -> VectorGeometry:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 9))
    (fit,) = predict_effects({COSINE: x}, effects(x[0]), LAYERS, rng=rng, n_permutations=50)
    changed = {"r2": fit.r2.__class__(estimate=estimate, low=0.0, high=1.0, level=0.95)}
    empty = pd.DataFrame()
    return VectorGeometry(
        n=9,
        layer=1,
        reference=NAMES[4],
        cosines=(),
        by_layer=empty,
        yes_share=empty,
        independence=empty,
        independence_by_layer=empty,
        n_independence=0,
        predictors=(fit.__class__(**vars(fit) | changed | {"p_over_layers": p}),),
        random_references=pd.DataFrame([{"treatment": "prompt", "high": high}]),
        small=(),
    )


@pytest.mark.parametrize(("high", "beyond"), [(0.5, True), (0.9, False), (-1.0, True)])
def test_a_claim_has_to_beat_random_directions(high: float, beyond: bool) -> None:
    (claim,) = geometry_claims(geometry(0.8, 0.01, high))
    assert (claim.p, claim.beyond_nulls, claim.n) == (0.01, beyond, 9)
    (worse,) = geometry_claims(geometry(-0.1, 0.01, -1.0))
    assert not worse.beyond_nulls
