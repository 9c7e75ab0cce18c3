"""A run's folder as it is begun and gone on with: what it is a run of, held against what is asked.

A run goes on only under the settings, data, model and versions it was begun with, since its
cells would else be of two studies.
"""

from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from analyses._cells import content_hash
from analyses._disk import network_type
from analyses._json import json_safe
from analyses._ledger import LEDGER, Ledger
from analyses._settings import StudyConfig
from lens_personas import __version__
from lens_personas.activations import replacing
from lens_personas.models import ModelCard
from lens_personas.models.organism import shipped_path

_MODEL_FACTS = ("fingerprint", "backend", "dtype", "tokenizer_hash", "chat_template_hash")
_END_BYTES = 2**16
# What only the analysis reads changes no cell.
_ANALYSIS_ONLY = ("alpha",)


class RunFolderError(ValueError):
    """A run cannot be written where it was asked for."""


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something other than a run, before any work is done.

    Raises:
        RunFolderError: If it is a file, a folder with other things in it, a run of an earlier
            version, or on a network file system.
    """
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"expected a folder for the run, got the file {str(folder)!r}")
    if (folder / LEDGER).is_file() or not (folder.is_dir() and any(folder.iterdir())):
        if (kind := network_type(folder)) is not None:
            raise RunFolderError(
                f"expected a local disk for the run, got {str(folder)!r} on a network file system "
                f"({kind}), where a ledger's locks do not hold; put the run on a local disk and "
                "copy the folder when it is done"
            )
        return
    if (folder / "run.json").is_file() or (folder / "config.yaml").is_file():
        raise RunFolderError(
            f"expected a run with a ledger, got {str(folder)!r}, which an earlier version wrote "
            "and which cannot be gone on with; `lens-personas report` still shows it; choose "
            "another --out"
        )
    raise RunFolderError(
        f"expected a new or empty folder or an earlier run, got {str(folder)!r} with other "
        "files in it; choose another --out"
    )


def open_run(folder: Path, config: StudyConfig, data: object) -> Ledger:
    """The run's ledger, begun where there is none; ``config.yaml`` is then there too.

    Raises:
        RunFolderError: If the folder cannot hold the run, or holds that of another study.
        LedgerError: If its ledger is damaged.
    """
    check_folder(folder)
    (folder / "results").mkdir(parents=True, exist_ok=True)
    settings = folder / "config.yaml"
    ledger = Ledger(folder / LEDGER, new=not settings.is_file())
    facts = study_facts(config, data)
    # Whoever mistyped a setting, and so got as far as no cell, may give another.
    found = ledger.begin(facts | {"model_files": model_files(config)})
    try:
        for name, value in facts.items():
            _check_same(name, found[name], value, folder)
    except RunFolderError:
        ledger.close()
        raise
    text = yaml.safe_dump(facts["settings"], sort_keys=False)
    if not settings.is_file() or settings.read_text(encoding="utf-8") != text:
        write_text(settings, text)
    return ledger


def check_models(folder: Path, ledger: Ledger, cards: Mapping[str, ModelCard]) -> str:
    """Hash of all that the run's cells hang on.

    Raises:
        RunFolderError: If the run was begun with another model.
    """
    facts = {
        _named(part, name, cards): getattr(card, name)
        for part, card in cards.items()
        for name in _MODEL_FACTS
    }
    _check_same("model", ledger.note("model", facts), facts, folder)
    settings = {k: v for k, v in ledger.about("settings").items() if k not in _ANALYSIS_ONLY}
    known = {name: ledger.about(name) for name in ("data", "versions")}
    return content_hash({"settings": settings, "model": facts, **known})


def study_facts(config: StudyConfig, data: object) -> dict[str, Any]:
    """What a run is of, as far as it is known before the model is loaded."""
    return {
        "settings": config.model_dump(mode="json"),
        "files": {name: file_hash(Path(path)) for name, path in config.data_files().items()},
        "data": {"all": content_hash(json_safe(data))},
        "versions": {
            "lens-personas": __version__,
            "transformer-lens": version("transformer-lens"),
        },
    }


def model_files(config: StudyConfig) -> dict[str, list[str | int]]:
    """Size, time and hash of the end of every file of local checkpoints: cheap to look at again.

    Empty for a hub id, whose revision says what it is.
    """
    return {
        _named(part, path.name, config.models): _glance(path)
        for part, model in config.models.items()
        for path in _files_of(model)
    }


def _named(part: str, name: str, models: Mapping[str, object]) -> str:
    """A fact's name, with its model's where there are several."""
    return name if len(models) == 1 else f"{part}/{name}"


def _files_of(model: str) -> list[Path]:
    folder = shipped_path(model) or Path(model).expanduser()
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if path.is_file()]


def _glance(path: Path) -> list[str | int]:
    stat = path.stat()
    with path.open("rb") as file:
        file.seek(max(0, stat.st_size - _END_BYTES))
        # Copies may agree in size and time.
        return [stat.st_size, stat.st_mtime_ns, sha256(file.read()).hexdigest()]


def _check_same(what: str, there: Any, here: Mapping[str, Any], folder: Path) -> None:
    if there == here:
        return
    there = there or {}
    changed = [
        f"{name} ({there.get(name)!r} there, {here.get(name)!r} here)"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]
    raise RunFolderError(
        f"the run in {str(folder)!r} was begun with {_SAID[what]}: {', '.join(changed)}; choose "
        f"another --out, or go on with the old one: {_GO_ON[what]}"
    )


_SAID = {
    "settings": "other settings",
    "files": "other contents of the files",
    "data": "other personas or requests than this version ships",
    "versions": "other versions",
    "model": "another model",
}
_GO_ON = {
    "settings": "`lens-personas runs resume` takes its settings",
    "files": "put the files back as they were",
    "data": "install the version that wrote it",
    "versions": "install them",
    "model": "put the checkpoint back as it was",
}


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then put it in place.

    Raises:
        OSError: If the disk refuses.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def file_hash(path: Path) -> str:
    """sha256 of a file."""
    return sha256(path.expanduser().read_bytes()).hexdigest()
