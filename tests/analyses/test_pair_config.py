"""Settings of a study of two models, and which study settings are of."""

from pathlib import Path

import pytest
import yaml

from analyses._cli_studies import PAIRS, fitting_flags, study_flags, study_preset
from analyses._config import ConfigError, WhosAskingConfig
from analyses._pair_config import PAIR_PARTS, PAIR_PRESETS, PAIR_STUDIES, PairConfig
from analyses._settings import StudyConfig
from analyses._studies import any_config, config_of


@pytest.mark.parametrize("name", PAIRS)
def test_the_name_of_a_study_says_what_is_studied(name: str) -> None:
    config = any_config(name, flags=study_flags(name), preset=study_preset(name, None))
    assert isinstance(config, PairConfig)
    assert config.study_name == name
    assert config.asked_parts == PAIR_STUDIES[config.study]
    assert isinstance(config, StudyConfig)


def test_every_study_of_two_models_is_on_the_command_line() -> None:
    assert set(PAIRS) == set(PAIR_STUDIES)


@pytest.mark.parametrize("preset", PAIR_PRESETS)
@pytest.mark.parametrize("name", PAIRS)
def test_presets_fit(preset: str, name: str) -> None:
    config = any_config(name, flags=study_flags(name), preset=preset)
    assert isinstance(config, PairConfig)
    if preset == "full":
        assert config.asked_parts == PAIR_PARTS
        assert config.limit is None


def test_a_run_goes_on_with_the_settings_that_it_wrote(tmp_path: Path) -> None:
    asked = PairConfig(study="steerability", statements=("a.jsonl",), doses=(0.5,), seed=3)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(asked.model_dump(mode="json")), encoding="utf-8")
    assert any_config(file=str(file)) == asked
    assert config_of(asked.model_dump(mode="json")) == asked
    file.write_text(yaml.safe_dump(WhosAskingConfig().model_dump(mode="json")), encoding="utf-8")
    assert any_config(file=str(file)) == WhosAskingConfig()


def test_settings_of_another_study_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("study: steerability\nbase: organism:base\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="unknown setting 'study'"):
        any_config("whos-asking", file=str(file))
    with pytest.raises(ConfigError, match="unknown setting 'model'"):
        any_config("steerability", assignments=["model=organism:chat"])


def test_one_file_may_be_given_as_a_text() -> None:
    assert any_config("distinguishability", flags={"statements": "x.jsonl"}) == PairConfig(
        statements=("x.jsonl",)
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"limit": 1},
        {"lengths": (3,)},
        {"doses": (0.0,)},
        {"parts": ()},
        {"parts": ("mediation",)},
        {"n_boot": 10},
        {"alpha": 1.0},
        {"tuned_model": "x"},
    ],
)
def test_values_that_cannot_be_used_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        any_config("steerability", flags=changes)


def test_parts_stand_in_the_order_of_a_report() -> None:
    config = PairConfig(parts=("steerability", "internal"))
    assert config.asked_parts == ("internal", "steerability")


def test_flags_of_one_model_do_not_fit_two() -> None:
    given = {"model": "x", "persona_turn": "user", "seed": 1, "base": None}
    with pytest.raises(ValueError, match=r"unexpected --model, --persona-turn.*--base and --tuned"):
        fitting_flags("steerability", given)
    with pytest.raises(ValueError, match=r"unexpected --base, --limit.*give --model"):
        fitting_flags("whos-asking", {"base": "x", "limit": 3})
    assert fitting_flags("steerability", {"seed": 1, "base": "x", "model": None}) == {
        "seed": 1,
        "base": "x",
    }
