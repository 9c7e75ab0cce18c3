"""A run's folder: what was asked, what was found, and what it rests on; nothing half-written."""

import json
import platform
from contextlib import closing
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from analyses._assemble import StudyRun
from analyses._config import WhosAskingConfig
from analyses._data import study_data
from analyses._folder import RunFolderError, file_hash, model_files, open_run, write_text
from analyses._json import json_safe
from analyses._report import write_report
from analyses._store import load_result, save_result
from analyses._summary import summary
from analyses._verify import broken_files, broken_shards
from analyses.whos_asking import WhosAsking
from lens_personas import __version__
from lens_personas.activations import replacing
from lens_personas.vectors import save_vector

_PACKAGES = ("transformer-lens", "transformers", "torch", "numpy", "scipy")


def write_run(run: StudyRun, folder: Path, *, seconds: float, full_text: bool) -> Path:
    """Write everything a run leaves, each file under a temporary name first.

    Args:
        run: The study.
        folder: Where to; made where it is missing.
        seconds: Wall time of the study.
        full_text: Whether requests and answers stand in the report, rather than their lengths.

    Returns:
        Path of ``run.json``, which is written last and has the hashes of the others.

    Raises:
        OSError: If the disk refuses.
    """
    # Written last, taken away first: a folder with it is whole, of one run.
    (folder / "run.json").unlink(missing_ok=True)
    # Of processes that were killed; none writes here any more.
    for part in folder.rglob(".*.tmp"):
        part.unlink(missing_ok=True)
    written = [folder / "config.yaml", folder / "summary.json"]
    write_text(written[0], yaml.safe_dump(run.result.settings, sort_keys=False))
    write_text(written[1], _json(summary(run.result)))
    written += [save_result(run.result, folder), *(folder / "results").glob("result.*.parquet")]
    written += [_write_scores(run, folder), *_write_vectors(run, folder)]
    write_report(run.result, folder / "report.html", full_text=full_text)
    hashes = {path.relative_to(folder).as_posix(): file_hash(path) for path in written}
    # Last: a folder with this file is whole.
    write_text(folder / "run.json", _json(_about(run, seconds, full_text) | {"files": hashes}))
    return folder / "run.json"


def _write_scores(run: StudyRun, folder: Path) -> Path:
    path = folder / "results" / "scores.parquet"
    with replacing(path) as temporary:
        run.scores.to_parquet(temporary)
    return path


def _write_vectors(run: StudyRun, folder: Path) -> list[Path]:
    target = folder / "vectors"
    target.mkdir(parents=True, exist_ok=True)
    paths = [target / vector_file(fitted.vector.name) for fitted in run.vectors]
    for path, fitted in zip(paths, run.vectors, strict=True):
        save_vector(fitted.vector, path)
    return paths


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
        "data": {key: {"sha256": file_hash(Path(file))} for key, file in files.items()},
        "report_full_text": full_text,
    }


def _json(value: Any) -> str:
    return json.dumps(json_safe(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


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


def finished_run(config: WhosAskingConfig, folder: Path) -> WhosAsking | None:
    """The result of a run that is complete and whole; None where anything is left to do.

    The checkpoint is not loaded: its files' sizes and times are looked at.

    Raises:
        RunFolderError: If the folder cannot hold the run, or holds another study's.
        LedgerError: If the folder's ledger is damaged.
    """
    with closing(open_run(folder, config, study_data(config))) as ledger:
        entries = ledger.entries()
        # The run's files are the last cell: it is entered when all others are known.
        if not any(e.cell.kind == "files" for e in entries):
            return None
        if any(e.status != "done" for e in entries) or broken_shards(ledger, folder):
            return None
        if broken_files(folder) or ledger.about("model_files") != model_files(config):
            return None
    return load_result(folder)
