"""What a look at personas found: what makes numbers wrong, and what should be looked at."""

from dataclasses import dataclass
from typing import Literal

FindingLevel = Literal["error", "warning"]
"""An error makes numbers wrong; a warning is to be looked at and may be meant."""

FindingKind = Literal[
    "balance",
    "control",
    "duplicate",
    "few",
    "form",
    "leakage",
    "length",
    "licence",
    "markup",
    "near-duplicate",
    "opposite",
    "pairing",
    "topic",
    "wording",
]
"""What a finding is about."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was found in personas."""

    level: FindingLevel
    """How bad it is."""
    kind: FindingKind
    """What it is about."""
    personas: tuple[str, ...]
    """Names of the personas it is found in; empty for the set as a whole."""
    message: str
    """What was expected, what was found, and what to do."""


def error(kind: FindingKind, personas: tuple[str, ...], message: str) -> Finding:
    """A finding that makes numbers wrong.

    Raises:
        Nothing of its own.
    """
    return Finding(level="error", kind=kind, personas=personas, message=message)


def warning(kind: FindingKind, personas: tuple[str, ...], message: str) -> Finding:
    """A finding to be looked at.

    Raises:
        Nothing of its own.
    """
    return Finding(level="warning", kind=kind, personas=personas, message=message)
