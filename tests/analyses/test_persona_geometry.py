"""A planted relation of cosine and effect is recovered; none planted, none found."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binom

from analyses.persona_geometry import GeometryFit, PersonaGeometry, persona_geometry

LAYERS = (1, 3, 6)
D_MODEL = 32


def unit(angle: float) -> torch.Tensor:
    """A direction with cosine ``cos(angle)`` to the first axis."""
    out = torch.zeros(D_MODEL)
    out[0], out[1] = np.cos(angle), np.sin(angle)
    return out


REFUSAL = unit(0.0)[None].repeat(len(LAYERS), 1)


def turned(cosines: dict[str, float], *, layers: tuple[int, ...] = LAYERS) -> dict:
    """Vectors with these cosines to refusal at ``layers``, orthogonal to it elsewhere."""
    return {
        name: torch.stack([unit(np.arccos(cosine if layer in layers else 0.0)) for layer in LAYERS])
        for name, cosine in cosines.items()
    }


def effects(means: dict[str, float], *, treatment: str = "prompt", layer: int = -1) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "persona": name,
                "treatment": treatment,
                "layer": layer,
                "split": split,
                "effect": mean,
            }
            for (name, mean), split in product(means.items(), ("layer", "test"))
        ]
    )


def analyse(vectors: dict, table: pd.DataFrame, *, seed: int = 0, n: int = 500) -> PersonaGeometry:
    return persona_geometry(
        vectors,
        {"refusal": REFUSAL},
        table,
        groups=dict.fromkeys(vectors, "other"),
        layers=LAYERS,
        rng=np.random.default_rng(seed),
        n_permutations=n,
    )


NAMES = [f"persona {at}" for at in range(12)]
COSINES = dict(zip(NAMES, np.linspace(-0.9, 0.8, len(NAMES)), strict=True))


def only_fit(found: PersonaGeometry) -> GeometryFit:
    (fit,) = found.fits
    return fit


def test_known_cosines_are_found_at_every_layer() -> None:
    found = analyse(turned(COSINES), effects(COSINES))
    for row in found.cosines.itertuples():
        assert row.cosine == pytest.approx(COSINES[row.persona], abs=1e-5)
    assert found.names == (*NAMES, "refusal")
    assert found.matrices.shape == (3, 13, 13)
    torch.testing.assert_close(found.matrices, found.matrices.transpose(1, 2))
    torch.testing.assert_close(found.matrices[:, 12, 0], torch.full((3,), -0.9))
    angles = np.arccos([COSINES[NAMES[0]], COSINES[NAMES[5]]])
    expected = float(np.cos(angles[0] - angles[1]))
    assert float(found.matrices[1, 0, 5]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("slope", [3.0, -2.0])
def test_a_planted_linear_relation_is_recovered(slope: float) -> None:
    rng = np.random.default_rng(1)
    means = {name: slope * cosine + rng.normal(0, 0.05) for name, cosine in COSINES.items()}
    fit = only_fit(analyse(turned(COSINES), effects(means)))
    assert fit.pearson.estimate == pytest.approx(np.sign(slope), abs=0.05)
    assert fit.spearman.estimate == pytest.approx(np.sign(slope), abs=0.05)
    assert fit.pearson.p <= 0.01
    assert fit.p_over_layers <= 0.01
    assert fit.pearson.low <= fit.pearson.estimate <= fit.pearson.high
    assert fit.n == len(NAMES)
    assert list(fit.points.columns) == ["persona", "group", "cosine", "effect"]
    assert fit.points.set_index("persona")["effect"].to_dict() == pytest.approx(means)


def test_the_layer_is_chosen_on_the_layer_split_alone() -> None:
    """Cosines follow one order at layer 1 and another at layer 6; each split has its own."""
    rng = np.random.default_rng(2)
    other = dict(zip(NAMES, rng.permutation(list(COSINES.values())), strict=True))
    early, late = turned(COSINES), turned(other)
    vectors = {
        name: torch.stack([early[name][0], unit(np.pi / 2), late[name][2]]) for name in NAMES
    }
    table = effects(COSINES)
    table.loc[table["split"] == "test", "effect"] = [other[name] for name in NAMES]
    fit = only_fit(analyse(vectors, table))
    assert fit.layer == 1
    assert abs(fit.pearson.estimate) < 0.9
    by_layer = analyse(vectors, table).by_layer.set_index("layer")["pearson"]
    assert by_layer[6] == pytest.approx(1.0)


def test_nothing_planted_is_found_at_the_nominal_rate() -> None:
    quiet = 0
    n_seeds = 100
    for seed in range(n_seeds):
        rng = np.random.default_rng(seed)
        vectors = {name: torch.tensor(rng.normal(size=(3, D_MODEL))) for name in NAMES}
        means = {name: rng.normal() for name in NAMES}
        table = effects(means)
        references = {"refusal": torch.tensor(rng.normal(size=(3, D_MODEL)))}
        found = persona_geometry(
            vectors,
            references,
            table,
            groups=dict.fromkeys(NAMES, "other"),
            layers=LAYERS,
            rng=rng,
            n_permutations=99,
        )
        quiet += only_fit(found).p_over_layers >= 0.05
    assert quiet >= binom.ppf(0.001, n_seeds, 0.95)


def test_a_relation_at_one_layer_only_survives_the_search_over_layers() -> None:
    fit = only_fit(analyse(turned(COSINES, layers=(3,)), effects(COSINES)))
    assert fit.layer == 3
    assert fit.pearson.estimate == pytest.approx(1.0)


def test_effects_of_a_vector_are_taken_at_the_cosine_s_own_layer() -> None:
    flat = dict.fromkeys(NAMES, 0.0)
    table = pd.concat(
        [
            effects(COSINES if layer == 3 else flat, treatment="plus", layer=layer)
            for layer in LAYERS
        ]
    )
    fit = only_fit(analyse(turned(COSINES), table))
    assert (fit.treatment, fit.layer) == ("plus", 3)
    assert fit.pearson.estimate == pytest.approx(1.0)


def test_one_fit_for_each_reference_and_treatment() -> None:
    table = pd.concat([effects(COSINES), effects(COSINES, treatment="plus", layer=3)])
    found = persona_geometry(
        turned(COSINES),
        {"a": REFUSAL, "b": -REFUSAL},
        table,
        groups={},
        layers=LAYERS,
        rng=np.random.default_rng(0),
        n_permutations=50,
    )
    signs = {(f.reference, f.treatment): round(f.pearson.estimate) for f in found.fits}
    assert signs == {("a", "prompt"): 1, ("b", "prompt"): -1, ("a", "plus"): 1, ("b", "plus"): -1}


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_effects_without_variance_or_value_give_no_correlation(value: float) -> None:
    fit = only_fit(analyse(turned(COSINES), effects(dict.fromkeys(NAMES, value))))
    assert np.isnan(fit.pearson.estimate)
    assert (fit.pearson.p, fit.spearman.p, fit.p_over_layers) == (1.0, 1.0, 1.0)


def test_a_persona_without_effect_is_named() -> None:
    table = effects(dict.fromkeys(NAMES[1:], 0.0))
    with pytest.raises(ValueError, match=r"effect for every persona, \['persona 0'\] have none"):
        analyse(turned(COSINES), table)


def test_two_personas_are_too_few() -> None:
    two = dict(list(COSINES.items())[:2])
    with pytest.raises(ValueError, match="at least three personas to correlate, got 2"):
        analyse(turned(two), effects(two))
