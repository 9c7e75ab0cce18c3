"""The studies by name, and what a name changes in the settings."""

import difflib
from collections.abc import Mapping
from typing import Any

from analyses._part_names import PART_NAMES, PART_QUESTIONS, PartName

MAIN = "whos-asking"
"""The main job."""

PAIRS: dict[str, str] = {
    "distinguishability": "Base against tuned: does it tell what is aligned from what is not?",
    "steerability": "Base against tuned: how far do words and vectors steer the answers?",
}
"""Question of each study of two models."""

STUDIES: dict[str, str] = {
    MAIN: "Do personas move refusal, as a prompt and as a vector, and why?",
    **{str(name): question for name, question in PART_QUESTIONS.items()},
    **PAIRS,
}
"""Question of each study: the main job, each of its parts alone, and those of two models."""

ONE_MODEL = ("model", "requests", "personas", "persona_turn")
"""Flags of the studies of one model."""

TWO_MODELS = ("base", "tuned", "statements", "limit")
"""Flags of the studies of two models."""

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
    return preset or ("standard" if name == MAIN or name in PAIRS else "small")


def study_flags(name: str) -> dict[str, Any]:
    """Settings that go with the name of a study: which part it is, or which of two models' studies.

    Raises:
        ValueError: If there is no such study.
    """
    if known_study(name) == MAIN:
        return {}
    if name in PAIRS:
        return {"study": name}
    (part,) = (each for each in PART_NAMES if each == name)
    return {"parts": [part], "write_answers": part in _WITH_ANSWERS}


def fitting_flags(name: str, flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that were given, where they are of that study.

    Raises:
        ValueError: If one belongs to a study of another number of models.
    """
    others, why = (
        (ONE_MODEL, "asks two models: give --base and --tuned, and --statements for your own files")
        if name in PAIRS
        else (TWO_MODELS, "asks one model: give --model, or run one of " + ", ".join(PAIRS))
    )
    given = {key: value for key, value in flags.items() if value is not None}
    wrong = [f"--{key.replace('_', '-')}" for key in others if key in given]
    if wrong:
        raise ValueError(f"unexpected {', '.join(wrong)}: the study {name!r} {why}")
    return given
