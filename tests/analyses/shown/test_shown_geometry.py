"""The part on angles is told and drawn from any result, whatever its names and gaps."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from analyses._parts._geometry_independence import independence_layers, independence_of
from analyses._parts._geometry_predictors import Effects, predict_effects, random_reference
from analyses._shown._geometry_figures import predictor_bars
from analyses._shown.geometry import SHOWN
from analyses.vector_geometry import (
    COSINE,
    VectorGeometry,
    VectorSet,
    cosine_set,
    persona_angles,
)

HOSTILE = "<img src=x onerror=alert(1)>"
LAYERS = (0, 3, 5)
PERSONAS = ("kind", "cruel", HOSTILE, "coffee")
GROUPS = {"kind": "pro", "cruel": "anti", HOSTILE: "other", "coffee": "control"}
REFERENCE = "refusal (requests)"


def planted(*, empty: bool = False) -> VectorGeometry:
    """A result with everything, or with all that may be missing left out."""
    rng = np.random.default_rng(0)
    generator = torch.Generator().manual_seed(0)
    sets = []
    for family, extra in (("statements", ()), ("questions", ("refusal (yes)", "fulfilment (yes)"))):
        names = (*PERSONAS, *extra, REFERENCE)
        for yes in ("kept", "removed"):
            n = len(names)
            bands = torch.full((n, n, 3, 2), float("nan") if empty else 0.2)
            bands[..., 0] *= -1
            sets.append(
                VectorSet(
                    family=family,
                    yes=yes,
                    names=names,
                    n_personas=4,
                    layers=LAYERS,
                    vectors=torch.randn(n, 3, 24, generator=generator),
                    bands=bands,
                    reliability=torch.full((n, 3), float("nan") if empty else 0.8),
                )
            )
    sets = sets[:1] if empty else sets
    effects = Effects(
        treatment="prompt", names=PERSONAS, choosing=rng.normal(size=4), testing=rng.normal(size=4)
    )
    values = {COSINE: rng.normal(size=(3, 4)), "length of the vector": rng.normal(size=(3, 4))}
    fits = () if empty else predict_effects(values, effects, LAYERS, rng=rng, n_permutations=20)
    row = random_reference(rng.normal(size=(9, 3, 4)), effects, fits[0] if fits else None)
    shifts = np.abs(rng.normal(size=(4, 6, 3)))
    way = "persona removed"
    shares = [("statements", layer, 0.1, 0.0, 0.4) for layer in ([] if empty else LAYERS)]
    return VectorGeometry(
        n=4,
        layer=3,
        reference=REFERENCE,
        cosines=tuple(cosine_set(each) for each in sets),
        by_layer=pd.concat([persona_angles(s, GROUPS, generator=generator) for s in sets]),
        yes_share=pd.DataFrame(shares, columns=["family", "layer", "mean", "least", "greatest"]),
        independence=independence_of(
            shifts, np.ones((0 if empty else 3, 4)), PERSONAS, GROUPS, way=way, rng=rng
        ),
        independence_by_layer=independence_layers(
            shifts, np.ones((3, 1, 3)), LAYERS, control=3, way=way
        ),
        n_independence=6,
        predictors=fits,
        random_references=pd.DataFrame(
            [] if row is None else [row], columns=["treatment", "n", "median", "high", "as_good"]
        ),
        small=(HOSTILE,) if empty else (),
    )


@pytest.mark.parametrize("empty", [False, True])
def test_every_figure_is_drawn_and_no_name_is_markup(empty: bool) -> None:
    found = planted(empty=empty)
    panels = SHOWN.panels(found)
    assert len({each.key for each in panels}) == len(panels) == (5 if empty else 6)
    for each in panels:
        assert each.section == "part-geometry"
        for figure in (each.light, each.dark):
            assert "<img" not in figure.to_json().replace("\\u003c", "<")


def test_the_answer_names_the_number_the_chance_and_the_rival() -> None:
    found = planted()
    told = SHOWN.tell(found)
    assert "leave-one-out R²" in told.answer
    assert "random directions reach" in told.answer
    assert "length of the vector" in told.answer
    predictors, angles, independence = told.tables
    assert len(predictors.rows) == 2
    assert len(angles.rows) == 4
    assert {row[0] for row in independence.rows} == set(PERSONAS)
    for table in told.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_without_effects_questions_or_data_it_is_said() -> None:
    told = SHOWN.tell(planted(empty=True))
    assert "no effects for them to predict" in told.answer
    limits = " ".join(told.limits)
    assert "bands always hold them" in limits
    assert "was not removed" in limits
    assert "no refusal score" in limits


def test_bars_show_each_fit_with_its_interval() -> None:
    found = planted()
    drawn = [trace.y[0] for trace in predictor_bars(found).data if trace.type == "bar"]
    assert drawn == pytest.approx([fit.r2.estimate for fit in found.predictors])
    bare = predictor_bars(replace(found, predictors=()))
    assert not [trace for trace in bare.data if trace.type == "bar"]
