"""Which study settings belong to: its checks, its data, and how it is carried out."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analyses._assemble import StudyRun
from analyses._config import PRESETS, WhosAskingConfig
from analyses._data import study_data
from analyses._drive import Engine
from analyses._pair_assemble import PairRun
from analyses._pair_config import PAIR_PRESETS, PAIR_STUDIES, PairConfig
from analyses._pair_data import pair_data
from analyses._pair_study import run_pair
from analyses._settings import StudyConfig, build_settings, checked, settings_in
from analyses._study import run_study
from analyses._workbench import Progress

AnyConfig = WhosAskingConfig | PairConfig
"""Settings of some study."""

AnyRun = StudyRun | PairRun
"""What some study leaves."""

Write = Callable[[AnyRun, float], Path]
"""Writes a run's files, given its wall time in seconds; gives the last and decisive one."""


def is_pair(settings: Mapping[str, Any]) -> bool:
    """Whether settings are of a study of two models, by what they name."""
    return settings.get("study") in PAIR_STUDIES


def config_of(settings: Mapping[str, Any]) -> AnyConfig:
    """Settings that a run was begun with, as an object.

    Raises:
        ConfigError: If they are of no study that this version knows.
    """
    if is_pair(settings):
        return checked(PairConfig, settings)
    return checked(WhosAskingConfig, settings)


def any_config(
    study: str | None = None,
    *,
    file: str | None = None,
    assignments: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    preset: str = "standard",
) -> AnyConfig:
    """Settings of a study: preset, then file, then assignments, then flags.

    Args:
        study: Name of the study; None for the one that the file is of.
        file: YAML file of settings.
        assignments: Texts ``key=value``.
        flags: Settings by name; None leaves one as it is.
        preset: Name of a preset.

    Raises:
        ConfigError: If a key or preset is unknown, a value does not fit, or the file is not
            readable.
    """
    pair = is_pair({"study": study} if study or file is None else settings_in(file))
    given: dict[str, Any] = {
        "preset": preset,
        "file": file,
        "assignments": assignments,
        "flags": flags,
    }
    if pair:
        return build_settings(PairConfig, PAIR_PRESETS, **given)
    return build_settings(WhosAskingConfig, PRESETS, **given)


def data_of(config: StudyConfig) -> object:
    """All that is said to the models.

    Raises:
        ConfigError: If a file is missing, or there is too little to study.
        DataFileError: If a file is malformed.
        TypeError: If no study has such settings.
    """
    if isinstance(config, PairConfig):
        return pair_data(config)
    if isinstance(config, WhosAskingConfig):
        return study_data(config)
    raise TypeError(f"expected settings of a study, got {type(config).__name__}")


def run_any(
    config: AnyConfig,
    *,
    folder: Path | None = None,
    engine: Engine | None = None,
    write: Write | None = None,
    progress: Progress | None = None,
) -> AnyRun:
    """Carry out whichever study; see :func:`analyses._drive.carry_out`.

    Raises:
        ConfigError: If the settings do not fit the model or the data.
        ModelLoadError: If a model cannot be loaded.
        DataFileError: If a file is malformed.
        RunFolderError: If the folder cannot hold the run, or holds another study's.
        LedgerError: If the folder's ledger is damaged.
        DiskFullError: If there is no room left.
        ValueError: If a cell cannot be computed.
    """
    if isinstance(config, PairConfig):
        return run_pair(config, folder=folder, engine=engine, write=write, progress=progress)
    return run_study(config, folder=folder, engine=engine, write=write, progress=progress)
