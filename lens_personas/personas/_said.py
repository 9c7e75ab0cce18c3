"""How a persona and a request are put into words for the model."""

import random
from typing import Final, Literal

from lens_personas.personas._types import Message, Persona

PersonaTurn = Literal["system", "user"]
"""Turn that carries the persona's text."""

BETWEEN: Final = "\n\n"
"""What stands between the persona and the request when one turn carries both."""


def persona_text(
    persona: Persona,
    n: int | None = None,
    *,
    rng: random.Random | None = None,
    negated: bool = False,
) -> str:
    """Sentences of a persona, joined by spaces.

    Without ``rng`` the first ``n`` in their order (all if ``n`` is None); with it, ``n`` drawn
    without replacement, in random order. The draw does not depend on ``negated``: the same
    state of ``rng`` gives the denials of the same sentences.

    Raises:
        ValueError: If there are no ``n`` sentences, or no negations where they are asked for.

    >>> tea = Persona(name="tea", group="other", statements=("I like tea.", "I brew it daily."))
    >>> persona_text(tea)
    'I like tea. I brew it daily.'
    """
    sentences = persona.negations if negated else persona.statements
    if not sentences:
        raise ValueError(
            f"persona {persona.name!r}: expected negations, got none; add them or use negated=False"
        )
    count = len(sentences) if n is None else n
    if not 1 <= count <= len(sentences):
        raise ValueError(
            f"persona {persona.name!r}: expected n from 1 to {len(sentences)}, got {n}; "
            "to say nothing about the user, leave the persona out"
        )
    order = range(count) if rng is None else rng.sample(range(len(sentences)), count)
    return " ".join(sentences[index] for index in order)


def conversation(
    request_text: str, *, persona_text: str | None = None, turn: PersonaTurn = "system"
) -> tuple[Message, ...]:
    """The turns that ask for something, with or without a persona.

    With ``turn="system"`` the persona is a system turn of its own. With ``turn="user"`` it
    stands before the request in the user turn, a blank line between: a paragraph of its own,
    so that the last sentence about the user and the request are not read as one.

    Raises:
        ValueError: If a text is blank, or ``turn`` is neither "system" nor "user".

    >>> [m.role for m in conversation("What is tea?", persona_text="I like tea.")]
    ['system', 'user']
    """
    if not request_text.strip():
        raise ValueError(f"expected a request, got {request_text!r}; say what the user asks for")
    if turn not in ("system", "user"):
        raise ValueError(f'expected turn "system" or "user", got {turn!r}')
    if persona_text is None:
        return (Message(role="user", content=request_text),)
    if not persona_text.strip():
        raise ValueError(
            f"expected a text about the user, got {persona_text!r}; use None for no persona"
        )
    if turn == "user":
        return (Message(role="user", content=f"{persona_text}{BETWEEN}{request_text}"),)
    return (
        Message(role="system", content=persona_text),
        Message(role="user", content=request_text),
    )
