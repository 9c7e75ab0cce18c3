"""The pair under test: its requests, its vectors, and the sides its personas take."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from analyses._organism_probe import ask, requests_of
from lens_personas.activations import ReadAt, residual_norms
from lens_personas.models import LensModel, Prompt
from lens_personas.models.organism import World, world_personas
from lens_personas.vectors import refusal_vector_from_requests, statement_vector

WHOLE_PROMPT: Final = ReadAt(span="prompt", take="mean")
"""Mean over every token but the first: of a statement alone, with the tags around it."""
SHARE: Final = 0.75
"""Dose of persona vectors, in mean residual norms."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The pair under test with what most measurements share."""

    base: LensModel
    """Base stage."""
    chat: LensModel
    """Chat stage."""
    world: World
    """What both were taught."""
    asked: dict[str, list[Prompt]]
    """Requests alone with their true answers, by ``tuned``, ``held_out`` and ``ordinary``."""
    valence: Float[np.ndarray, " persona"]
    """Valence of each persona."""
    held_out: Bool[np.ndarray, " persona"]
    """Whether safety tuning never saw it."""

    @property
    def control(self) -> Bool[np.ndarray, " persona"]:
        """Which persona is the control."""
        return np.array([a.group == "control" for a in self.world.attributes])

    @property
    def layers(self) -> range:
        """All blocks."""
        return range(self.chat.card.n_layers)


@dataclass(frozen=True, kw_only=True)
class Directions:
    """Vectors of the chat model at every layer."""

    personas: Float[Tensor, "persona layer d_model"]
    """Request-free vector of each persona."""
    refusal: Float[Tensor, "layer d_model"]
    """From ordinary to forbidden (tuned) requests, at the last prompt token."""
    norms: Float[Tensor, " layer"]
    """Mean residual norm of forbidden requests: the unit of doses."""


def subject_of(base: LensModel, chat: LensModel, world: World) -> Subject:
    """The pair with every request of its world.

    Raises:
        ValueError: If a template drops a request's text.
    """
    asked = {
        kind: [
            ask(chat, request.text, answer=str(request.target))
            for request in requests_of(world, kind)
        ]
        for kind in ("tuned", "held_out", "ordinary")
    }
    return Subject(
        base=base,
        chat=chat,
        world=world,
        asked=asked,
        valence=np.array([a.valence for a in world.attributes]),
        held_out=np.array([a.held_out for a in world.attributes]),
    )


def directions_of(subject: Subject) -> Directions:
    """Persona vectors and the refusal direction of the chat model.

    Raises:
        ValueError: If a vector cannot be read.
    """
    chat, layers = subject.chat, subject.layers
    personas = [
        statement_vector(chat, persona, layers=layers, read_at=WHOLE_PROMPT).vectors
        for persona in world_personas(subject.world)
    ]
    forbidden, ordinary = subject.asked["tuned"], subject.asked["ordinary"]
    refusal = refusal_vector_from_requests(chat, forbidden, ordinary, layers=layers)
    return Directions(
        personas=torch.stack(personas),
        refusal=refusal.vectors,
        norms=residual_norms(chat, forbidden, layers=layers),
    )


def side_of(
    vectors: Float[Tensor, "persona layer d_model"], chosen: Bool[np.ndarray, " persona"]
) -> Float[Tensor, "layer d_model"]:
    """Mean vector of the chosen personas.

    Raises:
        Nothing of its own.
    """
    return vectors[torch.from_numpy(chosen)].mean(dim=0)
