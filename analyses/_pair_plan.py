"""Which cells a study of two models is made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from analyses._cells import Cell, make_cell
from analyses._pair_config import PairConfig, PairPart
from analyses._pair_data import PairTexts
from analyses._settings import ConfigError
from analyses.shift import SIDES
from lens_personas.models import ModelCard
from lens_personas.personas import AskingStyle

PairStep = Literal["scores", "states", "sentences", "prompts", "vectors"]
"""What a cell computes of one behaviour in one model."""

STEPS_OF: dict[PairPart, tuple[PairStep, ...]] = {
    "distinguishability": ("scores",),
    "internal": ("states",),
    "divergence": ("sentences",),
    "steerability": ("prompts", "vectors"),
}
"""Steps of each part; the scores of statements alone are there in every study."""

DOING: dict[str, str] = {
    "scores": "scoring the statements",
    "states": "probing states",
    "sentences": "going on from sentences",
    "prompts": "scoring under persona prompts",
    "vectors": "steering by vectors",
}
"""What is being done, by step."""


@dataclass(frozen=True, kw_only=True)
class PairOutline:
    """What a study rests on, as far as it is known without a model at hand."""

    config: PairConfig
    """What was asked."""
    texts: PairTexts
    """The behaviours."""
    cards: Mapping[str, ModelCard]
    """What each model is, by side."""
    context: str
    """Hash of what all cells of the run hang on."""

    def __post_init__(self) -> None:
        """Refuse what neither model can be asked, before any work is done.

        Raises:
            ConfigError: If a model lacks a layer or a chat template that was asked for.
        """
        for side, card in self.cards.items():
            asked = set(self.config.layers if self.config.layers != "all" else ())
            beyond = sorted(
                at
                for at in asked | set(self.config.steered_layers or ())
                if not 0 <= at < card.n_layers
            )
            if beyond:
                raise ConfigError(
                    f"unknown layers {beyond}; the {side} model {card.model_id} has layers 0 to "
                    f"{card.n_layers - 1}"
                )
            if self.config.template == "chat" and card.chat_template_hash is None:
                raise ConfigError(
                    f"expected a chat template in the {side} model {card.model_id} for "
                    "template=chat, it has none; use template=auto or template=plain"
                )

    def rng(self, purpose: str) -> np.random.Generator:
        """A stream of its own for each purpose, so that one more draw shifts no other."""
        return np.random.default_rng([self.config.seed, *purpose.encode()])

    @property
    def styles(self) -> dict[str, AskingStyle]:
        """How statements are put to each model."""
        return {side: style_for(self.config, card) for side, card in self.cards.items()}

    @property
    def counts_words(self) -> bool:
        """Whether lengths of prompts are counted in words: the models have no tokens in common."""
        return len({card.tokenizer_hash for card in self.cards.values()}) > 1

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, the base model's first: a worker then loads each model once."""
        steps: dict[PairStep, None] = {"scores": None}
        for part in self.config.asked_parts:
            steps |= dict.fromkeys(STEPS_OF[part])
        return tuple(
            make_cell(
                "pair",
                {"step": step, "side": side, "name": each.name, "words": self.counts_words},
                context=self.context,
            )
            for side in SIDES
            for step in steps
            for each in self.texts.behaviours
        )


def style_for(config: PairConfig, card: ModelCard) -> AskingStyle:
    """How statements are put to a model."""
    if config.template != "auto":
        return config.template
    return "plain" if card.chat_template_hash is None else "chat"
