"""The studies by name, and what a name changes in the settings."""

import difflib
from typing import Any

from analyses._part_names import PART_NAMES, PART_QUESTIONS, PartName

MAIN = "whos-asking"
"""The main job."""

STUDIES: dict[str, str] = {
    MAIN: "Do personas move refusal, as a prompt and as a vector, and why?",
    **{str(name): question for name, question in PART_QUESTIONS.items()},
}
"""Question of each study: the main job, and each of its parts alone."""

_WITH_ANSWERS: tuple[PartName, ...] = ("categories", "invariance")
"""Parts that look at the answers of every arm too."""


def known_study(name: str) -> str:
    """The name, where there is such a study.

    Raises:
        ValueError: If there is none.
    """
    if name not in STUDIES:
        near = difflib.get_close_matches(name, STUDIES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(STUDIES)}"
        raise ValueError(f"unknown study {name!r}; {hint}")
    return name


def study_preset(name: str, preset: str | None) -> str:
    """The preset that was asked for, or the study's own: a part alone runs the small one.

    >>> study_preset("whos-asking", None), study_preset("geometry", None)
    ('standard', 'small')

    """
    return preset or ("standard" if name == MAIN else "small")


def study_flags(name: str) -> dict[str, Any]:
    """Settings that go with the name of a study: which part it is.

    Raises:
        ValueError: If there is no such study.
    """
    if known_study(name) == MAIN:
        return {}
    (part,) = (each for each in PART_NAMES if each == name)
    return {"parts": [part], "write_answers": part in _WITH_ANSWERS}
