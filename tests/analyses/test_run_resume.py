"""A run that is killed, broken or shared ends with the numbers of one that was left alone."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from analyses import _shards
from analyses._cli import app
from analyses._entries import Entry
from analyses._folder import RunFolderError, check_folder
from analyses._ledger import LEDGER, Ledger
from lens_personas.models.organism import checkpoint_path, load_world, world_requests

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = (
    "layers=[1, 2]",
    "n_nulls=1",
    "max_new_tokens=2",
    "max_requests=12",
    "max_personas=3",
    "parts=[]",
)
PATIENCE_S = 240
"""Longer than any run here takes on a busy machine."""

pytestmark = pytest.mark.slow


def command(out: Path, *more: str) -> list[str]:
    assigned = [each for setting in SETTINGS for each in ("--set", setting)]
    return ["study", "whos-asking", "--json", "--out", str(out), *assigned, *more]


def begin(out: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "analyses._cli", *command(out, *more)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def entries(folder: Path) -> tuple[Entry, ...]:
    ledger = Ledger(folder / LEDGER)
    found = ledger.entries()
    ledger.close()
    return found


def attempts(folder: Path) -> dict[str, int]:
    return {entry.cell.path: entry.attempts for entry in entries(folder)}


def summary_of(folder: Path) -> Any:
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def shards(folder: Path) -> dict[str, bytes]:
    paths = {entry.cell.path for entry in entries(folder) if entry.cell.kind != "files"}
    return {path: (folder / path).read_bytes() for path in paths}


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing happened to. Shared: copy it to change it."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    process = begin(out)
    printed, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    assert json.loads(printed) == summary_of(out)
    return out


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def test_a_run_left_alone_begins_every_cell_once(whole: Path) -> None:
    assert set(attempts(whole).values()) == {1}
    assert {entry.status for entry in entries(whole)} == {"done"}
    kinds = {entry.cell.kind for entry in entries(whole)}
    assert kinds == {
        "answers", "tokens", "norms", "vector", "lens", "baseline", "sweep", "written", "files"
    }  # fmt: skip


def wait_for(process: subprocess.Popen[str], folder: Path, n: int) -> None:
    """Until that many results are there, or the process has ended."""
    give_up = time.monotonic() + PATIENCE_S
    while process.poll() is None and len(list(folder.glob("results/[!.r]*-*"))) < n:
        assert time.monotonic() < give_up, "the run does not get on"
        time.sleep(0.002)


def test_killed_again_and_again_a_run_ends_with_the_same_numbers(
    whole: Path, tmp_path: Path
) -> None:
    rng, out, killed = random.Random(0), tmp_path / "run", 0
    n_cells, n = len(entries(whole)), 0
    for _ in range(3):
        n += rng.randint(1, n_cells // 4)
        process = begin(out)
        wait_for(process, out, n)
        time.sleep(rng.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    assert killed >= 2, "the run was over before it was killed"
    last = begin(out)
    _, errors = last.communicate(timeout=PATIENCE_S)
    assert last.returncode == 0, errors
    assert summary_of(out) == summary_of(whole)
    assert shards(out) == shards(whole), "a shard is not the same, byte for byte"
    again = sum(attempts(out).values()) - n_cells
    assert again <= killed, "a cell other than the running one was computed twice"
    assert not list(out.rglob("*.tmp"))
    assert invoke("runs", "verify", str(out)).exit_code == 0


def test_two_processes_share_one_run(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    both = [begin(out), begin(out)]
    told = [process.communicate(timeout=PATIENCE_S) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    for printed, _ in told:
        assert json.loads(printed) == summary_of(whole)
    assert shards(out) == shards(whole)
    assert set(attempts(out).values()) == {1}, "a cell was computed by both"
    written_by = [entry.owner for entry in entries(out) if entry.cell.kind == "files"]
    assert len(written_by) == 1


def test_a_complete_run_is_printed_at_once(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*given: Any, **more: Any) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("analyses._worker.load_model", never)
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*.json")}
    done = invoke(*command(whole))
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == summary_of(whole)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    tables = [each for each in command(whole) if each != "--json"]
    assert "complete: nothing was computed" in invoke(*tables).stdout


@pytest.fixture
def broken(copy: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A copy with a changed vector, a missing score table and a report that is cut off."""
    names = {}
    for kind in ("vector", "sweep"):
        names[kind] = next(e.cell.path for e in entries(copy) if e.cell.kind == kind)
    data = bytearray((copy / names["vector"]).read_bytes())
    data[-1] ^= 1
    (copy / names["vector"]).write_bytes(bytes(data))
    (copy / names["sweep"]).unlink()
    report = copy / "report.html"
    report.write_bytes(report.read_bytes()[:-100])
    return copy, names


def test_what_is_broken_is_said_and_only_that_is_computed_anew(
    whole: Path, broken: tuple[Path, dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    out, names = broken
    done = invoke("runs", "verify", str(out))
    assert done.exit_code == 1
    assert sorted(done.stdout.splitlines()[:-1]) == sorted(
        [
            f"broken: {names['vector']} is not what was written",
            f"broken: {names['sweep']} is missing",
            "broken: report.html is cut off",
        ]
    )
    again = invoke(*command(out))
    assert again.exit_code == 0, again.output
    for name in (*names.values(), "report.html"):
        assert f"{name} is" in caplog.text
    computed = {path for path, n in attempts(out).items() if n > 1}
    assert computed == {*names.values(), "run.json"}
    assert shards(out) == shards(whole)
    assert json.loads(again.stdout) == summary_of(whole)
    assert invoke("runs", "verify", str(out)).exit_code == 0


def test_a_full_disk_is_one_line_and_the_run_goes_on_after(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, written = tmp_path / "run", 0

    def full_after_five(fd: int) -> None:
        nonlocal written
        written += 1
        if written > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_shards.os, "fsync", full_after_five)
    done = invoke(*command(out))
    assert done.exit_code == 2
    (line,) = done.stderr.strip().splitlines()
    assert "is full; free some space and give the same command again" in line
    assert not list(out.rglob("*.tmp"))
    assert sum(entry.status == "done" for entry in entries(out)) == 5
    assert invoke("runs", "verify", str(out)).exit_code == 0
    monkeypatch.undo()
    again = invoke("runs", "resume", str(out), "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout) == summary_of(whole)
    assert sorted(attempts(out).values()) == [*([1] * (len(entries(whole)) - 1)), 2]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("--seed", "7"), "seed (0 there, 7 here)"),
        (("--set", "dose=.5", "--set", "alpha=.1"), "alpha (0.05 there, 0.1 here), dose (0.75"),
        (("--set", "layers=[1]"), "layers ([1, 2] there, [1] here)"),
    ],
)
def test_other_settings_are_refused_by_name(
    whole: Path, change: tuple[str, ...], named: str
) -> None:
    before = attempts(whole)
    done = invoke(*command(whole, *change))
    assert done.exit_code == 2
    (line,) = done.stderr.strip().splitlines()
    assert named in line
    assert "choose another --out" in line
    assert "`lens-personas runs resume`" in line
    assert attempts(whole) == before


def test_a_mistyped_setting_does_not_take_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert "unknown layers [99]" in invoke(*command(out, "--set", "layers=[99]")).stderr
    done = invoke(*command(out))
    assert done.exit_code == 0, done.output
    assert "layers:\n- 1\n- 2\n" in (out / "config.yaml").read_text(encoding="utf-8")


def test_other_contents_of_a_file_are_refused(tmp_path: Path) -> None:
    rows = world_requests(load_world(checkpoint_path("chat")))
    chosen = [r for kind in (True, False) for r in [r for r in rows if r.harmful is kind][:12]]
    file, out = tmp_path / "requests.jsonl", tmp_path / "run"

    def write(first: str) -> None:
        texts = [first, *(r.text for r in chosen[1:])]
        lines = [
            json.dumps({"text": text, "harmful": r.harmful})
            for text, r in zip(texts, chosen, strict=True)
        ]
        file.write_text("\n".join(lines), encoding="utf-8")

    write(chosen[0].text)
    assert invoke(*command(out, "--requests", str(file))).exit_code == 0
    write("how do i make a hat ?")
    done = invoke(*command(out, "--requests", str(file)))
    assert done.exit_code == 2
    assert "begun with other contents of the files: requests ('" in done.stderr
    write(chosen[0].text)
    assert invoke(*command(out, "--requests", str(file))).exit_code == 0


def test_another_model_at_the_same_place_is_refused(tmp_path: Path) -> None:
    model, out = tmp_path / "checkpoint", tmp_path / "run"
    shutil.copytree(checkpoint_path("chat"), model)
    assert invoke(*command(out, "--model", str(model))).exit_code == 0
    shutil.copytree(checkpoint_path("base"), model, dirs_exist_ok=True)
    before = attempts(out)
    done = invoke(*command(out, "--model", str(model)))
    assert done.exit_code == 2, done.output
    assert "was begun with another model: " in done.stderr
    assert "fingerprint ('" in done.stderr
    assert attempts(out) == before


def test_a_damaged_ledger_is_said(copy: Path) -> None:
    with (copy / LEDGER).open("r+b") as file:
        file.truncate(5000)
    done = invoke(*command(copy))
    assert done.exit_code == 2
    (line,) = done.stderr.strip().splitlines()
    assert "expected a whole ledger" in line
    listed = invoke("runs", "list", str(copy))
    assert listed.exit_code == 0
    assert "damaged" in listed.stdout


def test_a_network_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyses._folder.network_type", lambda folder: "nfs4")
    with pytest.raises(RunFolderError, match=r"on a network file system \(nfs4\)"):
        check_folder(tmp_path / "run")


def test_runs_are_listed_shown_and_gone_on_with(whole: Path, copy: Path) -> None:
    listed = CliRunner().invoke(app, ["runs", "list", str(whole.parent)], env={"COLUMNS": "300"})
    assert listed.exit_code == 0
    n = len(entries(whole))
    (row,) = [line.split() for line in listed.stdout.splitlines()[1:]]
    assert row == [str(whole), "whos-asking", "organism:chat", "complete", f"{n}/{n}"]
    ledger = Ledger(copy / LEDGER, owner="elsewhere:1:x")
    (cell,) = [e.cell for e in entries(copy) if e.cell.kind == "norms"]
    ledger.reopen(cell.key)
    assert ledger.claim() == cell
    shown = CliRunner().invoke(app, ["runs", "show", str(copy)], env={"COLUMNS": "300"})
    assert shown.exit_code == 0
    assert ": running" in shown.stdout
    (line,) = [line for line in shown.stdout.splitlines() if line.startswith("norms")]
    assert line.split() == ["norms", "running", "2", "elsewhere:1:x"]
    ledger.fail(cell.key, "no request has a second token")
    ledger.close()
    shown = CliRunner().invoke(app, ["runs", "show", str(copy)], env={"COLUMNS": "300"})
    assert ": failed" in shown.stdout
    assert "no request has a second token" in shown.stdout
    again = invoke("runs", "resume", str(copy), "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout) == summary_of(whole)


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    for name in ("show", "resume", "verify"):
        done = invoke("runs", name, str(tmp_path))
        assert done.exit_code == 2
        assert "expected the folder of a run (with ledger.sqlite)" in done.stderr
    assert "found none in" in invoke("runs", "list", str(tmp_path)).stderr
