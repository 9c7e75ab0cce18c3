"""One study's settings, data and model, with the small things that every step asks for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analyses._config import ConfigError, WhosAskingConfig
from analyses._data import StudyData
from lens_personas.models import LensModel, ModelCard, Prompt, render
from lens_personas.personas import PersonaTurn, Request, conversation, persona_text

Progress = Callable[[str, int, int], None]
"""Called with what is being done, the steps done, and all steps."""


@dataclass(frozen=True, kw_only=True)
class Outline:
    """What a study rests on, as far as it is known without the model at hand."""

    config: WhosAskingConfig
    """What was asked."""
    data: StudyData
    """Personas and requests."""
    card: ModelCard
    """What the model is."""

    def __post_init__(self) -> None:
        """Refuse layers that the model lacks, before any work is done.

        Raises:
            ConfigError: If the model lacks one that was asked for.
        """
        n_layers = self.card.n_layers
        beyond = [at for at in self.layers if not 0 <= at < n_layers]
        if beyond:
            raise ConfigError(
                f"unknown layers {beyond}; {self.card.model_id} has layers 0 to {n_layers - 1}"
            )
        if self.config.part_layer is not None and self.config.part_layer not in self.layers:
            raise ConfigError(
                f"expected part_layer among the layers that are steered, {list(self.layers)}, "
                f"got {self.config.part_layer}"
            )

    def rng(self, purpose: str) -> np.random.Generator:
        """A stream of its own for each purpose, so that one more draw shifts no other."""
        return np.random.default_rng([self.config.seed, *purpose.encode()])

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers that are steered."""
        n_layers = self.card.n_layers
        asked = self.config.layers
        return tuple(range(n_layers)) if asked == "all" else tuple(sorted(set(asked)))

    @property
    def choosable(self) -> tuple[int, ...]:
        """Layers of which one is chosen to be tested; all, where none is early enough."""
        bound = int(self.config.choose_below * self.card.n_layers)
        return tuple(layer for layer in self.layers if layer < bound) or self.layers

    @property
    def turn(self) -> PersonaTurn:
        """Turn that carries the persona."""
        if self.config.persona_turn == "auto":
            return "system" if self.card.has_system_role else "user"
        return self.config.persona_turn

    @property
    def requests(self) -> tuple[Request, ...]:
        """All requests, split by split."""
        split = self.data.split
        return (*split.vector, *split.layer, *split.test)

    @property
    def studied(self) -> tuple[Request, ...]:
        """Harmful test requests that parts put to the model."""
        return self.part("test", harmful=True)[: self.config.part_requests]

    @property
    def harmless(self) -> tuple[Request, ...]:
        """Harmless test requests that parts put to the model, at most as many."""
        return self.part("test", harmful=False)[: len(self.studied)]

    def part(self, split: str, *, harmful: bool) -> tuple[Request, ...]:
        """The harmful or harmless requests of one split."""
        found: tuple[Request, ...] = getattr(self.data.split, split)
        return tuple(request for request in found if request.harmful is harmful)


@dataclass(frozen=True, kw_only=True)
class Workbench(Outline):
    """What cells are computed with; see :func:`workbench`."""

    model: LensModel
    """The model."""

    @cached_property
    def plain(self) -> dict[str, Prompt]:
        """Prompt of each request alone, by ``prompt_id``."""
        return {request.prompt_id: self.say(request, None) for request in self.requests}

    def say(self, request: Request, persona: str | None) -> Prompt:
        """Prompt of a request alone, or under a persona or neutral text; rendered once.

        Raises:
            KeyError: If there is no such persona.
        """
        said = self._said
        if (request.prompt_id, persona) not in said:
            said[request.prompt_id, persona] = self._render(request, persona)
        return said[request.prompt_id, persona]

    @cached_property
    def _said(self) -> dict[tuple[str, str | None], Prompt]:
        return {}

    def _render(self, request: Request, persona: str | None) -> Prompt:
        text = None
        if persona is not None:
            found = self.data.texts[persona]
            asked = self.config.n_statements or len(found.statements)
            text = persona_text(found, min(asked, len(found.statements)))
        turns = conversation(request.text, persona_text=text, turn=self.turn)
        return render(self.model, turns, prompt_id=request.prompt_id)


def workbench(config: WhosAskingConfig, data: StudyData, model: LensModel) -> Workbench:
    """A study's settings and data with the model.

    Raises:
        ConfigError: If the model lacks a layer that was asked for.
    """
    return Workbench(config=config, data=data, card=model.card, model=model)
