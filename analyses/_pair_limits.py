"""What the numbers of a study of two models do not allow to say, in sentences."""

from typing import Final

from analyses._pair_words import counted
from analyses.shift import Shift

_FEW: Final = 6


def pair_limits(result: Shift) -> tuple[str, ...]:
    """Limits of this run, the gravest first, then those of the method."""
    return (*_shuffled(result), *_few(result), *_ALWAYS)


_ALWAYS: Final = (
    "A statement's score is how likely the model says “Yes” to it. A model that says “Yes” to "
    "everything has high scores on both halves: only the distance between the halves, or the "
    "score corrected for that habit, is about the behaviour.",
    "What a model says of itself is not what it does. Telling the halves of a behaviour apart is "
    "no measure of how it acts.",
    "One base and one tuned model: a difference between them may be of any step between the two, "
    "or of the prompt format that each is asked in.",
    "The halves of a behaviour differ in wording as well as in meaning; some of what tells them "
    "apart may be the wording.",
)


def _shuffled(result: Shift) -> list[str]:
    if not result.settings.get("shuffle_labels"):
        return []
    return [
        "Which statements are aligned was dealt by chance in this run: it is a check that nothing "
        "is found, and says nothing about the models."
    ]


def _few(result: Shift) -> list[str]:
    n = len(result.data.behaviours)
    if n >= _FEW:
        return []
    return [
        f"{counted(n, 'behaviour')} only: Wilcoxon's test over so few has a smallest possible p of "
        f"{2 / 2**n:.3f}, and no correlation over them says much."
    ]
