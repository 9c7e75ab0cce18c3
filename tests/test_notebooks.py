"""Every notebook runs from its first cell to its last, and shows what its text speaks of."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jupytext
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.py"))
# Pictures that a notebook shows, at least.
VIEWS = {
    "quickstart": 3,
    "own_persona_vector": 1,
    "patch_a_persona": 3,
    "hook_and_analysis": 2,
    "read_a_report": 0,
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shown() -> dict[str, list[dict[str, Any]]]:
    """What the cells of each notebook show."""
    # A process of its own: without the checks of every call, which cost more than the notebooks.
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "run_notebooks.py"), *map(str, NOTEBOOKS)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)
    return {Path(path).stem: cells for path, cells in found.items()}


def test_every_notebook_is_known() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(VIEWS)


@pytest.mark.parametrize("name", VIEWS)
def test_a_notebook_runs_and_shows_its_pictures(
    name: str, shown: dict[str, list[dict[str, Any]]]
) -> None:
    pictures = [cell for cell in shown[name] if cell["type"] == "View"]
    assert len(pictures) >= VIEWS[name]
    for picture in pictures:
        assert 'sandbox="allow-scripts"' in picture["html"]
        assert "<script" not in picture["html"]  # all of it is inside the frame, escaped


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_begins_with_words_and_keeps_no_output(path: Path) -> None:
    notebook = jupytext.read(path)
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            ast.parse(cell.source)
            assert not cell.get("outputs")
