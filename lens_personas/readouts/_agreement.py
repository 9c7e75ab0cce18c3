"""Whether two judges agree, and whether an answer is the known one."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lens_personas.readouts._text import normalise


@dataclass(frozen=True, kw_only=True)
class JudgeAgreement:
    """How far two judges agree on the same answers."""

    kappa: float
    """Cohen's kappa: 1 for full agreement, 0 for what chance gives; NaN where it is undefined."""
    observed: float
    """Share of answers with the same label, 0 to 1; NaN where there is no answer."""
    expected: float
    """Share that two independent judges with these label rates would reach."""
    n: int
    """Answers compared."""


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> JudgeAgreement:
    """Cohen's kappa of two judges' labels, answer by answer.

    Undefined, and NaN, if there is no answer or both judges gave one single label.

    >>> cohen_kappa(["refusal", "answer"], ["refusal", "answer"]).kappa
    1.0

    Raises:
        ValueError: If the judges labelled different numbers of answers.
    """
    if len(first) != len(second):
        raise ValueError(
            f"expected labels of the same answers, got {len(first)} and {len(second)} labels"
        )
    n = len(first)
    if not n:
        return JudgeAgreement(kappa=math.nan, observed=math.nan, expected=math.nan, n=0)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    counts, others = Counter(first), Counter(second)
    expected = sum(counts[label] * others[label] for label in counts) / n**2
    kappa = (observed - expected) / (1 - expected) if expected < 1 else math.nan
    return JudgeAgreement(kappa=kappa, observed=observed, expected=expected, n=n)


def whole_answer_correct(text: str, target: str) -> bool:
    """Whether an answer is the target, whole: no word missing and none added.

    Case, curly quotes, white space, and marks before the first and after the last word
    make no difference.

    >>> whole_answer_correct("Amber plus basil.", "amber plus basil")
    True

    Raises:
        ValueError: If the target has no word.
    """
    wanted = _bare(target)
    if not wanted:
        raise ValueError(f"expected a target with at least one word, got {target!r}")
    return _bare(text) == wanted


def _bare(text: str) -> str:
    return normalise(text).rstrip(" .!?,;:\"'")
