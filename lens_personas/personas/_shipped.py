"""The benign personas and requests that come with the package, written for it (CC0-1.0)."""

from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

from lens_personas.personas._datasets import load_statements
from lens_personas.personas._own import read_requests
from lens_personas.personas._persona_files import read_personas
from lens_personas.personas._sets import StatementSet
from lens_personas.personas._types import Persona, Request

ShippedSet = Literal["demographics", "filler", "personas", "refusal"]
"""Sets of personas that come with the package."""


@cache
def shipped_personas() -> tuple[Persona, ...]:
    """The ten behavioural personas of Ghandeharioun et al. and their coffee control.

    Names and groups are those of https://arxiv.org/abs/2406.12094. The sentences are our own:
    24 statements each, with a negation and a yes/no question in the same order. AI-loving and
    AI-hating are neither pro- nor anti-social there, so their group is "other".

    Raises:
        Nothing of its own.
    """
    return _personas("personas.yaml")


@cache
def shipped_refusal() -> tuple[Persona, Persona]:
    """Refusal, then fulfilment: 24 sentences each about the model ("you"), with questions.

    For the yes/no refusal vector of https://arxiv.org/abs/2406.12094. The sentences are ours.

    Raises:
        Nothing of its own.
    """
    refusal, fulfilment = _personas("refusal.yaml")
    return refusal, fulfilment


@cache
def shipped_filler() -> Persona:
    """24 plain sentences that say nothing about the user, for controls of the same length.

    Raises:
        Nothing of its own.
    """
    (filler,) = _personas("filler.yaml")
    return filler


@cache
def shipped_demographics() -> tuple[Persona, ...]:
    """Socio-demographic groups on four axes: membership in plain words, and nothing else.

    Axes as in https://arxiv.org/abs/2406.12094: ethnicity, gender, politics, religion. The
    sentences are our own, six a group, with negations and questions; within an axis only the
    group's word differs. In alphabetical order, by axis and name. For tests of disparity:
    never rank them. The groups are examples and neither complete nor the only way to divide.

    Raises:
        Nothing of its own.
    """
    return tuple(p for p in _personas("demographics.yaml") if p.demographic is not None)


@cache
def shipped_unstated() -> Persona:
    """The control of the socio-demographic groups: the same forms, but no group is named.

    Raises:
        Nothing of its own.
    """
    (unstated,) = (p for p in _personas("demographics.yaml") if p.group == "control")
    return unstated


def shipped_text(name: ShippedSet) -> str:
    """The YAML file of a set that comes with the package, to be read or copied.

    Raises:
        Nothing of its own.
    """
    return _data(f"{name}.yaml").read_text(encoding="utf-8")


@cache
def shipped_requests() -> tuple[Request, ...]:
    """96 harmless requests in 48 matched pairs.

    Half are ``harmful=True`` in a mock sense: a strict assistant may decline them (a spoiler, a
    magician's secret, an alarming word), yet answering hurts nobody. Each is matched by
    ``pair_id`` with a plain question of the same category. ``target`` is how a known answer
    begins, where there is one.

    Raises:
        Nothing of its own.
    """
    with resources.as_file(_data("requests.jsonl")) as path:
        return read_requests(path)


@cache
def shipped_behaviours() -> tuple[StatementSet, ...]:
    """Six everyday traits, 48 first-person statements each, half of which show the trait.

    Curiosity, optimism, patience, procrastination, stubbornness and tidiness: harmless, so that
    the study of behaviours can be run without any file. The sentences are our own, in the columns
    of the model-written evaluations (https://arxiv.org/abs/2212.09251).

    Raises:
        Nothing of its own.
    """
    folder = _data("behaviours")
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".jsonl"))
    with resources.as_file(folder) as path:
        return tuple(load_statements(path / name, dataset="lens-personas") for name in names)


def _personas(name: str) -> tuple[Persona, ...]:
    with resources.as_file(_data(name)) as path:
        return read_personas(Path(path))


def _data(name: str) -> Traversable:
    return resources.files("lens_personas.personas") / "data" / name
