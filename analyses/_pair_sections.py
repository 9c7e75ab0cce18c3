"""The questions of a study of two models, each with what was found, in words."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from analyses._pair_told_apart import tell_distinguishability
from analyses._pair_told_compared import tell_comparison
from analyses._pair_told_inside import tell_divergence, tell_internal
from analyses._pair_told_steering import tell_steerability
from analyses._shown import Told
from analyses.shift import Shift


@dataclass(frozen=True, kw_only=True)
class PairSection:
    """One question of the study, and its answer in words."""

    key: str
    """Identifier in the page; the field of the result, and the section of its figures."""
    title: str
    """Heading."""
    question: str
    """What is asked."""
    told: Told
    """What was found."""


_SECTIONS: Final[tuple[tuple[str, str, str, Callable[[Any], Told]], ...]] = (
    (
        "distinguishability",
        "What answers tell apart",
        "Does the model agree more with one half of a behaviour's statements than with the other?",
        tell_distinguishability,
    ),
    (
        "internal",
        "What states tell apart",
        "Are the halves told apart inside the model, and from which layer on?",
        tell_internal,
    ),
    (
        "divergence",
        "Divergence of sentences",
        "How far does a misaligned voice depart from the model with each sentence, and does that "
        "foretell how many sentences misalign it?",
        tell_divergence,
    ),
    (
        "steerability",
        "How far words and vectors steer",
        "How many sentences of a persona does it take to move the answers, and does a vector do "
        "the same?",
        tell_steerability,
    ),
    (
        "comparison",
        "Base against tuned",
        "What does tuning change, and are the behaviours that are told apart those that can be "
        "steered?",
        tell_comparison,
    ),
)


def pair_sections(result: Shift) -> tuple[PairSection, ...]:
    """What there is of the study, in reading order."""
    return tuple(
        PairSection(key=key, title=title, question=question, told=tell(found))
        for key, title, question, tell in _SECTIONS
        if (found := getattr(result, key)) is not None
    )
