"""A run's folder: what was asked, what was found, and what it rests on; nothing half-written."""

import json
import platform
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from analyses._json import json_safe
from analyses._report import write_report
from analyses._store import save_result
from analyses._study import StudyRun
from analyses._summary import summary
from lens_personas import __version__
from lens_personas.activations import replacing
from lens_personas.vectors import save_vector

_PACKAGES = ("transformer-lens", "transformers", "torch", "numpy", "scipy")


class RunFolderError(ValueError):
    """A run cannot be written where it was asked for."""


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something other than a run, before any work is done.

    Raises:
        RunFolderError: If it is a file, or a folder with other things in it.
    """
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"expected a folder for the run, got the file {str(folder)!r}")
    begun = (folder / "run.json").is_file() or (folder / "config.yaml").is_file()
    if folder.is_dir() and any(folder.iterdir()) and not begun:
        raise RunFolderError(
            f"expected a new or empty folder or an earlier run, got {str(folder)!r} with other "
            "files in it; choose another --out"
        )


def write_run(run: StudyRun, folder: Path, *, seconds: float, full_text: bool) -> Path:
    """Write everything a run leaves, each file under a temporary name first.

    Args:
        run: The study.
        folder: Where to; made where it is missing.
        seconds: Wall time of the study.
        full_text: Whether requests and answers stand in the report, rather than their lengths.

    Returns:
        The report's path.

    Raises:
        OSError: If the disk refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Written last, taken away first: a folder with it is whole, of one run.
    (folder / "run.json").unlink(missing_ok=True)
    (folder / "results").mkdir(exist_ok=True)
    (folder / "vectors").mkdir(exist_ok=True)
    write_text(folder / "config.yaml", yaml.safe_dump(run.result.settings, sort_keys=False))
    save_result(run.result, folder)
    with replacing(folder / "results" / "scores.parquet") as path:
        run.scores.to_parquet(path)
    # Of an earlier run: its personas may not be those of this one.
    for stale in (folder / "vectors").glob("*.safetensors"):
        stale.unlink()
    for fitted in run.vectors:
        save_vector(fitted.vector, folder / "vectors" / vector_file(fitted.vector.name))
    report = folder / "report.html"
    write_report(run.result, report, full_text=full_text)
    write_text(folder / "summary.json", _json(summary(run.result)))
    # Last: a folder with this file is whole.
    write_text(folder / "run.json", _json(_about(run, seconds, full_text)))
    return report


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then put it in place.

    Raises:
        OSError: If the disk refuses.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _about(run: StudyRun, seconds: float, full_text: bool) -> dict[str, Any]:
    settings = run.result.settings
    files = {key: settings[key] for key in ("requests", "personas") if settings[key] is not None}
    return {
        "format": "lens_personas-run/1",
        "study": "whos-asking",
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "seed": run.result.seed,
        "versions": {"lens-personas": __version__} | {name: version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "model": run.result.model,
        "data": {key: {"sha256": _hash(Path(file))} for key, file in files.items()},
        "report_full_text": full_text,
    }


def _json(value: Any) -> str:
    return json.dumps(json_safe(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _hash(path: Path) -> str:
    return sha256(path.expanduser().read_bytes()).hexdigest()


def vector_file(name: str) -> str:
    """A file name that is safe everywhere and differs where the names do."""
    kept = "".join(c if c.isalnum() or c in "-_" else "-" for c in name)[:60]
    stem = kept if kept == name else f"{kept}-{sha256(name.encode()).hexdigest()[:8]}"
    return f"{stem}.safetensors"


def read_run(folder: Path) -> dict[str, Any]:
    """What ``run.json`` says.

    Raises:
        RunFolderError: If the folder is no run.
    """
    file = folder / "run.json"
    if not file.is_file():
        raise RunFolderError(
            f"expected the folder of a run (with run.json), got {str(folder)!r}; "
            "give the folder that --out named"
        )
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found
