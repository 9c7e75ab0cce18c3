"""Each part of the study is a study of its own on the command line."""

import pytest
from typer.testing import CliRunner

from analyses._cli import app
from analyses._cli_studies import STUDIES, known_study, study_flags, study_preset
from analyses._config import build_config
from analyses._part_names import EXPLORED, PAPER_PARTS, PART_NAMES, PART_QUESTIONS
from analyses._parts import part
from analyses._shown import shown


def test_every_study_is_listed_with_its_question() -> None:
    printed = CliRunner().invoke(app, ["studies"]).output
    for name in ("whos-asking", *PART_NAMES):
        assert f"{name}  {STUDIES[name]}" in printed


@pytest.mark.parametrize("name", PART_NAMES)
def test_a_part_alone_runs_itself_and_nothing_else(name: str) -> None:
    config = build_config(preset=study_preset(name, None), flags=study_flags(name))
    assert config.parts == (name,)
    assert config.max_personas is not None


@pytest.mark.parametrize("name", PART_NAMES)
def test_every_part_has_cells_words_and_figures(name: str) -> None:
    found = part(name)  # type: ignore[arg-type]
    assert found.name == name
    assert callable(shown(name).tell)  # type: ignore[arg-type]
    assert name in PART_QUESTIONS


def test_the_full_preset_has_every_part_of_the_paper() -> None:
    assert build_config(preset="full").parts == (*PAPER_PARTS, *EXPLORED)
    assert PART_NAMES[:9] == PAPER_PARTS
    assert build_config().parts == build_config(preset="small").parts == EXPLORED


def test_a_misspelt_study_is_told_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown study 'patchscope'; did you mean 'patchscopes'"):
        known_study("patchscope")
    refused = CliRunner().invoke(app, ["study", "geometri"])
    assert refused.exit_code == 2
    assert "did you mean 'geometry'?" in refused.output
