"""Personas and what was found in them, as tables to be printed and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lens_personas.personas import Finding, Persona, PersonaSet

_COLUMNS = ("persona", "group", "axis", "opposite", "statements", "negations", "questions", "words")


def plain(text: object) -> str:
    """A text without signs that a terminal would obey."""
    return "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(text)
    )


def set_view(found: PersonaSet) -> Group:
    """What is known of a set, and a row for each persona."""
    parts: list[RenderableType] = [Text(line) for line in _about(found)]
    return Group(*parts, personas_table(found.personas))


def persona_view(persona: Persona) -> Table:
    """Every sentence of one persona, those of one row beside each other."""
    columns = [persona.statements, persona.negations, persona.questions]
    table = Table("statement", "negation", "question", title=plain(persona.name), box=None)
    for at in range(max(map(len, columns))):
        table.add_row(*(Text(plain(each[at])) if at < len(each) else "" for each in columns))
    return table


def personas_table(personas: Sequence[Persona]) -> Table:
    """One row a persona, in the order of the file; groups of people are in no other order."""
    table = Table(*_COLUMNS, box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for persona in personas:
        row = _row(persona)
        table.add_row(*(Text(plain(row[column])) for column in _COLUMNS))
    return table


def findings_view(findings: Sequence[Finding]) -> Group:
    """One line a finding, errors first, and the count of both."""
    table = Table("level", "about", "personas", "finding", box=None, pad_edge=False)
    for each in findings:
        cells = (each.level, each.kind, _some(each.personas), each.message)
        table.add_row(*(Text(plain(cell)) for cell in cells))
    counted = Text(f"{n_errors(findings)} errors, {len(findings) - n_errors(findings)} warnings")
    return Group(table, counted) if findings else Group(counted)


def n_errors(findings: Sequence[Finding]) -> int:
    """How many findings are errors."""
    return sum(finding.level == "error" for finding in findings)


def set_json(found: PersonaSet, findings: Sequence[Finding] | None = None) -> str:
    """A set without its sentences, and what was found in it, as JSON."""
    about: dict[str, Any] = {
        "path": found.path,
        "sha256": found.sha256,
        "set": None if found.header is None else asdict(found.header),
        "personas": [_row(persona) for persona in found.personas],
    }
    if findings is not None:
        about["errors"] = n_errors(findings)
        about["warnings"] = len(findings) - n_errors(findings)
        about["findings"] = [asdict(finding) for finding in findings]
    return json.dumps(about, indent=2)


def _about(found: PersonaSet) -> list[str]:
    lines = [f"file: {plain(Path(found.path).name)} (sha256 {found.sha256})"]
    if found.header is None:
        return lines
    facts = asdict(found.header)
    made_with = facts.pop("made_with")
    told = [f"{name}: {plain(value)}" for name, value in facts.items() if value is not None]
    return [*lines, *told, *(f"made with {plain(k)}: {plain(v)}" for k, v in made_with.items())]


def _row(persona: Persona) -> dict[str, Any]:
    return {
        "persona": persona.name,
        "group": persona.group,
        "axis": persona.demographic or "",
        "opposite": persona.opposite or "",
        "statements": len(persona.statements),
        "negations": len(persona.negations),
        "questions": len(persona.questions),
        "words": sum(len(statement.split()) for statement in persona.statements),
        "licence": persona.licence or "",
    }


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4])
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown
