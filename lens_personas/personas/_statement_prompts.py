"""How a statement is put to a model, and in which words its persona prompts are told."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final, Literal, cast

import yaml

from lens_personas.personas._said import BETWEEN, conversation
from lens_personas.personas._types import Message

Asking = Literal["agreement", "bare"]
"""How a statement is asked: with both orders of the two answers named, or as it stands."""

Order = Literal["yes_first", "no_first", "none"]
"""Which of the two answers the question names first; none where it names neither."""

AskingStyle = Literal["chat", "plain"]
"""Whether a statement is asked in a chat turn, or in a text that the model goes on with."""

_FILE: Final = "statement_prompts.yaml"
_ENDINGS: Final = (".", "!", "?", "…")


@dataclass(frozen=True, kw_only=True)
class StatementPrompts:
    """Every template that comes with the package; docs/behaviours.md says why each is so."""

    asking: Mapping[Asking, Mapping[AskingStyle, Mapping[Order, str]]]
    """Templates with ``{question}``, by how and where it is asked, for each order."""
    question: str
    """The question about a bare statement, with ``{statement}``."""
    wordings: tuple[str, ...]
    """Frames with ``{statement}`` for the sentences of a persona prompt."""
    yes: tuple[str, ...]
    """Sentences that ask for "Yes" whatever is asked."""
    neutral: tuple[str, ...]
    """True and dull sentences about no behaviour."""


@cache
def statement_prompts() -> StatementPrompts:
    """The templates that come with the package (CC0-1.0).

    Raises:
        Nothing of its own.
    """
    file = resources.files("lens_personas.personas") / "data" / _FILE
    found = cast(dict[str, Any], yaml.safe_load(file.read_text(encoding="utf-8")))
    return StatementPrompts(
        asking=found["asking"],
        question=found["question"],
        wordings=tuple(found["wordings"]),
        yes=tuple(found["say_yes"]),
        neutral=tuple(found["neutral"]),
    )


def orders_of(asking: Asking) -> tuple[Order, ...]:
    """The orders in which the answers are named: a score is the mean over them.

    Raises:
        ValueError: If there is no such way to ask.
    """
    return tuple(_templates(asking, "chat"))


def statement_messages(
    question: str, *, asking: Asking, order: Order, said: str | None = None
) -> tuple[Message, ...]:
    r"""The turns that put a statement to a chat model, after a persona prompt where one is given.

    Raises:
        ValueError: If the asking has no such order, or a text is blank.

    >>> statement_messages("Do you agree?", asking="agreement", order="no_first")[0].content
    'Do you agree?\n\nAnswer with one word: No or Yes.'
    """
    asked = _asked(question, asking, "chat", order)
    return conversation(asked, persona_text=said or None)


def statement_text(question: str, *, asking: Asking, order: Order, said: str | None = None) -> str:
    r"""The same as a text that a plain model goes on with; it ends where the answer begins.

    Raises:
        ValueError: If the asking has no such order.

    >>> statement_text("Do you agree?", asking="bare", order="none", said="You are kind.")
    'You are kind.\n\nDo you agree?\nAnswer:'
    """
    asked = _asked(question, asking, "plain", order)
    return f"{said}{BETWEEN}{asked}" if said else asked


def question_about(statement: str) -> str:
    """The question about a bare statement, in the words of the model-written evaluations.

    Raises:
        Nothing of its own.
    """
    return statement_prompts().question.format(statement=statement)


def worded(statement: str, wording: str) -> str:
    """A statement in a frame, with a full stop where it has no end of its own.

    Raises:
        ValueError: If the frame has no place for the statement.

    >>> worded("I like tea", 'You would say: "{statement}"')
    'You would say: "I like tea."'
    """
    if "{statement}" not in wording:
        raise ValueError(
            f"expected {{statement}} in the wording, got {wording!r}; say where the statement goes"
        )
    whole = statement.strip()
    ended = whole if whole.endswith(_ENDINGS) else f"{whole}."
    return wording.replace("{statement}", ended)


def _asked(question: str, asking: Asking, style: AskingStyle, order: Order) -> str:
    templates = _templates(asking, style)
    if order not in templates:
        raise ValueError(
            f"expected an order of {', '.join(templates)} for {asking!r}, got {order!r}; "
            "take the orders from orders_of"
        )
    # Braces in a question are text.
    return templates[order].replace("{question}", question)


def _templates(asking: Asking, style: AskingStyle) -> Mapping[Order, str]:
    known = statement_prompts().asking
    if asking not in known:
        raise ValueError(f"expected an asking of {', '.join(known)}, got {asking!r}")
    return known[asking][style]
