"""The study on any local checkpoint with the user's own files, and the folder it leaves."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from analyses._cli import app
from analyses._folder import RunFolderError, check_folder
from analyses._runs import vector_file
from analyses._store import load_result
from lens_personas.models.organism import (
    checkpoint_path,
    load_world,
    world_personas,
    world_requests,
)
from lens_personas.vectors import load_vector

SETTINGS = ["layers=[1, 2]", "n_nulls=1", "max_new_tokens=4", "max_requests=24"]

Rows = list[dict[str, Any]]


def study(*command: str, settings: list[str] = SETTINGS) -> Any:
    assigned = [each for setting in ("parts=[]", *settings) for each in ("--set", setting)]
    return CliRunner().invoke(app, ["study", "whos-asking", *command, *assigned])


def lines(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def table(path: Path, rows: Rows) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def listing(path: Path, rows: Rows) -> Path:
    path.write_text(yaml.safe_dump(rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chat model as anybody's checkpoint: nothing says that it has a world."""
    folder = tmp_path_factory.mktemp("models") / "some-model"
    shutil.copytree(checkpoint_path("chat"), folder)
    (folder / "world.json").unlink()
    return folder


@pytest.fixture(scope="session")
def personas() -> Rows:
    """With statements only, with negations, and with an opposite."""
    by_name = {p.name: p for p in world_personas(load_world(checkpoint_path("chat")))}
    sides = {side: [p for p in by_name.values() if p.group == side] for side in ("pro", "anti")}
    pro, anti = sides["pro"][0], sides["anti"][0]
    second = sides["pro"][1]
    (control,) = (p for p in by_name.values() if p.group == "control")
    return [
        {"name": "only said", "group": "pro", "statements": list(pro.statements)},
        {
            "name": "denied",
            "group": "pro",
            "statements": list(second.statements),
            "negations": list(second.negations),
            "opposite": "against",
        },
        {"name": "against", "group": "anti", "statements": list(anti.statements)},
        {"name": "tea", "group": "control", "statements": list(control.statements)},
    ]


@pytest.fixture(scope="session")
def requests() -> Rows:
    rows = world_requests(load_world(checkpoint_path("chat")))
    chosen = [r for kind in (True, False) for r in [r for r in rows if r.harmful is kind][:60]]
    return [
        {"prompt_id": r.prompt_id, "text": r.text, "harmful": r.harmful, "target": r.target}
        for r in chosen
    ]


@pytest.fixture(scope="session")
def finished(
    stranger: Path, personas: Rows, requests: Rows, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run with JSONL files, the persona in the system turn."""
    data, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("runs") / "x"
    done = study(
        "--model",
        str(stranger),
        "--requests",
        str(lines(data / "r.jsonl", requests)),
        "--personas",
        str(lines(data / "p.jsonl", personas)),
        "--out",
        str(out),
    )
    assert done.exit_code == 0, done.output
    return out


@pytest.mark.slow
def test_a_run_leaves_everything_it_rests_on(finished: Path, personas: Rows) -> None:
    config = yaml.safe_load((finished / "config.yaml").read_text(encoding="utf-8"))
    assert config["layers"] == [1, 2]
    assert config["persona_turn"] == "auto"
    about = json.loads((finished / "run.json").read_text(encoding="utf-8"))
    assert about["model"]["fingerprint"]
    assert {len(each["sha256"]) for each in about["data"].values()} == {64}
    assert about["data"].keys() == {"requests", "personas"}
    assert about["seed"] == 0
    assert about["report_full_text"] is False, "the user's text is not shown unasked"
    found = json.loads((finished / "summary.json").read_text(encoding="utf-8"))
    assert found["status"] == "studied"
    assert found["control"] == "tea"
    assert {e["persona"] for e in found["effects"]} >= {row["name"] for row in personas}
    assert found["hidden_answers"] is not None
    scores = pd.read_parquet(finished / "results" / "scores.parquet")
    assert set(scores["treatment"]) == {"baseline", "prompt", "plus", "minus", "ablate"}
    assert load_result(finished).status == "studied"
    report = (finished / "report.html").read_text(encoding="utf-8")
    assert "only said" in report
    assert not list(finished.rglob("*.tmp"))


@pytest.mark.slow
def test_a_run_s_vectors_can_be_loaded(finished: Path, personas: Rows) -> None:
    found = {v.name: v for v in map(load_vector, (finished / "vectors").glob("*.safetensors"))}
    names = {row["name"] for row in personas}
    assert found.keys() == names | {"refusal (questions)", "refusal (requests)", "neutral text 1"}
    for vector in found.values():
        assert vector.layers == (1, 2)
        assert vector.vectors.isfinite().all()


@pytest.mark.slow
def test_the_report_can_be_made_anew(finished: Path) -> None:
    report = finished / "report.html"
    before = report.read_text(encoding="utf-8")
    report.unlink()
    done = CliRunner().invoke(app, ["report", str(finished)])
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(report)
    assert len(report.read_text(encoding="utf-8")) == pytest.approx(len(before), rel=0.01)


@pytest.mark.slow
def test_bare_rows_as_csv_and_yaml_are_enough(
    stranger: Path, personas: Rows, requests: Rows, tmp_path: Path
) -> None:
    """The user turn, no targets, only harmful rows."""
    out = tmp_path / "run"
    bare = [{k: row[k] for k in ("text", "harmful")} for row in requests if row["harmful"]]
    renamed = [{k: v for k, v in row.items() if k != "opposite"} for row in personas]
    renamed[0]["name"] = "renamed"
    done = study(
        "--model",
        str(stranger),
        "--requests",
        str(table(tmp_path / "r.csv", bare)),
        "--personas",
        str(listing(tmp_path / "p.yaml", renamed)),
        "--persona-turn",
        "user",
        "--out",
        str(out),
    )
    assert done.exit_code == 0, done.output
    found = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert found["hidden_answers"] is None, "no request has a known answer"
    assert found["sizes"]["test_harmless"] > 0, "everyday requests stand in"
    names = {load_vector(file).name for file in (out / "vectors").glob("*.safetensors")}
    assert "renamed" in names


@pytest.mark.slow
def test_a_checkpoint_whose_words_open_no_refusal_is_studied_without_scores(
    tiny_checkpoint: Path,
) -> None:
    """English of our own on a random model: nothing is refused, and that is said."""
    settings = [*SETTINGS, "max_personas=4", "n_statements=2"]
    done = study("--model", str(tiny_checkpoint), "--json", settings=settings)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["status"] == "nothing_to_study"
    assert "there is nothing to study" in found["message"]
    assert not any(e["claim"] for e in found["effects"])


def test_a_folder_with_other_things_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    # A model that is not there: it would be an error too, had work begun.
    done = study("--model", str(tmp_path / "none"), "--out", str(tmp_path))
    assert done.exit_code == 2
    assert "with other files in it; choose another --out" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_new_and_empty_folders_are_accepted_and_files_are_not(tmp_path: Path) -> None:
    check_folder(tmp_path / "new")
    check_folder(tmp_path)
    (tmp_path / "ledger.sqlite").write_bytes(b"")
    check_folder(tmp_path)
    with pytest.raises(RunFolderError, match=r"expected a folder for the run, got the file"):
        check_folder(tmp_path / "ledger.sqlite")


@pytest.mark.parametrize("name", ["run.json", "config.yaml"])
def test_a_run_of_an_earlier_version_is_not_gone_on_with(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("{}", encoding="utf-8")
    done = study("--model", str(tmp_path / "none"), "--out", str(tmp_path))
    assert done.exit_code == 2
    assert "which an earlier version wrote and which cannot be gone on with" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_file_names_of_vectors_are_safe_and_tell_names_apart() -> None:
    names = ["kind", "a/b", "a b", "a-b", "../up", "x" * 200, "x" * 201, "ü (1)"]
    files = [vector_file(name) for name in names]
    assert len(set(files)) == len(names)
    assert files[0] == "kind.safetensors"
    for file in files:
        assert Path(file).name == file
        assert not file.startswith(".")
        assert len(file) < 100
