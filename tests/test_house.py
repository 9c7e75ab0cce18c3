"""The rules of the house that no linter knows."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from inspect import isclass
from pathlib import Path
from types import ModuleType

import pytest
import torch
from jaxtyping import TypeCheckError

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = sorted((ROOT / "lens_personas").rglob("*.py"))
ANALYSES = sorted((ROOT / "analyses").rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))
# Prints a plan, and only where explain=True asks for it.
EXPLAINS = ROOT / "lens_personas" / "interventions" / "_sweep.py"
QUESTIONS = sorted(
    path.stem for path in (ROOT / "analyses").glob("*.py") if not path.stem.startswith("_")
)
MAX_LINES = 300


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(tree: ast.Module) -> set[str]:
    """Top-level names of every module that the source imports, at any depth."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def prints(tree: ast.Module) -> list[int]:
    """Lines on which ``print`` is called."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]


def in_models(path: Path) -> bool:
    return path.is_relative_to(ROOT / "lens_personas" / "models")


@pytest.mark.parametrize("path", [*LIBRARY, *ANALYSES, *BENCHMARKS], ids=relative)
def test_a_module_answers_one_question(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{relative(path)} has {lines} lines: split it by question"


@pytest.mark.parametrize("path", LIBRARY, ids=relative)
def test_the_library_does_not_print(path: Path) -> None:
    found = prints(ast.parse(path.read_text(encoding="utf-8")))
    assert len(found) == (1 if path == EXPLAINS else 0), found


@pytest.mark.parametrize("path", [*LIBRARY, *ANALYSES], ids=relative)
def test_shapes_are_not_hidden_from_the_checker(path: Path) -> None:
    assert "__future__" not in imported(ast.parse(path.read_text(encoding="utf-8")))


def test_only_models_imports_transformer_lens() -> None:
    importers = {
        path
        for path in [*LIBRARY, *ANALYSES]
        if "transformer_lens" in imported(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert {relative(path) for path in importers if not in_models(path)} == set()
    assert importers, "nothing imports transformer_lens: this test looks in the wrong place"


def test_the_source_checks_can_fail() -> None:
    tree = ast.parse("def f():\n    from transformer_lens import cache\n    print(cache)\n")
    assert imported(tree) == {"transformer_lens"}
    assert prints(tree) == [3]


def public_modules() -> list[str]:
    rooms = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in LIBRARY
        if path.name == "__init__.py"
    }
    return sorted(rooms | {f"analyses.{name}" for name in QUESTIONS})


def public_names(module: ModuleType) -> list[str]:
    """What a room exports; in a module that is a question itself, what it defines."""
    if module.__name__.startswith("lens_personas"):
        return list(module.__all__)
    defined = inspect.getmembers(module, lambda each: inspect.isfunction(each) or isclass(each))
    return [
        name
        for name, each in defined
        if each.__module__ == module.__name__ and not name.startswith("_")
    ]


def is_documented(each: object) -> bool:
    """Whether it has a docstring of its own: a dataclass without one gets its signature."""
    written = (getattr(each, "__doc__", None) or "").strip()
    return bool(written) and not written.startswith(f"{getattr(each, '__name__', '')}(")


@pytest.mark.parametrize("name", public_modules())
def test_public_names_exist_and_are_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    public = public_names(module)
    assert sorted(set(public)) == sorted(public), f"{name}.__all__ names something twice"
    offered = {each: getattr(module, each) for each in public}
    bare = [
        each
        for each, thing in offered.items()
        if (inspect.isfunction(thing) or isclass(thing)) and not is_documented(thing)
    ]
    assert bare == [], f"{name}: no docstring on {bare}"


def test_a_generated_docstring_does_not_count() -> None:
    @dataclass
    class Bare:
        number: int

    def documented() -> None:
        """Nothing."""

    assert not is_documented(Bare)
    assert is_documented(documented)


def test_every_question_is_kept_from_the_others() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {each["name"]: each for each in project["tool"]["importlinter"]["contracts"]}
    floors = contracts["Floors of the analyses: questions do not know each other"]["layers"]
    listed = [name for floor in floors for name in re.split(" [|:] ", floor)]
    assert sorted(name for name in listed if not name.startswith("_")) == QUESTIONS
    (questions,) = (floor for floor in floors if "dose_response" in re.split(" [|:] ", floor))
    assert " : " not in questions, "siblings on this floor may import each other"


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-tl4.txt"])
def test_the_tested_set_is_plain_versions(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []
    packages = {pin.split("==")[0].lower() for pin in pins}
    assert {"torch", "transformer-lens", "pytest", "ruff", "mypy"} <= packages
    assert not any(package.startswith(("nvidia", "triton")) for package in packages)


def test_shapes_are_checked_while_the_tests_run(pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("jaxtyping_packages"):
        pytest.skip("this run was asked to leave the checks of shapes out")
    from lens_personas.geometry import unit_vector

    with pytest.raises(TypeCheckError, match="direction"):
        unit_vector(torch.ones(2, 3))


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


HEAVY = "{'torch', 'transformers', 'transformer_lens', 'pandas', 'scipy', 'plotly', 'sklearn'}"


def test_importing_the_packages_costs_nothing() -> None:
    code = f"import sys, lens_personas, analyses; sys.stdout.write(str({HEAVY} & {{*sys.modules}}))"
    assert run_python(code) == "set()"


def test_help_does_not_pay_for_the_models() -> None:
    code = f"""
import contextlib, io, sys
from analyses import _cli
shown = io.StringIO()
sys.argv = ["lens-personas", "--help"]
with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
    _cli.main()
assert "study" in shown.getvalue(), shown.getvalue()
sys.stdout.write(str({HEAVY} & {{*sys.modules}}))
"""
    assert run_python(code) == "set()"


def test_the_version_is_the_one_that_is_installed() -> None:
    import lens_personas

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert lens_personas.__version__ == version("lens-personas") == project["project"]["version"]


def shipped_files() -> set[str]:
    return {
        relative(path)
        for package in ("lens_personas", "analyses")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and not {"__pycache__", ".ruff_cache"} & set(path.parts)
    }


@pytest.mark.slow
def test_wheel_and_sdist_hold_both_packages_with_their_data(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        inside = set(wheel.namelist())
    assert shipped_files() <= inside
    assert {each.split("/")[0] for each in inside} == {
        "analyses",
        "lens_personas",
        f"lens_personas-{version('lens-personas')}.dist-info",
    }
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as sdist:
        unpacked = {name.split("/", 1)[-1] for name in sdist.getnames()}
    assert shipped_files() | {"LICENSE", "README.md", "constraints.txt"} <= unpacked
    assert {"lens_personas/py.typed", "analyses/py.typed"} <= inside
