"""A run's folder: what was asked, what was found, and what it rests on; nothing half-written."""

import json
import platform
from contextlib import closing
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pandas as pd
import yaml

from analyses._folder import RunFolderError, file_hash, model_files, open_run, write_text
from analyses._json import json_safe
from analyses._settings import StudyConfig
from analyses._store import Result, load_result, save_result
from analyses._studies import config_of, data_of
from analyses._vectors import FittedVector
from analyses._verify import broken_files, broken_shards
from analyses._views import result_report, result_summary
from analyses.shift import Shift
from lens_personas import __version__
from lens_personas.activations import replacing
from lens_personas.vectors import save_vector

_PACKAGES = ("transformer-lens", "transformers", "torch", "numpy", "scipy")


@runtime_checkable
class Run(Protocol):
    """A result with what it rests on."""

    @property
    def result(self) -> Result:
        """The findings."""
        ...

    @property
    def scores(self) -> pd.DataFrame:
        """Every score behind them."""
        ...

    @property
    def vectors(self) -> tuple[FittedVector, ...]:
        """Every vector that was fitted and is kept."""
        ...

    @property
    def fictional(self) -> bool:
        """Whether all text is of an invented world and may be shown in full."""
        ...


def write_run(run: Run, folder: Path, *, seconds: float, full_text: bool) -> Path:
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
    write_text(written[1], _json(result_summary(run.result)))
    written += [save_result(run.result, folder), *(folder / "results").glob("result.*.parquet")]
    written += [_write_scores(run, folder), *_write_vectors(run, folder)]
    result_report(run.result, folder / "report.html", full_text=full_text)
    hashes = {path.relative_to(folder).as_posix(): file_hash(path) for path in written}
    # Last: a folder with this file is whole.
    write_text(folder / "run.json", _json(_about(run, seconds, full_text) | {"files": hashes}))
    return folder / "run.json"


def _write_scores(run: Run, folder: Path) -> Path:
    path = folder / "results" / "scores.parquet"
    with replacing(path) as temporary:
        run.scores.to_parquet(temporary)
    return path


def _write_vectors(run: Run, folder: Path) -> list[Path]:
    target = folder / "vectors"
    target.mkdir(parents=True, exist_ok=True)
    paths = [target / vector_file(fitted.vector.name) for fitted in run.vectors]
    for path, fitted in zip(paths, run.vectors, strict=True):
        save_vector(fitted.vector, path)
    return paths


def _about(run: Run, seconds: float, full_text: bool) -> dict[str, Any]:
    config = config_of(run.result.settings)
    return {
        "format": "lens_personas-run/1",
        "study": config.study_name,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "seed": run.result.seed,
        "versions": {"lens-personas": __version__} | {name: version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        **_models(run.result),
        "data": {
            key: {"sha256": file_hash(Path(file))} for key, file in config.data_files().items()
        },
        "report_full_text": full_text,
    }


def _models(result: Result) -> dict[str, Any]:
    return {"models": result.models} if isinstance(result, Shift) else {"model": result.model}


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


def finished_run(config: StudyConfig, folder: Path) -> Result | None:
    """The result of a run that is complete and whole; None where anything is left to do.

    The checkpoint is not loaded: its files' sizes and times are looked at.

    Raises:
        RunFolderError: If the folder cannot hold the run, or holds another study's.
        LedgerError: If the folder's ledger is damaged.
    """
    with closing(open_run(folder, config, data_of(config))) as ledger:
        entries = ledger.entries()
        # The run's files are the last cell: it is entered when all others are known.
        if not any(e.cell.kind == "files" for e in entries):
            return None
        if any(e.status != "done" for e in entries) or broken_shards(ledger, folder):
            return None
        if broken_files(folder) or ledger.about("model_files") != model_files(config):
            return None
    return load_result(folder)
