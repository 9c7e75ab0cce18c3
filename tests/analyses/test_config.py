"""Settings: who overrides whom, and what a wrong one says."""

from pathlib import Path

import pytest

from analyses._config import PRESETS, ConfigError, WhosAskingConfig, build_config
from analyses._part_names import EXPLORED


def settings_file(folder: Path, text: str) -> str:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_standard_preset_is_the_defaults_with_conversations_to_look_into() -> None:
    assert build_config() == WhosAskingConfig(parts=EXPLORED)


def test_a_file_overrides_the_preset_set_the_file_and_flags_everything(tmp_path: Path) -> None:
    file = settings_file(tmp_path, "n_nulls: 7\ndose: 0.5\nseed: 1\n")
    preset = build_config(preset="small")
    assert preset.max_personas == PRESETS["small"]["max_personas"]
    from_file = build_config(preset="small", file=file)
    assert (from_file.n_nulls, from_file.dose, from_file.seed) == (7, 0.5, 1)
    assert from_file.max_personas == preset.max_personas
    assigned = build_config(preset="small", file=file, assignments=["dose=0.25", "seed=2"])
    assert (assigned.n_nulls, assigned.dose, assigned.seed) == (7, 0.25, 2)
    flagged = build_config(
        preset="small", file=file, assignments=["dose=0.25", "seed=2"], flags={"seed": 3}
    )
    assert (flagged.n_nulls, flagged.dose, flagged.seed) == (7, 0.25, 3)


def test_a_flag_that_was_not_given_overrides_nothing() -> None:
    assert build_config(assignments=["seed=4"], flags={"seed": None, "model": None}).seed == 4


def test_the_last_assignment_counts() -> None:
    assert build_config(assignments=["seed=4", "seed=5"]).seed == 5


def test_assigned_values_are_yaml() -> None:
    found = build_config(
        assignments=[
            "layers=[1, 4]",
            "fractions=[0.5, 0.25, 0.25]",
            "shuffle_labels=true",
            "control=null",
            "model=a=b",
        ]
    )
    assert found.layers == (1, 4)
    assert found.fractions == (0.5, 0.25, 0.25)
    assert found.shuffle_labels is True
    assert found.control is None
    assert found.model == "a=b"


def test_presets_are_not_changed_by_use() -> None:
    before = {name: dict(preset) for name, preset in PRESETS.items()}
    build_config(preset="small", assignments=["n_nulls=9"])
    assert before == PRESETS


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert build_config(file=settings_file(tmp_path, "")) == build_config()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("sed=1", r"unknown setting 'sed'; did you mean 'seed'\?"),
        ("zzz=1", "unknown setting 'zzz'; known: model, revision, dtype"),
        ("seed.inner=1", "setting 'seed': .*valid integer"),
        ("some.thing=1", "unknown setting 'some'"),
        ("seed=many", "setting 'seed': .*valid integer.*, got 'many'"),
        ("seed=-1", "setting 'seed': .*greater than or equal to 0, got -1"),
        ("dose=0", "setting 'dose': .*greater than 0, got 0"),
        ("dtype=float8", "setting 'dtype': .*'float32'.*, got 'float8'"),
        ("layers=[]", "setting 'layers'"),
        ("max_personas=2", "setting 'max_personas': .*greater than or equal to 3"),
        ("seed", "expected --set key=value, got 'seed'"),
        ("=1", "expected --set key=value, got '=1'"),
        ("seed=[1", "expected a YAML value in --set"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build_config(assignments=[assignment])
    assert "\n" not in str(caught.value)


def test_a_value_is_no_group() -> None:
    with pytest.raises(ConfigError, match="expected a group of settings at 'seed', it is a value"):
        build_config(assignments=["seed=1", "seed.inner=2"])


def test_unknown_presets_are_named() -> None:
    with pytest.raises(ConfigError, match="unknown preset 'tiny'; there is small, standard"):
        build_config(preset="tiny")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n- 2\n", "expected a YAML mapping in .* got list"),
        ("a: [1\nb: 2\n", "expected a YAML file at"),
        ("nonsense: 1\n", "unknown setting 'nonsense'"),
    ],
)
def test_a_wrong_file_is_an_error_of_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build_config(file=settings_file(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"found none at .*none\.yaml"):
        build_config(file=str(tmp_path / "none.yaml"))


def test_what_was_asked_is_read_back_from_what_is_written(tmp_path: Path) -> None:
    import yaml

    asked = build_config(preset="small", assignments=["layers=[1, 4]", "dose=0.5"])
    text = yaml.safe_dump(asked.model_dump(mode="json"))
    assert build_config(file=settings_file(tmp_path, text)) == asked
