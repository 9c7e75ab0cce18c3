"""The benign personas and requests that come with the package, written for it (CC0-1.0)."""

from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from lens_personas.personas._own import read_personas, read_requests
from lens_personas.personas._types import Persona, Request


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


def _personas(name: str) -> tuple[Persona, ...]:
    with resources.as_file(_data(name)) as path:
        return read_personas(Path(path))


def _data(name: str) -> Traversable:
    return resources.files("lens_personas.personas") / "data" / name
