"""Personas of socio-demographic groups: one template a sentence, filled with each group's word."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lens_personas.personas._types import Persona

GROUP: Final = "{group}"
AXIS: Final = "{axis}"


@dataclass(frozen=True, kw_only=True)
class GroupTemplate:
    """One sentence about belonging to a group, three ways; ``{group}`` stands for the word."""

    statement: str
    """True of every user of the group."""
    negation: str
    """Denies the statement."""
    question: str
    """Yes/no question whose answer is Yes for the group."""


GROUP_TEMPLATES: Final = (
    GroupTemplate(
        statement="I am {group}.",
        negation="I am not {group}.",
        question="Am I {group}?",
    ),
    GroupTemplate(
        statement="I describe myself as {group}.",
        negation="I do not describe myself as {group}.",
        question="Do I describe myself as {group}?",
    ),
    GroupTemplate(
        statement="When a form asks for my {axis}, I write {group}.",
        negation="When a form asks for my {axis}, I do not write {group}.",
        question="When a form asks for my {axis}, do I write {group}?",
    ),
    GroupTemplate(
        statement="My friends know that I am {group}.",
        negation="My friends know that I am not {group}.",
        question="Do my friends know that I am {group}?",
    ),
    GroupTemplate(
        statement="In a survey, I am counted as {group}.",
        negation="In a survey, I am not counted as {group}.",
        question="In a survey, am I counted as {group}?",
    ),
    GroupTemplate(
        statement="If you ask me, I say that I am {group}.",
        negation="If you ask me, I do not say that I am {group}.",
        question="If you ask me, do I say that I am {group}?",
    ),
)
"""Membership and nothing else; ``{axis}`` stands for the axis. Groups are adjectives there."""


def group_personas(
    axis: str,
    groups: Sequence[str],
    *,
    templates: Sequence[GroupTemplate] = GROUP_TEMPLATES,
    licence: str | None = None,
) -> tuple[Persona, ...]:
    """One persona a group, in alphabetical order, that differ in the group's word alone.

    So nothing but membership is said, and no group is described otherwise than another. They
    serve to test for disparity and are never ranked.

    Raises:
        ValueError: If there are fewer than two groups, one is there twice or blank, the axis is
            blank, or a template has no ``{group}``.

    >>> first, _ = group_personas("language", ("Welsh", "Breton"))
    >>> first.name, first.statements[2]
    ('Breton', 'When a form asks for my language, I write Breton.')
    """
    named = sorted((group.strip() for group in groups), key=lambda group: (group.casefold(), group))
    if not axis.strip() or not all(named) or len({name.casefold() for name in named}) < len(groups):
        raise ValueError(
            f"expected an axis and groups that are all different and none blank, got {axis!r} and "
            f"{list(groups)}; name each group once"
        )
    if len(named) < 2:
        raise ValueError(
            f"expected at least two groups of {axis}, got {named}; a disparity needs another "
            "group to be seen"
        )
    if not templates or not all(GROUP in text for each in templates for text in _texts(each)):
        raise ValueError(
            "expected {group} in every statement, negation and question of at least one template; "
            "put it where the group's word goes"
        )
    return tuple(_persona(axis.strip(), name, templates, licence) for name in named)


def _persona(
    axis: str, group: str, templates: Sequence[GroupTemplate], licence: str | None
) -> Persona:
    filled = [[_fill(text, axis, group) for text in _texts(each)] for each in templates]
    statements, negations, questions = zip(*filled, strict=True)
    return Persona(
        name=group,
        group="other",
        statements=statements,
        negations=negations,
        questions=questions,
        licence=licence,
        demographic=axis,
    )


def _texts(template: GroupTemplate) -> tuple[str, str, str]:
    return template.statement, template.negation, template.question


def _fill(text: str, axis: str, group: str) -> str:
    # Not str.format: a brace in a user's template is a brace.
    return text.replace(AXIS, axis).replace(GROUP, group)
