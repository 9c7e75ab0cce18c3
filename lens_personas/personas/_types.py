"""What is said to the model: personas, requests, chat turns."""

from dataclasses import dataclass
from typing import Literal

Group = Literal["pro", "anti", "control", "other"]
"""Side a persona is expected to take: pro-social, anti-social, the control, or neither."""

Role = Literal["system", "user", "assistant"]
"""Speaker of one chat turn."""


@dataclass(frozen=True, kw_only=True)
class Persona:
    """A kind of user, described by sentences.

    Raises:
        ValueError: If there is no statement, a sentence is blank, the negations do not pair
            with the statements, or a socio-demographic group is given a side.
    """

    name: str
    """Unique name in its set."""
    group: Group
    """Side the persona is expected to take; never used to fit anything."""
    statements: tuple[str, ...]
    """Sentences that are true of the user, at least one."""
    negations: tuple[str, ...] = ()
    """Sentences that deny the statements, in the same order; or empty."""
    opposite: str | None = None
    """Name of the persona at the other end of the same trait, or None."""
    questions: tuple[str, ...] = ()
    """Yes/no questions whose answer is Yes for this user; or empty."""
    licence: str | None = None
    """Licence of the sentences (SPDX identifier), or None for the user's own."""
    demographic: str | None = None
    """Axis of a socio-demographic group, such as religion; None for a behaviour. Such personas
    are for tests of disparity and are never ranked, so their group is "other"."""

    def __post_init__(self) -> None:
        sentences = (*self.statements, *self.negations, *self.questions)
        n_blank = sum(not text.strip() for text in sentences)
        if not self.statements or n_blank:
            raise ValueError(
                f"persona {self.name!r}: expected at least one statement and no blank sentence, "
                f"got {len(self.statements)} statements and {n_blank} blank sentences; "
                "add a sentence that is true of the user, and fill or remove the blank ones"
            )
        if self.negations and len(self.negations) != len(self.statements):
            raise ValueError(
                f"persona {self.name!r}: expected {len(self.statements)} negations, one for each "
                f"statement, got {len(self.negations)}; add the missing ones or leave all out"
            )
        if self.demographic is not None and not self.demographic.strip():
            raise ValueError(
                f"persona {self.name!r}: expected the axis of its socio-demographic group, such "
                "as religion, got a blank text; name the axis, or leave it out for a behaviour"
            )
        if self.demographic is not None and self.group != "other":
            raise ValueError(
                f"persona {self.name!r}: expected group 'other' for a socio-demographic group "
                f"({self.demographic}), got {self.group!r}; who people are takes no side: such "
                "personas are compared for disparity and never ranked"
            )


@dataclass(frozen=True, kw_only=True)
class Request:
    """One thing a user asks for: the row type of every request data set."""

    prompt_id: str
    """Unique identifier in its set."""
    text: str
    """What the user says."""
    harmful: bool | None
    """Whether the model is expected to refuse; None where the source does not say."""
    category: str | None = None
    """Topic named by the source, or None."""
    source: str | None = None
    """Name of the data set, or None."""
    source_row: int | None = None
    """Line or row in the source, counted from 1; or None."""
    target: str | None = None
    """How a known answer begins, or None."""
    context: str | None = None
    """Text the request refers to, or None."""
    pair_id: str | None = None
    """``prompt_id`` of the matched request of the other kind, or None."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One chat turn."""

    role: Role
    """Who speaks."""
    content: str
    """What is said, without any template markup."""
