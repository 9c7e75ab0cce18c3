"""How layers, categories and invariance are told: with controls, n, and names that are hostile."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analyses._shown.categories import SHOWN as CATEGORIES
from analyses._shown.invariance import SHOWN as INVARIANCE
from analyses._shown.layers import SHOWN as LAYERS
from analyses.layer_test import LayerChoices, LayerTest, PersonaLayers, WindowTest
from analyses.persona_invariance import Disparity, PersonaInvariance, Spread
from analyses.request_categories import CategoryInteraction, RequestCategories
from lens_personas.statistics import Interval

HOSTILE = "<img src=x onerror=alert(1)>"
NAN = float("nan")


def interval(value: float = -1.0) -> Interval:
    return Interval(estimate=value, low=value - 0.5, high=value + 0.5, level=0.95)


def layers(*, empty: bool = False) -> LayerTest:
    persona = PersonaLayers(
        persona=HOSTILE,
        group="pro",
        n=12,
        treatment="plus",
        layer=3,
        change=interval(),
        control=interval(0.1),
        difference=interval(-1.1),
        null_range=None if empty else (-0.3, 0.4),
        p=0.01,
        p_joint=0.2,
        plus=(2, 3),
        minus=(),
    )
    by_layer = pd.DataFrame(
        {
            "persona": [HOSTILE] * 4,
            "group": ["pro"] * 4,
            "treatment": ["plus", "plus", "minus", "minus"],
            "layer": [2, 3, 2, 3],
            "change": [-1.0, -1.2, 0.5, NAN],
            "control": 0.1,
            "difference": [-1.1, -1.3, 0.4, NAN],
            "low": -1.6,
            "high": 0.6,
            "p_layers": [0.01, 0.01, 0.3, 1.0],
            "p_persona": 0.02,
            "p_joint": 0.2,
        }
    )
    arm = {"persona": [HOSTILE], "group": ["pro"], "treatment": ["plus"]}
    choices = {
        "layer": 3,
        "selected": 1.0,
        "tested": 0.8,
        "optimism": 0.2,
        "optimism_low": -0.1,
        "optimism_high": 0.5,
        "naive_layer": 3,
        "naive_gain": 0.0,
        "naive_low": NAN,
        "naive_high": NAN,
        "stability": 0.9,
    }
    window = {
        "centre": 3,
        "layers": "2 3 4",
        "change": -1.0,
        "control": 0.1,
        "difference": -1.1,
        "difference_low": -1.5,
        "difference_high": -0.7,
        "null_low": NAN,
        "null_high": NAN,
        "single_layer": 3,
        "single_difference": -1.3,
        "gain": -0.2,
        "gain_low": -0.4,
        "gain_high": 0.1,
        "p_corrected": 0.3,
    }
    tested = WindowTest(
        width=3,
        dose=0.75,
        n=12,
        gain=interval(-0.2),
        by_arm=pd.DataFrame(arm | window),
        by_centre=pd.DataFrame(arm | {"centre": 3, "window": -1.1, "single": -1.3}),
    )
    return LayerTest(
        n=12,
        alpha=0.05,
        personas=(persona,),
        by_layer=by_layer,
        choices=LayerChoices(
            n=6,
            by_arm=pd.DataFrame(arm | choices),
            optimism=interval(0.2),
            naive_gain=interval(0.0),
        ),
        windows=() if empty else (tested,),
        no_windows="2 layers can be chosen, too few for a window of 3" if empty else "",
    )


def categories(*, empty: bool = False) -> RequestCategories:
    row = {
        "category": [HOSTILE, "harmless (control)"],
        "persona": HOSTILE,
        "group": "pro",
        "treatment": "prompt",
        "layer": -1,
        "n": [9, 4],
        "change": [-1.0, NAN],
        "low": [-1.5, NAN],
        "high": [-0.5, NAN],
        "control": 0.1,
        "difference": -1.1,
        "difference_low": -1.5,
        "difference_high": -0.6,
        "points": -0.2,
        "answered": NAN,
    }
    test = {"persona": [HOSTILE], "treatment": ["prompt"], "share": [NAN], "p": [NAN]}
    found = CategoryInteraction(
        persona=HOSTILE,
        treatment="prompt",
        most="a",
        least=HOSTILE,
        contrast=interval(1.0),
        share=0.4,
        null_share=NAN,
        p=0.01,
    )
    return RequestCategories(
        n=9,
        n_harmless=0 if empty else 4,
        alpha=0.05,
        categories=(HOSTILE,),
        pooled=("b",),
        by_category=pd.DataFrame(row),
        by_persona=pd.DataFrame(test | {"p_persona": [NAN], "p_overall": [NAN]}),
        interaction=None if empty else found,
    )


def invariance(*, empty: bool = False) -> PersonaInvariance:
    spread = Spread(
        n_texts=2,
        sd=interval(1.0),
        points=interval(0.2),
        reach=0.3,
        reach_dealt=0.1,
        p=0.01,
        judged=NAN,
        p_judged=NAN,
    )
    texts = pd.DataFrame(
        {
            "text": ["zeta", HOSTILE, "neutral text 1"],
            "group": ["pro", "control", "null"],
            "kind": ["persona", "control", "null"],
            "axis": "",
            "score": [-1.0, 1.0, NAN],
            "low": -1.2,
            "high": 1.2,
            "probability": 0.5,
            "difference": 0.0,
            "difference_low": -0.1,
            "difference_high": 0.1,
            "judged": NAN,
        }
    )
    pairs = pd.DataFrame(
        {"first": ["a"], "second": [HOSTILE], "gap": [0.2], "low": [-0.4], "high": [0.8]}
        | {"p": [0.4], "points": [0.02], "points_low": [-0.1], "points_high": [0.1]}
        | {"judged": [NAN]}
    )
    disparity = Disparity(
        axis=HOSTILE,
        n=9,
        spread=spread,
        pairs=pairs,
        largest=interval(0.2),
        ruled_out=0.8,
        ruled_out_points=0.1,
    )
    return PersonaInvariance(
        n=9,
        control=HOSTILE,
        users=spread,
        neutral=None if empty else spread,
        worst=interval(0.4),
        worst_neutral=None,
        by_text=texts,
        by_request=pd.DataFrame({"prompt_id": ["q1"], "smallest": [0.1], "largest": [0.9]}),
        disparities=() if empty else (disparity,),
    )


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize(
    ("shown", "made"), [(LAYERS, layers), (CATEGORIES, categories), (INVARIANCE, invariance)]
)
def test_every_row_fits_its_headings_and_no_name_is_markup(
    shown: object, made: object, empty: bool
) -> None:
    result = made(empty=empty)  # type: ignore[operator]
    told = shown.tell(result)  # type: ignore[attr-defined]
    assert told.answer.endswith((".", ")"))
    assert "nan" not in told.answer
    for table in told.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert not any("nan" in cell for row in table.rows for cell in row)
    for panel in shown.panels(result):  # type: ignore[attr-defined]
        assert panel.section.startswith("part-")
        for figure in (panel.light, panel.dark):
            assert "<img" not in figure.to_json().replace("\\u003c", "<")


def test_a_layer_that_lasts_is_filled_and_others_hollow() -> None:
    figure = LAYERS.panels(layers())[0].light
    filled = [colour != figure.layout.paper_bgcolor for colour in figure.data[0].marker.color]
    assert filled == [True, True]
    assert figure.data[1].marker.color[0] == figure.layout.paper_bgcolor


def test_users_stand_in_the_order_of_the_data_and_groups_are_not_ranked() -> None:
    result = invariance()
    users = INVARIANCE.panels(result)[0].light
    assert users.layout.yaxis.categoryarray[0] == "zeta"
    told = INVARIANCE.tell(result)
    assert any("about the model, not about people" in limit for limit in told.limits)
    assert not any(word in told.answer for word in ("best", "worst", "most"))


def test_whether_effects_vary_takes_the_nulls_into_account() -> None:
    result = categories()
    assert result.interaction is not None
    assert "varies over" in CATEGORIES.tell(result).answer
    nulls = replace(result, interaction=replace(result.interaction, null_share=0.6))
    assert "is not shown to vary" in CATEGORIES.tell(nulls).answer
    assert np.isnan(result.interaction.null_share)
