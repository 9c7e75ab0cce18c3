"""New personas: a template to fill by hand, groups by a template, or sentences by a model."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from analyses._persona_endpoint import Endpoint, UnusableReplyError, ask, check_endpoint
from analyses._persona_reply import SCHEMA, Item, Wanted, items_of, messages_for, refusal_of
from lens_personas import __version__
from lens_personas.personas import Persona, PersonaSetHeader, check_personas, persona_yaml

MAX_PER_CALL: Final = 30
"""Long lists are cut short and repeat themselves."""


class PersonaRecipeError(ValueError):
    """A model did not write the personas that were asked for."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """Personas that a model wrote."""

    personas: tuple[Persona, ...]
    """The persona, and its opposite where one was asked for; equally many sentences each."""
    header: PersonaSetHeader
    """How they were made."""
    refused: tuple[str, ...]
    """One line for each reply or item that was not taken, for all personas."""


def make_personas(
    wanted: Sequence[Wanted],
    endpoint: Endpoint,
    *,
    n: int,
    attempts: int,
    seed: int,
    licence: str | None,
    tell: Callable[[str], None] = lambda line: None,
) -> Made:
    """Personas of ``n`` statements, negations and questions each, as a model writes them.

    A reply that cannot be read counts as an attempt and gives nothing; so do refused items.

    Raises:
        EndpointError: If the server cannot be asked.
        PersonaRecipeError: If a persona is not whole after its attempts, or the set has errors.
    """
    check_endpoint(endpoint)
    made: list[Persona] = []
    refused: list[str] = []
    calls = 0
    for each in wanted:
        against = [statement for persona in made for statement in persona.statements]
        writer = _Writer(wanted=each, endpoint=endpoint, n=n, against=against)
        items = writer.write(attempts, seed + 1000 * len(made), tell)
        refused += writer.refused
        calls += writer.calls
        made.append(_persona(each, items, licence))
    errors = [found for found in check_personas(made) if found.level == "error"]
    if errors:
        raise PersonaRecipeError(f"the personas have errors: {errors[0].message}; ask once more")
    facts = {"seed": str(seed), "calls": str(calls), "refused": str(len(refused))}
    header = _header(wanted, endpoint, n, licence)
    header = replace(header, made_with={**header.made_with, **facts})
    return Made(personas=tuple(made), header=header, refused=tuple(refused))


class _Writer:
    """Asks for one persona until it is whole."""

    def __init__(
        self, *, wanted: Wanted, endpoint: Endpoint, n: int, against: Sequence[str]
    ) -> None:
        self.wanted, self.endpoint, self.n, self.against = wanted, endpoint, n, against
        self.refused: list[str] = []
        self.calls = 0

    def write(self, attempts: int, seed: int, tell: Callable[[str], None]) -> list[Item]:
        taken: list[Item] = []
        # Long lists are asked for in parts, and each part may take all its attempts.
        allowed = attempts * -(-self.n // MAX_PER_CALL)
        while len(taken) < self.n and self.calls < allowed:
            self._once(taken, seed + self.calls)
            self.calls += 1
            tell(f"{self.wanted.name}: {len(taken)} of {self.n} after {self.calls} calls")
        if len(taken) < self.n:
            raise PersonaRecipeError(self._too_few(len(taken)))
        return taken

    def _once(self, taken: list[Item], seed: int) -> None:
        asked = min(self.n - len(taken), MAX_PER_CALL)
        messages = messages_for(self.wanted, asked, [item.texts()[0] for item in taken])
        try:
            items = items_of(ask(self.endpoint, messages, schema=SCHEMA, seed=seed))
        except UnusableReplyError as error:
            self.refused.append(str(error))
            return
        for item in items:
            why = refusal_of(item, self.wanted, taken, self.against)
            if why:
                self.refused.append(why)
            elif len(taken) < self.n:
                taken.append(item)

    def _too_few(self, n_taken: int) -> str:
        reasons = Counter(self.refused).most_common(3)
        told = "; ".join(f"{count} times {why}" for why, count in reasons) or "too few items"
        return (
            f"persona {self.wanted.name!r}: expected {self.n} items, got {n_taken} after "
            f"{self.calls} calls ({told}); nothing is written; ask for fewer with --n, raise "
            "--attempts, describe the trait better, or take another model"
        )


def _persona(wanted: Wanted, items: Sequence[Item], licence: str | None) -> Persona:
    statements, negations, questions = zip(*(item.texts() for item in items), strict=True)
    return Persona(
        name=wanted.name,
        group=wanted.group,
        statements=statements,
        negations=negations,
        questions=questions,
        opposite=wanted.opposite,
        licence=licence,
    )


def _header(
    wanted: Sequence[Wanted], endpoint: Endpoint, n: int, licence: str | None
) -> PersonaSetHeader:
    first = [messages_for(each, n, ()) for each in wanted]
    prompt = json.dumps([first, SCHEMA], sort_keys=True)
    # The server's address is nobody's business but the user's.
    facts = {
        "recipe": f"lens-personas {__version__}, personas make",
        "model": endpoint.model,
        "date": datetime.now(UTC).date().isoformat(),
        "prompt_sha256": hashlib.sha256(prompt.encode()).hexdigest(),
        "temperature": f"{endpoint.temperature:g}",
        "reply_format": endpoint.reply_format,
    }
    facts |= {f"description of {each.name}": each.description for each in wanted}
    return PersonaSetHeader(
        name=" and ".join(each.name for each in wanted),
        licence=licence,
        source="written by a language model; read every sentence before use",
        made_with=facts,
    )


def made_text(made: Made) -> str:
    """The YAML file of personas that were made."""
    return persona_yaml(made.personas, made.header)
