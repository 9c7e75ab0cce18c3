"""Layers, categories and invariance on the embedded model, and where data lack."""

import json
from pathlib import Path
from typing import Any

import pytest

from analyses._config import ConfigError, WhosAskingConfig, build_config
from analyses._data import study_data
from analyses._parts._layers_windows import window_layers
from analyses._store import load_result, save_result
from analyses._study import run_study
from analyses._workbench import Outline
from analyses.whos_asking import WhosAsking
from lens_personas.models import load_model

TINY: dict[str, Any] = {
    "parts": ("layers", "categories", "invariance"),
    "layers": (2, 3, 4),
    "max_personas": 5,
    "max_requests": 24,
    "n_nulls": 2,
    "max_new_tokens": 6,
    "write_answers": False,
}
"""Settings under which a run takes seconds."""


@pytest.fixture(scope="module")
def organism() -> Any:
    return load_model("organism:chat", device="cpu")


@pytest.fixture(scope="module")
def result(organism: Any) -> WhosAsking:
    return run_study(WhosAskingConfig(**TINY), model=organism).result


@pytest.mark.slow
def test_the_planted_users_are_found_at_every_part(result: WhosAsking, tmp_path: Path) -> None:
    parts = result.parts
    assert parts.layers is not None
    assert parts.invariance is not None
    assert parts.categories is not None
    moved = {each.persona: each.p for each in parts.layers.personas if each.group != "other"}
    assert max(moved.values()) < 0.01
    assert parts.invariance.users.p < 0.01
    assert parts.invariance.neutral is not None
    assert parts.invariance.users.sd.low > parts.invariance.neutral.sd.high
    harmless = parts.categories.by_category["category"] == "harmless (control)"
    assert set(parts.categories.by_category.loc[harmless, "treatment"]) == {
        "prompt",
        "plus",
        "minus",
    }
    save_result(result, tmp_path)
    loaded = load_result(tmp_path).parts
    assert loaded.layers is not None
    assert loaded.layers.windows[0].gain == parts.layers.windows[0].gain


@pytest.mark.slow
def test_a_window_stands_beside_the_single_layer_of_the_same_dose(result: WhosAsking) -> None:
    assert result.parts.layers is not None
    (window,) = result.parts.layers.windows
    assert (window.width, window.dose) == (3, 0.75)
    assert set(window.by_arm["layers"]) == {"2 3 4"}
    assert window.n == result.parts.layers.n


@pytest.mark.slow
def test_dealt_names_are_claimed_nowhere(organism: Any) -> None:
    config = WhosAskingConfig(**TINY | {"layers": (3,), "windows": ()}, shuffle_labels=True)
    claims = run_study(config, model=organism).result.headline.claims
    assert not [claim.statement for claim in claims if claim.holds]


@pytest.mark.slow
def test_groups_of_a_set_are_compared_and_a_category_alone_is_enough(
    organism: Any, tmp_path: Path
) -> None:
    names = {"swimmer": None, "early riser": "sleep", "night owl": "sleep"}
    personas = tmp_path / "people.jsonl"
    personas.write_text(
        "\n".join(
            json.dumps(
                {
                    "name": name,
                    "group": "other",
                    "statements": ["the user is a swimmer .", "the user likes to swim ."],
                    "negations": ["the user is not a swimmer .", "the user is not a swimmer ."],
                }
                | ({} if axis is None else {"demographic": axis})
            )
            for name, axis in names.items()
        )
    )
    config = WhosAskingConfig(
        **TINY
        | {
            "personas": str(personas),
            "windows": (),
            "max_personas": None,
            "layers": (3,),
            "max_requests": 16,
        }
    )
    parts = run_study(config, model=organism).result.parts
    assert parts.invariance is not None
    (sleep,) = parts.invariance.disparities
    assert list(sleep.pairs["first"]) == ["early riser"]
    # Two groups that are described by the same words do not differ.
    assert sleep.largest.estimate == 0.0
    assert sleep.spread.p == 1.0
    assert parts.layers is not None
    assert parts.layers.no_windows == "no windows were asked for"


def test_windows_lie_within_the_layers_that_can_be_chosen(organism: Any) -> None:
    config = WhosAskingConfig(layers=(0, 2, 3, 5, 7))
    outline = Outline(config=config, data=study_data(config), card=organism.card)
    assert window_layers(outline, 3) == {2: (0, 2, 3), 3: (2, 3, 5)}
    assert window_layers(outline, 5) == {}


def test_windows_of_even_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="odd number of layers"):
        build_config(assignments=["windows=[4]"])
