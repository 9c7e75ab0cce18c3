"""Commands as users type them: what they print, and what a mistake says."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from analyses._cli import app
from lens_personas.models.organism import load_world
from lens_personas.vectors import load_vector

ROOT = Path(__file__).resolve().parents[2]
STUDY = ("study", "whos-asking")


def invoke(*command: str) -> Any:
    return CliRunner().invoke(app, list(command))


def shell(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "analyses._cli", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def assert_one_line(stderr: str) -> None:
    (line,) = stderr.strip().splitlines()
    assert line.startswith("error: ")


def test_help_names_every_command() -> None:
    done = invoke("--help")
    assert done.exit_code == 0
    for command in ("demo", "study", "studies", "report", "organism", "vectors", "runs"):
        assert command in done.stdout
    groups = (
        ("organism", ("train", "card")),
        ("vectors", ("extract", "compare")),
        ("runs", ("list", "show", "resume", "verify")),
    )
    for group, commands in groups:
        listed = invoke(group, "--help").stdout
        assert all(command in listed for command in commands)


def test_studies_are_listed_with_their_question() -> None:
    done = invoke("studies")
    assert done.exit_code == 0
    assert done.stdout.startswith("whos-asking  Do personas move refusal")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("study", "whos-askin"), "unknown study 'whos-askin'; did you mean 'whos-asking'?"),
        (("study", "zzz"), "unknown study 'zzz'; there is whos-asking"),
        ((*STUDY, "--set", "sede=1"), "unknown setting 'sede'; did you mean 'seed'?"),
        ((*STUDY, "--set", "seed"), "expected --set key=value, got 'seed'"),
        ((*STUDY, "--preset", "tiny"), "unknown preset 'tiny'; there is small, standard"),
        ((*STUDY, "--config", "none.yaml"), "expected a settings file, found none"),
        ((*STUDY, "--personas", "none.jsonl"), "none.jsonl"),
        ((*STUDY, "--requests", "none.csv"), "none.csv"),
        ((*STUDY, "--set", "control=x"), "unknown control persona 'x'; there are"),
        ((*STUDY, "--set", "layers=[99]"), "unknown layers [99]; "),
        ((*STUDY, "--model", "no/such-model-anywhere"), "no/such-model-anywhere"),
        ((*STUDY, "--seed", "-1"), "setting 'seed'"),
        ((*STUDY, "--dtype", "int4"), "setting 'dtype'"),
        ((*STUDY, "--device", "abacus"), "abacus"),
        ((*STUDY, "--engine", "abacus"), "unknown engine 'abacus'; there is local, ray"),
        ((*STUDY, "--workers", "2"), "expected --engine ray beside --workers or --address"),
        (("vectors", "show", "none.safetensors"), "none.safetensors"),
        (("vectors", "compare", "none.safetensors", "none.safetensors"), "none.safetensors"),
        (("vectors", "extract", "--out", "x", "--set", "zzz=1"), "unknown setting 'zzz'"),
        (("report", "none"), "expected the folder of a run"),
        (("organism", "train", "--out", "x", "--set", "base.stepz=2"), "got 'base.stepz=2'"),
        (("organism", "train", "--out", "x", "--set", "base.steps=few"), "got 'base.steps=few'"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_a_mistake_is_one_line_and_exit_code_2(
    command: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke(*command)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert_one_line(done.stderr)
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == [], "a command that failed left something"


def test_an_engine_that_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = invoke(*STUDY, "--engine", "ray")
    assert done.exit_code == 2
    assert_one_line(done.stderr)
    assert "pip install 'lens-personas[ray]'" in done.stderr


@pytest.mark.parametrize("file", ["p.jsonl", "p.yaml"])
def test_a_malformed_file_is_one_line(file: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.write_text('{"name": [}\n', encoding="utf-8")
    done = invoke(*STUDY, "--personas", str(path))
    assert done.exit_code == 2
    assert file in done.stderr
    assert_one_line(done.stderr)


@pytest.mark.slow
def test_a_mistake_shows_no_traceback_in_a_shell() -> None:
    done = shell(*STUDY, "--set", "sede=1")
    assert done.returncode == 2
    assert_one_line(done.stderr)
    assert done.stdout == ""


@pytest.mark.slow
def test_unknown_options_are_refused_in_a_shell() -> None:
    done = shell("demo", "--sed", "1")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "--seed" in done.stderr


@pytest.mark.slow
def test_an_organism_is_trained_and_not_overwritten(tmp_path: Path) -> None:
    command = ["organism", "train", "--out", str(tmp_path), "--world-seed", "3"]
    small = ["base.steps=2", "chat.steps=2", "batch_size=8", "n_layers=4"]
    command += [each for setting in small for each in ("--set", setting)]
    done = invoke(*command)
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == [str(tmp_path / stage) for stage in ("base", "chat")]
    assert load_world(tmp_path / "chat").config.seed == 3
    again = invoke(*command)
    assert again.exit_code == 2
    assert_one_line(again.stderr)
    assert "not to exist" in again.stderr


@pytest.mark.slow
def test_vectors_are_extracted_shown_and_compared(tmp_path: Path) -> None:
    settings = ["layers=[2, 5]", "max_personas=4", "max_requests=16", "n_nulls=1"]
    assigned = [each for setting in settings for each in ("--set", setting)]
    done = invoke("vectors", "extract", "--out", str(tmp_path / "v"), *assigned)
    assert done.exit_code == 0, done.output
    paths = done.stdout.split()
    assert sorted(paths) == sorted(str(path) for path in (tmp_path / "v").iterdir())
    vectors = {load_vector(path).name: path for path in paths}
    assert len(vectors) == 4 + 1 + 2
    shown = invoke("vectors", "show", paths[0])
    assert shown.exit_code == 0
    assert load_vector(paths[0]).provenance.fingerprint[:8] in shown.stdout
    first, second = vectors["refusal (questions)"], vectors["refusal (requests)"]
    same = invoke("vectors", "compare", first, first)
    assert same.exit_code == 0
    assert same.stdout.count("+1.000") == 2
    other = invoke("vectors", "compare", first, second)
    assert other.exit_code == 0
    assert "+1.000" not in other.stdout
