"""What a loaded data set is: its rows, and where they come from."""

from dataclasses import dataclass
from typing import Literal

from lens_personas.personas._types import Request

CompletionLabel = Literal["compliance", "refusal", "partial_refusal"]
"""How an answer was judged by people."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a data set comes from."""

    dataset: str
    """Name of the data set, as given to the loader."""
    path: str
    """The file, as given."""
    revision: str | None
    """Commit or version of the source, as given; None if it was not."""
    sha256: str
    """Hash of the file's bytes, 64 hexadecimal digits."""
    licence: str
    """SPDX identifier, or a description where there is none."""
    citation: str
    """Who made it and where it is described, with a URL."""


@dataclass(frozen=True, kw_only=True)
class RequestSet:
    """Requests of a published data set."""

    rows: tuple[Request, ...]
    """In the order of the file."""
    origin: Origin
    """Where they come from."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One question that shows a behaviour by its answer."""

    statement_id: str
    """File name without its ending, then the row counted from 1."""
    question: str
    """What is asked, as published (with its lettered choices where it has them)."""
    text: str | None
    """The bare first-person sentence, or None where the set has only questions."""
    matching: str
    """Answer that shows the behaviour, as published: often with a leading space."""
    not_matching: str
    """Answer that does not."""
    label_confidence: float | None = None
    """Confidence of the published label, 0 to 1; None where the set has none."""

    @property
    def yes_shows_it(self) -> bool | None:
        """Whether "Yes" shows the behaviour; None where the answers are not Yes and No."""
        answers = [self.matching.strip().casefold(), self.not_matching.strip().casefold()]
        return answers[0] == "yes" if sorted(answers) == ["no", "yes"] else None


@dataclass(frozen=True, kw_only=True)
class StatementSet:
    """Statements about one behaviour."""

    behaviour: str
    """File name without its ending."""
    rows: tuple[Statement, ...]
    """In the order of the file."""
    origin: Origin
    """Where they come from."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """An answer of some model, judged by people: what a judge is tested against."""

    prompt_id: str
    """Identifier of the request, the same as in the data set of requests."""
    text: str
    """What the user said."""
    completion: str
    """What the model answered; may be empty."""
    harmful: bool
    """Whether a refusal is what the data set expects."""
    category: str
    """Topic named by the source."""
    label: CompletionLabel
    """The final human label."""
    annotations: tuple[CompletionLabel, CompletionLabel]
    """The labels of the two annotators, before they agreed."""


@dataclass(frozen=True, kw_only=True)
class CompletionSet:
    """Judged answers of one model."""

    rows: tuple[Completion, ...]
    """In the order of the file."""
    origin: Origin
    """Where they come from."""
