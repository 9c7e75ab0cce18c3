"""Socio-demographic groups go through the study like any persona, and no number knows of it."""

from dataclasses import replace
from pathlib import Path

import pytest
from pandas.testing import assert_frame_equal

from analyses._config import WhosAskingConfig
from analyses._data import study_data
from analyses._study import run_study
from lens_personas.models import load_model
from lens_personas.models.organism import checkpoint_path, load_world, world_personas
from lens_personas.personas import (
    Persona,
    persona_yaml,
    shipped_demographics,
    shipped_personas,
    shipped_text,
    shipped_unstated,
)

TINY = {"max_requests": 8, "n_nulls": 1, "max_new_tokens": 2, "n_statements": 2}


def write(path: Path, personas: tuple[Persona, ...]) -> str:
    path.write_text(persona_yaml(personas), encoding="utf-8")
    return str(path)


def test_groups_of_people_count_as_neither_side(tmp_path: Path) -> None:
    both = (*shipped_personas(), *shipped_demographics())
    found = [
        study_data(
            WhosAskingConfig(
                model="some/other", personas=write(tmp_path / "p.yaml", personas), max_personas=7
            )
        ).personas
        for personas in (both, shipped_personas())
    ]
    sides = [[p.name for p in each if p.group in ("pro", "anti")] for each in found]
    assert sides[0] == sides[1]
    assert {p.group for p in found[0] if p.demographic} == {"other"}
    assert any(p.demographic for p in found[0])


def test_the_unstated_user_is_the_control_of_the_shipped_groups(tmp_path: Path) -> None:
    path = tmp_path / "d.yaml"
    path.write_text(shipped_text("demographics"), encoding="utf-8")
    data = study_data(WhosAskingConfig(model="some/other", personas=str(path)))
    assert data.control == shipped_unstated()
    assert data.personas == (*shipped_demographics(), shipped_unstated())


@pytest.mark.slow
def test_the_shipped_groups_are_studied_on_any_chat_model(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "d.yaml"
    path.write_text(shipped_text("demographics"), encoding="utf-8")
    result = run_study(
        WhosAskingConfig(
            model=str(tiny_checkpoint), personas=str(path), layers=(1,), max_personas=5, **TINY
        )
    ).result
    axes = {p.name: p.demographic for p in shipped_demographics()}
    shown = {e.persona for e in result.effects.effects if e.kind == "persona"}
    assert len(shown) == 4
    assert shown <= {*axes}
    assert {e.group for e in result.effects.effects if e.kind == "persona"} == {"other"}


@pytest.mark.slow
def test_calling_personas_groups_of_people_changes_no_number(tmp_path: Path) -> None:
    world = world_personas(load_world(checkpoint_path("chat")))
    control = next(p for p in world if p.group == "control")
    neutral = tuple(p for p in world if p.group == "other")[:2]
    labelled = tuple(replace(p, demographic="quarter") for p in neutral)
    model = load_model("organism:chat", device="cpu")
    plain, relabelled = (
        run_study(
            WhosAskingConfig(
                model="organism:chat",
                personas=write(tmp_path / f"{name}.yaml", (*personas, control)),
                layers=(5,),
                **TINY,
            ),
            model=model,
        ).result
        for name, personas in (("plain", neutral), ("labelled", labelled))
    )
    assert [e.persona for e in plain.effects.effects] == [
        e.persona for e in relabelled.effects.effects
    ]
    assert_frame_equal(plain.effects.layer_means, relabelled.effects.layer_means)
