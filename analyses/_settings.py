"""Settings of any study: a preset, a YAML file, ``--set`` and flags, checked as one."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import yaml
from pydantic import BaseModel, ValidationError

C = TypeVar("C", bound=BaseModel)


class ConfigError(ValueError):
    """A setting is unknown or has a value that cannot be used; the text is one line."""


@runtime_checkable
class StudyConfig(Protocol):
    """What every study's settings tell, whatever it asks."""

    @property
    def device(self) -> str:
        """Where the models run."""
        ...

    @property
    def study_name(self) -> str:
        """Name of the study, as on the command line."""
        ...

    @property
    def models(self) -> dict[str, str]:
        """Models by their part in the study, in the order in which they are worked with."""
        ...

    def data_files(self) -> dict[str, str]:
        """The user's files that the study reads, each under a name of its own."""
        ...

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """All settings; as plain JSON values where ``mode`` is ``json``."""
        ...


def build_settings(
    kind: type[C],
    presets: Mapping[str, Mapping[str, Any]],
    *,
    preset: str = "standard",
    file: str | None = None,
    assignments: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> C:
    """Settings from the preset, then the file, then ``a=b`` assignments, then flags.

    Args:
        kind: Which study's settings.
        presets: What each preset changes.
        preset: Name of one of them.
        file: YAML file of settings.
        assignments: Texts ``key=value``, the value read as YAML.
        flags: Settings by name; None leaves one as it is.

    Raises:
        ConfigError: If a key or preset is unknown, a value does not fit, or the file is not
            readable.
    """
    if preset not in presets:
        raise ConfigError(f"unknown preset {preset!r}; there is {', '.join(presets)}")
    merged: dict[str, Any] = dict(presets[preset])
    if file is not None:
        merged |= settings_in(file)
    for assignment in assignments:
        _assign(merged, assignment)
    merged |= {key: value for key, value in (flags or {}).items() if value is not None}
    return checked(kind, merged)


def checked(kind: type[C], settings: Mapping[str, Any]) -> C:
    """The settings as an object.

    Raises:
        ConfigError: If a key is unknown or a value does not fit.
    """
    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(_one_line(error, list(kind.model_fields))) from error


def settings_in(file: str) -> dict[str, Any]:
    """Settings as they stand in a YAML file.

    Raises:
        ConfigError: If there is none, or it holds no mapping.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise ConfigError(f"expected a settings file, found none at {file!r}")
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"expected a YAML file at {file!r}: {reason}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError(f"expected a YAML mapping in {file!r}, got {type(found).__name__}")
    return {str(key): value for key, value in found.items()}


def _assign(merged: dict[str, Any], assignment: str) -> None:
    """Put ``a.b=c`` into the mapping; the value is read as YAML, so ``[1, 2]`` is a list."""
    key, equals, value = assignment.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"expected --set key=value, got {assignment!r}")
    *parents, last = key.strip().split(".")
    at = merged
    for parent in parents:
        inner = at.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"expected a group of settings at {parent!r}, it is a value")
        at = inner
    try:
        at[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"expected a YAML value in --set {assignment!r}") from error


def _one_line(error: ValidationError, known: list[str]) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"][:1])
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        return f"unknown setting {key!r}; {hint}"
    return f"setting {key!r}: {first['msg']}, got {first['input']!r}"
