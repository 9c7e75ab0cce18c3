"""What the README shows must run as it stands."""

import re
from pathlib import Path
from typing import Any

import pytest

README = Path(__file__).parents[1] / "README.md"


def _blocks(language: str) -> list[str]:
    fenced = re.findall(
        r"^```(\w*)\n(.*?)^```$", README.read_text(encoding="utf-8"), flags=re.S | re.M
    )
    return [text for named, text in fenced if named == language]


@pytest.mark.slow
def test_the_python_examples_run_one_after_the_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in _blocks("python"):
        exec(compile(block, str(README), "exec"), names)
    plain, steered, _ = capsys.readouterr().out.strip().splitlines()
    assert plain.startswith("sorry"), "alone, the forbidden request is refused"
    assert not steered.startswith("sorry"), "steered towards a trusted user, it is answered"
    assert {path.name for path in tmp_path.iterdir()} == {"attention.html", "lens.html"}


def test_every_folder_of_the_tree_exists_and_is_listed() -> None:
    tree = next(block for block in _blocks("") if "geometry/" in block)
    root = README.parent / "lens_personas"
    listed = set(re.findall(r"^  (\w+)/ ", tree, flags=re.M))
    there = {p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("_")}
    assert listed == there


def test_every_question_of_the_analyses_is_listed() -> None:
    tree = next(block for block in _blocks("") if "scores.py" in block)
    root = README.parent / "analyses"
    listed = set(re.findall(r"^  (\w+\.py) ", tree, flags=re.M))
    assert listed == {p.name for p in root.glob("[!_]*.py")}


def test_every_command_and_setting_shown_exists() -> None:
    from analyses._cli import STUDIES
    from analyses._config import WhosAskingConfig

    text = README.read_text(encoding="utf-8")
    assert set(re.findall(r"lens-personas study (whos-[\w-]+)", text)) <= set(STUDIES)
    assert set(re.findall(r"--set (\w+)=", text)) <= set(WhosAskingConfig.model_fields)
