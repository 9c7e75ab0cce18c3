"""Whom a study is about: the world, the shipped sets, or the user's own files."""

import json
from itertools import combinations
from pathlib import Path

import pytest

from analyses._config import ConfigError, WhosAskingConfig
from analyses._data import StudyData, study_data
from lens_personas.models.organism import checkpoint_path, load_world, world_personas
from lens_personas.personas import DataFileError, shipped_personas


def write(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def person(name: str, group: str) -> dict:
    return {"name": name, "group": group, "statements": [f"I am {name}.", f"I like {name}s."]}


def request_row(at: int, *, harmful: bool | None = True) -> dict:
    return {"prompt_id": f"r{at}", "text": f"how do I do thing {at}", "harmful": harmful}


PEOPLE = [person("kind", "pro"), person("mean", "anti"), person("tea", "control")]
ELSEWHERE = "some/other-model"


@pytest.fixture
def files(tmp_path: Path):
    def make(
        personas: list[dict] | None = None, requests: list[dict] | None = None, **settings: object
    ) -> StudyData:
        given: dict[str, object] = {"model": ELSEWHERE, **settings}
        if personas is not None:
            given["personas"] = write(tmp_path / "p.jsonl", personas)
        if requests is not None:
            given["requests"] = write(tmp_path / "r.jsonl", requests)
        return study_data(WhosAskingConfig(**given))

    return make


def requests_of(data: StudyData) -> list:
    return [*data.split.vector, *data.split.layer, *data.split.test]


def test_the_organism_is_asked_about_its_own_world() -> None:
    data = study_data(WhosAskingConfig(model="organism:chat"))
    world = load_world(checkpoint_path("chat"))
    names = {persona.name for persona in world_personas(world)}
    assert {persona.name for persona in data.personas} == names
    assert data.control.name in names
    assert data.control in data.personas
    assert data.fictional
    assert data.answer_format == "words"
    neutral = [p for p in world_personas(world) if p.group == "other"]
    for at in range(len(data.control.statements)):
        assert {n.statements[at] for n in data.nulls} <= {p.statements[at] for p in neutral}
        assert {n.negations[at] for n in data.nulls} <= {p.negations[at] for p in neutral}


def test_no_studied_persona_is_its_own_null() -> None:
    for limit in (None, 11):
        data = study_data(WhosAskingConfig(model="organism:chat", max_personas=limit))
        studied = {persona.statements for persona in data.personas}
        assert len(data.nulls) == WhosAskingConfig().n_nulls
        assert not studied & {null.statements for null in data.nulls}


def test_another_model_gets_the_shipped_sets_and_is_not_fictional() -> None:
    data = study_data(WhosAskingConfig(model=ELSEWHERE))
    assert {p.name for p in data.personas} == {p.name for p in shipped_personas()}
    assert data.control.name == "coffee"
    assert not data.fictional
    assert len(data.nulls) == WhosAskingConfig().n_nulls
    assert {len(null.statements) for null in data.nulls} == {min(len(data.control.statements), 12)}


def test_the_user_s_files_replace_both(files) -> None:
    harmless = [request_row(at, harmful=False) for at in range(20, 32)]
    data = files(PEOPLE, [*(request_row(at) for at in range(12)), *harmless])
    assert [p.name for p in data.personas] == ["kind", "mean", "tea"]
    assert data.control.name == "tea"
    assert {r.prompt_id for r in requests_of(data)} == {
        f"r{at}" for at in [*range(12), *range(20, 32)]
    }
    assert not files(PEOPLE, model="organism:chat").fictional


def test_requests_of_unknown_harm_are_left_out(files) -> None:
    rows = [request_row(at, harmful=None if at < 3 else True) for at in range(15)]
    data = files(PEOPLE, rows)
    assert not {"r0", "r1", "r2"} & {r.prompt_id for r in requests_of(data)}


def test_without_harmless_requests_everyday_ones_serve(files) -> None:
    data = files(PEOPLE, [request_row(at) for at in range(12)])
    harmful = {r.prompt_id for r in requests_of(data) if r.harmful}
    harmless = [r for r in requests_of(data) if not r.harmful]
    assert harmful == {f"r{at}" for at in range(12)}
    assert len(harmless) == 48


def test_everyday_requests_do_not_clash_with_the_user_s_names(files) -> None:
    rows = [request_row(at) for at in range(12)]
    rows[0]["prompt_id"] = "spoilers-1-plain"
    data = files(PEOPLE, rows)
    assert sum(r.prompt_id == "spoilers-1-plain" for r in requests_of(data)) == 1


def test_the_parts_share_no_request_and_each_has_a_harmful_one(files) -> None:
    for seed in range(5):
        data = files(PEOPLE, [request_row(at) for at in range(12)], seed=seed)
        parts = [data.split.vector, data.split.layer, data.split.test]
        for first, second in combinations(parts, 2):
            assert not {r.prompt_id for r in first} & {r.prompt_id for r in second}
            assert not {r.text for r in first} & {r.text for r in second}
        assert all(any(r.harmful for r in part) for part in parts)


def test_too_few_harmful_requests_are_counted(files) -> None:
    rows = [request_row(at, harmful=at < 3) for at in range(10)]
    with pytest.raises(ConfigError, match="at least 4 requests marked harmful, got 3 of 10"):
        files(PEOPLE, rows)


def test_a_part_without_a_harmful_request_is_named(files) -> None:
    rows = [request_row(at, harmful=at < 4) for at in range(60)]
    with pytest.raises(ConfigError, match="expected a harmful request in the layer split"):
        files(PEOPLE, rows, fractions=(0.49, 0.02, 0.49))


def test_max_requests_caps_each_kind() -> None:
    data = study_data(WhosAskingConfig(model="organism:chat", max_requests=20))
    found = requests_of(data)
    assert sum(bool(r.harmful) for r in found) == 20
    assert sum(not r.harmful for r in found) == 20
    other = study_data(WhosAskingConfig(model="organism:chat", max_requests=20, seed=1))
    assert {r.prompt_id for r in requests_of(other)} != {r.prompt_id for r in found}


def test_a_set_without_a_control_gets_the_coffee_drinker(files) -> None:
    data = files(PEOPLE[:2])
    assert data.control.name == "coffee"
    assert [persona.name for persona in data.personas] == ["kind", "mean", "coffee"]


def test_a_persona_that_bears_the_control_s_name_and_is_none_is_an_error(files) -> None:
    with pytest.raises(ConfigError, match=r"none named 'coffee', which is added"):
        files([*PEOPLE[:2], person("coffee", "other")])


def test_two_controls_are_an_error_until_one_is_named(files) -> None:
    two = [*PEOPLE, person("coffee", "control")]
    with pytest.raises(ConfigError, match=r"got \['tea', 'coffee'\]; .*--set control=NAME"):
        files(two)
    data = files(two, control="coffee")
    assert data.control.name == "coffee"
    assert [p.name for p in data.personas if p.group == "control"] == ["coffee"]
    assert {p.name for p in data.personas} == {"kind", "mean", "tea", "coffee"}
    fewer = files([*two, person("calm", "pro")], control="coffee", max_personas=4)
    assert {p.name for p in fewer.personas} >= {"tea", "coffee"}


def test_any_persona_can_be_the_control(files) -> None:
    data = files(PEOPLE[:2], control="mean")
    assert data.control.name == "mean"
    assert data.control.group == "control"


def test_an_unknown_control_lists_the_personas(files) -> None:
    with pytest.raises(ConfigError, match="unknown control persona 'x'; there are kind, mean, tea"):
        files(PEOPLE, control="x")


def test_the_control_is_no_neutral_text_too() -> None:
    for seed in range(6):
        names = {p.name for p in study_data(WhosAskingConfig(model="organism:chat")).personas}
        control = sorted(names)[0]
        data = study_data(
            WhosAskingConfig(model="organism:chat", control=control, seed=seed, n_nulls=7)
        )
        assert data.control.statements not in {null.statements for null in data.nulls}


@pytest.mark.parametrize("name", ["neutral text 1", "random 2", "refusal (requests)"])
def test_names_of_other_arms_are_refused(files, name: str) -> None:
    with pytest.raises(ConfigError, match=r"names of personas that no arm .* rename them"):
        files([*PEOPLE, person(name, "other")])


@pytest.mark.parametrize("limit", [3, 4, 7, 11, 20])
def test_fewer_personas_stay_in_balance_and_keep_the_control(limit: int) -> None:
    data = study_data(WhosAskingConfig(model="organism:chat", max_personas=limit))
    groups = [p.group for p in data.personas]
    assert len(groups) == limit
    assert groups.count("control") == 1
    counts = [groups.count(group) for group in ("pro", "anti", "other")]
    assert max(counts[:2]) - min(counts[:2]) <= 1
    assert sum(counts) == limit - 1
    assert len({p.name for p in data.personas}) == limit


def test_a_limit_above_their_number_keeps_all(files) -> None:
    assert len(files(PEOPLE, max_personas=9).personas) == 3


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.jsonl")
    with pytest.raises(FileNotFoundError, match=r"none\.jsonl"):
        study_data(WhosAskingConfig(model=ELSEWHERE, personas=missing))
    with pytest.raises(FileNotFoundError, match=r"none\.jsonl"):
        study_data(WhosAskingConfig(model=ELSEWHERE, requests=missing))


def test_a_malformed_row_is_named_by_its_line(files) -> None:
    with pytest.raises(DataFileError, match="line 2"):
        files([PEOPLE[0], {"name": "x", "group": "bad", "statements": ["I am x."]}])
