"""Personas by a file or a shipped set's name, and new files of them."""

import json
import os
import secrets
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Final, get_args

from lens_personas.personas import (
    Persona,
    PersonaSet,
    ShippedSet,
    read_persona_set,
    read_requests,
)

SHIPPED: Final[tuple[ShippedSet, ...]] = get_args(ShippedSet)
_ALIASES: Final = {"shipped": "personas"}


def shipped_name(name: str) -> ShippedSet | None:
    """The shipped set of that name, if it is one; "shipped" are the behavioural personas."""
    asked = _ALIASES.get(name, name)
    return next((each for each in SHIPPED if each == asked), None)


def personas_of(source: str) -> PersonaSet:
    """The personas of a file, or of a shipped set by its name.

    Raises:
        FileNotFoundError: If it is neither.
        DataFileError: If the file is malformed.
    """
    name = shipped_name(source)
    if name is None:
        return read_persona_set(Path(source).expanduser())
    data = resources.files("lens_personas.personas") / "data" / f"{name}.yaml"
    with resources.as_file(data) as path:
        return read_persona_set(path)


def persona_named(found: PersonaSet, name: str) -> Persona:
    """One persona of a set.

    Raises:
        ValueError: If there is none of that name.
    """
    names = [persona.name for persona in found.personas]
    if name not in names:
        raise ValueError(f"unknown persona {name!r}; there is {', '.join(names)}")
    return found.personas[names.index(name)]


def topics_of(requests: Path | None) -> tuple[str, ...]:
    """The texts of a file of requests; empty without one.

    Raises:
        FileNotFoundError: If there is no such file.
        DataFileError: If it is malformed.
    """
    if requests is None:
        return ()
    return tuple(request.text for request in read_requests(requests.expanduser()))


def token_counter(tokenizer: Path | None) -> Callable[[str], int] | None:
    """Tokens of a text by a tokenizer's file; None without one.

    Raises:
        ValueError: If there is no such file, or it is no tokenizer.
    """
    if tokenizer is None:
        return None
    from tokenizers import Tokenizer

    path = tokenizer.expanduser()
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"expected a tokenizer.json at {str(path)!r}, found none")
    text = path.read_text(encoding="utf-8")
    # The library's own error for another file has no type to be caught by.
    if "model" not in _object(text):
        raise ValueError(f"expected a tokenizer in {str(path)!r}, found something else")
    encode = Tokenizer.from_str(text).encode
    return lambda text: len(encode(text, add_special_tokens=False).ids)


def _object(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def refuse_existing(path: Path, *, force: bool) -> None:
    """Accept a path for a new YAML file.

    Raises:
        ValueError: If the file is there and may not be replaced, or is not named as YAML.
    """
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise ValueError(f"expected a file that ends in .yaml, got {path.name!r}; rename it")
    if path.is_dir() or (path.exists() and not force):
        raise ValueError(
            f"expected {str(path)!r} not to exist; give another path, or --force to replace it"
        )


def write_new(path: Path, text: str, *, force: bool) -> None:
    """Write a text file whole or not at all.

    Raises:
        ValueError: If the file is there and may not be replaced.
        OSError: If the disk refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        # Making it may have taken minutes, in which another could have written it.
        refuse_existing(path, force=force)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
