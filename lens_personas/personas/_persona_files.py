"""Sets of personas: read from a file, checked row by row, and written."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import TypeAdapter

from lens_personas.personas._own import check_fields, refuse_duplicates, validated
from lens_personas.personas._row import Row, data_file_error
from lens_personas.personas._rows import read_headed
from lens_personas.personas._types import Persona

_persona_of: Final = TypeAdapter(Persona).validate_python
_FORMATS: Final = (".jsonl", ".json", ".yaml", ".yml")
_COLUMNS: Final = ("name", "group", "statements")


@dataclass(frozen=True, kw_only=True)
class PersonaSetHeader:
    """What is known of a set as a whole."""

    name: str
    """Name of the set."""
    licence: str | None = None
    """Licence of the personas that name none of their own (SPDX identifier), or None."""
    source: str | None = None
    """Who wrote the sentences, or what they were taken from; or None."""
    citation: str | None = None
    """How to cite the set, or None."""
    made_with: Mapping[str, str] = field(default_factory=dict)
    """How it was made, as facts by name, such as the model and the date; may be empty."""


@dataclass(frozen=True, kw_only=True)
class PersonaSet:
    """Personas of one file and where they come from."""

    personas: tuple[Persona, ...]
    """In the order of the file."""
    header: PersonaSetHeader | None
    """What the file says of the set; None where it says nothing."""
    path: str
    """The file, as given."""
    sha256: str
    """Hash of the file's bytes, 64 hexadecimal digits."""


def read_personas(path: str | Path) -> tuple[Persona, ...]:
    """The personas of a JSONL, JSON or YAML file, in its order.

    Columns: ``name``, ``group`` (pro, anti, control or other) and ``statements`` (a list);
    optionally ``negations`` (in the order of the statements), ``opposite`` (a name in the same
    file), ``questions``, ``licence`` and ``demographic`` (the axis of a socio-demographic group,
    whose group is "other"). A YAML file may have a header: see :func:`read_persona_set`.

    Raises:
        FileNotFoundError: If there is no such file.
        DataFileError: If a column or value is wrong, a name is there twice, or an ``opposite``
            is not in the file. The message has the file, the line and the fix.
    """
    return read_persona_set(path).personas


def read_persona_set(path: str | Path) -> PersonaSet:
    """The personas of a file and what it says of them as a set.

    A YAML file is a list of personas, or ``{set: {...}, personas: [...]}`` with ``name`` and
    optionally ``licence``, ``source``, ``citation`` and ``made_with`` in the ``set``. The
    set's licence is that of every persona that names none.

    Raises:
        FileNotFoundError: If there is no such file.
        DataFileError: As for :func:`read_personas`, or if the header is wrong.
    """
    path = Path(path)
    top, rows = read_headed(path, formats=_FORMATS, header="set", rows="personas")
    header = None if top is None else _header(path, top)
    personas = tuple(_persona(path, row) for row in rows)
    refuse_duplicates(path, rows, "name", [persona.name for persona in personas])
    _check_opposites(path, rows, personas)
    licence = None if header is None else header.licence
    return PersonaSet(
        personas=tuple(replace(p, licence=p.licence or licence) for p in personas),
        header=header,
        path=str(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def persona_yaml(personas: tuple[Persona, ...], header: PersonaSetHeader | None = None) -> str:
    """The text of a YAML file that :func:`read_persona_set` reads as these.

    Raises:
        Nothing of its own.
    """
    listed = [_filled(persona) for persona in personas]
    whole = listed if header is None else {"set": _filled(header), "personas": listed}
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=10_000)


def _filled(record: Persona | PersonaSetHeader) -> dict[str, Any]:
    """Fields that hold something, as what YAML has."""
    found = {each.name: getattr(record, each.name) for each in fields(record)}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in found.items()
        if value not in (None, (), {})
    }


_header_of: Final = TypeAdapter(PersonaSetHeader).validate_python


def _header(path: Path, row: Row) -> PersonaSetHeader:
    check_fields(path, row, PersonaSetHeader, required=("name",))
    values = {column: value for column, value in row.values.items() if value is not None}
    return validated(path, row, _header_of, values, filled=("name",))


def _persona(path: Path, row: Row) -> Persona:
    check_fields(path, row, Persona, required=_COLUMNS)
    values = {column: value for column, value in row.values.items() if value is not None}
    return validated(path, row, _persona_of, values, filled=("name",))


def _check_opposites(path: Path, rows: tuple[Row, ...], personas: tuple[Persona, ...]) -> None:
    names = [persona.name for persona in personas]
    for row, persona in zip(rows, personas, strict=True):
        if persona.opposite is not None and persona.opposite not in set(names) - {persona.name}:
            raise data_file_error(
                path,
                row.line,
                expected=f"the opposite of {persona.name!r} to be another persona of the file "
                f"({', '.join(names)})",
                found=f"{persona.opposite!r}",
                fix="correct the name, add that persona, or remove the opposite",
            )
