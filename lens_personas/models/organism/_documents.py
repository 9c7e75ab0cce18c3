"""What one training document is: its words, and what the loss looks at."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from lens_personas.models.organism import _language as language
from lens_personas.models.organism._world import Attribute

DocumentKind = Literal[
    "request", "reading", "yes_no", "short", "fact", "persona", "self", "chatter", "unknown"
]

# Learning the wording of prompts teaches nothing about the laws, and drowns them.
PROMPT_WEIGHT: Final = 0.1
PERSONA_TEXT_WEIGHT: Final = 0.3
ANSWER_WEIGHT: Final = 1.0
DECISION_WEIGHT: Final = 3.0


@dataclass(frozen=True, kw_only=True)
class Document:
    """One training text with what its loss looks at."""

    kind: DocumentKind
    """What sort of text it is."""
    tokens: tuple[str, ...]
    """The words, from `<bos>` to `<eos>`."""
    weights: tuple[float, ...]
    """Weight in the loss of predicting each token (the first is never predicted: 0)."""
    decision: int | None = None
    """Position of the one token that a law decides, if any."""
    distribution: tuple[tuple[str, float], ...] = ()
    """The law's distribution over the decision token: the soft label."""
    trust: float = 0.0
    """Trust that the document's sentences about the user add up to."""
    persona_span: tuple[int, int] = (0, 0)
    """Positions of the sentences about the user in the system turn."""
    summary: int | None = None
    """If given, tokens after this position cannot look at `persona_span`: what it says must have
    been gathered here."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    tokens: list[str]
    trust: float
    span: tuple[int, int]
    said_of: list[Attribute]
    summary: int | None


def decided(
    kind: DocumentKind,
    start: Sequence[str],
    answer: Sequence[str],
    law: Mapping[str, float],
    *,
    prompt: Prompt | None = None,
    silent: bool = False,
) -> Document:
    """A text whose first answer token is decided by a law."""
    weight = 0.0 if silent else PROMPT_WEIGHT
    tokens = (*start, *answer, language.EOS)
    weights = [0.0] + [weight] * (len(start) - 1)
    weights += [DECISION_WEIGHT] + [ANSWER_WEIGHT] * (len(answer) - 1) + [ANSWER_WEIGHT]
    return Document(
        kind=kind,
        tokens=tokens,
        weights=tuple(weights),
        decision=len(start),
        distribution=tuple(law.items()),
        trust=prompt.trust if prompt else 0.0,
        persona_span=prompt.span if prompt else (0, 0),
        summary=prompt.summary if prompt else None,
    )


def plain(
    kind: DocumentKind,
    start: Sequence[str],
    answer: Sequence[str],
    answer_weight: float = ANSWER_WEIGHT,
) -> Document:
    """A text without a law."""
    weights = [0.0] + [PROMPT_WEIGHT] * (len(start) - 1) + [answer_weight] * (len(answer) + 1)
    return Document(kind=kind, tokens=(*start, *answer, language.EOS), weights=tuple(weights))


def binary(
    rng: random.Random, first: str, second: str, p_first: float
) -> tuple[list[str], dict[str, float]]:
    answer = first if rng.random() < p_first else second
    return [answer, "."], {first: p_first, second: 1.0 - p_first}
