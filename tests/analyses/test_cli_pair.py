"""Studies of two models as users type them, and what becomes of their runs."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from analyses._cli import app
from analyses._entries import Entry
from analyses._ledger import LEDGER, Ledger

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = (
    "lengths=[1, 3]",
    "assemblies=2",
    "doses=[0.5]",
    "n_random=2",
    "steered_layers=[3]",
    "n_samples=2",
    "prefix_lengths=[0, 1]",
    "n_prefixes=2",
    "n_boot=100",
    "n_perm=199",
)
PAIR = ("--base", "organism:base", "--tuned", "organism:chat")
PATIENCE_S = 240
"""Longer than any run here takes on a busy machine."""


def command(name: str, out: Path, *more: str) -> list[str]:
    assigned = [each for setting in SETTINGS for each in ("--set", setting)]
    return ["study", name, *PAIR, "--json", "--out", str(out), *assigned, *more]


def begin(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "analyses._cli", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def summary_of(folder: Path) -> Any:
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def entries(folder: Path) -> tuple[Entry, ...]:
    ledger = Ledger(folder / LEDGER)
    found = ledger.entries()
    ledger.close()
    return found


@pytest.fixture(scope="session")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run of the quick question. Shared: do not change it."""
    out = tmp_path_factory.mktemp("pairs") / "apart"
    process = begin(*command("distinguishability", out, "--set", "parts=[distinguishability]"))
    printed, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    assert json.loads(printed) == summary_of(out)
    return out


@pytest.mark.slow
def test_the_folder_of_a_run_is_whole(apart: Path) -> None:
    about = json.loads((apart / "run.json").read_text(encoding="utf-8"))
    assert about["study"] == "distinguishability"
    assert set(about["models"]) == {"base", "tuned"}
    assert {"config.yaml", "summary.json"} <= set(about["files"])
    assert (apart / "report.html").read_text(encoding="utf-8").rstrip().endswith("</html>")
    found = summary_of(apart)
    assert found["study"] == "distinguishability"
    assert found["internal"] is None
    assert len(found["data"]["behaviours"]) == 8
    verified = invoke("runs", "verify", str(apart))
    assert verified.exit_code == 0, verified.stdout
    assert "17/17 cells done, all whole" in " ".join(verified.stdout.split())


@pytest.mark.slow
def test_runs_are_listed_and_shown(apart: Path) -> None:
    listed = " ".join(invoke("runs", "list", str(apart.parent)).stdout.split())
    assert "distinguishability" in listed
    assert "complete" in listed
    shown = " ".join(invoke("runs", "show", str(apart)).stdout.split())
    assert "pair scores base" in shown
    assert "pair scores tuned" in shown


@pytest.mark.slow
def test_a_finished_run_is_only_shown(apart: Path) -> None:
    before = {entry.cell.key: entry.attempts for entry in entries(apart)}
    done = invoke("runs", "resume", str(apart))
    assert done.exit_code == 0, done.output
    assert "complete: nothing was computed" in done.stdout
    assert {entry.cell.key: entry.attempts for entry in entries(apart)} == before
    assert "What answers tell apart" in done.stdout


@pytest.mark.slow
def test_report_and_figures_are_made_anew(apart: Path, tmp_path: Path) -> None:
    first = (apart / "report.html").read_text(encoding="utf-8")
    (apart / "report.html").unlink()
    assert invoke("report", str(apart)).exit_code == 0
    assert (apart / "report.html").read_text(encoding="utf-8") == first
    pytest.importorskip("matplotlib")
    done = invoke("figures", str(apart), "--out", str(tmp_path), "--format", "svg")
    assert done.exit_code == 0, done.output
    assert {"ridges.svg", "metrics.svg", "numbers.csv"} <= {p.name for p in tmp_path.iterdir()}


@pytest.mark.slow
def test_another_study_is_not_written_into_the_same_folder(apart: Path) -> None:
    done = invoke(*command("steerability", apart))
    assert done.exit_code == 2
    assert "was begun with other settings: " in done.output
    assert "study ('distinguishability' there, 'steerability' here)" in done.output


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_numbers(apart: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    process = begin(*command("distinguishability", out, "--set", "parts=[distinguishability]"))
    give_up = time.monotonic() + PATIENCE_S
    while process.poll() is None and len(list(out.glob("results/pair-*"))) < 3:
        assert time.monotonic() < give_up, "the run does not get on"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == -signal.SIGKILL, "the run was over before it was killed"
    before = {entry.cell.key: entry.attempts for entry in entries(out)}
    assert not (out / "run.json").exists()
    done = invoke("runs", "resume", str(out), "--json")
    assert done.exit_code == 0, done.output
    assert summary_of(out) == summary_of(apart)
    again = {e.cell.key for e in entries(out) if e.attempts > max(1, before.get(e.cell.key, 0))}
    assert len(again) <= 1, "a cell other than the running one was computed twice"


@pytest.mark.slow
def test_workers_of_ray_give_the_same_numbers(apart: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    out = tmp_path / "ray"
    parts = ("--set", "parts=[distinguishability]")
    engine = ("--engine", "ray", "--workers", "2")
    process = begin(*command("distinguishability", out, *parts, *engine))
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    assert summary_of(out) == summary_of(apart)


def test_the_studies_of_two_models_are_listed() -> None:
    listed = invoke("studies").stdout
    assert "distinguishability  Base against tuned" in listed
    assert "steerability  Base against tuned" in listed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("study", "steerability", "--model", "organism:chat"),
            r"unexpected --model: the study 'steerability' asks two models: give --base",
        ),
        (
            ("study", "whos-asking", "--base", "x", "--limit", "4"),
            "unexpected --base, --limit: the study 'whos-asking' asks one model: give --model",
        ),
        (
            ("study", "distinguishability", "--statements", "nowhere/*.jsonl"),
            "expected a file of statements at 'nowhere/*.jsonl', found none",
        ),
        (("study", "distinguishability", "--set", "limt=3"), "did you mean 'limit'?"),
        (("study", "steerabilty"), "unknown study 'steerabilty'; did you mean 'steerability'?"),
        (
            ("study", "distinguishability", "--tuned", "no/such/folder/here"),
            "no/such/folder/here",
        ),
        (
            ("plan", "steerability", "--model-config", "config.json", "--device", "cpu"),
            "expected a study of one model, got 'steerability'",
        ),
    ],
)
def test_a_mistake_is_said_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    done = invoke(*arguments)
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_a_malformed_file_is_named_with_its_line(tmp_path: Path) -> None:
    broken = tmp_path / "kindness.jsonl"
    broken.write_text('\n{"question": "?", "statement": "I am kind"}\n', encoding="utf-8")
    done = invoke("study", "distinguishability", "--statements", str(broken))
    assert done.exit_code == 2
    for part in ("kindness.jsonl", "line 2", "statement", "answer_not_matching_behavior"):
        assert part in done.stderr
