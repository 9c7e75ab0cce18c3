"""A study of two models with one of them at hand at a time."""

import gc
from collections.abc import Mapping

from analyses._cells import Cell
from analyses._contents import Contents
from analyses._pair_config import PairConfig
from analyses._pair_data import PairTexts
from analyses._pair_evaluate import evaluate_pair
from analyses._shards import Content
from lens_personas.models import LensModel, ModelCard, load_model


class TwoModels:
    """Holds the model of one side until a cell of the other side is asked for."""

    def __init__(
        self,
        config: PairConfig,
        texts: PairTexts,
        models: Mapping[str, LensModel] | None = None,
    ) -> None:
        """Nothing is loaded yet.

        Args:
            config: What is asked.
            texts: The behaviours.
            models: Both models by side; None loads those the settings name.
        """
        self._config = config
        self._texts = texts
        self._given = models
        self._held: tuple[str, LensModel] | None = None
        self._cards: dict[str, ModelCard] = {}

    def card(self, name: str) -> ModelCard:
        """Card of the model on that side.

        Raises:
            ModelLoadError: If it cannot be loaded.
        """
        if name not in self._cards:
            self._cards[name] = self.model(name).card
        return self._cards[name]

    def model(self, side: str) -> LensModel:
        """The model on that side, loaded where it is not at hand.

        Raises:
            ModelLoadError: If it cannot be loaded.
        """
        if self._given is not None:
            return self._given[side]
        if self._held is None or self._held[0] != side:
            # Let go before the other is loaded: two may not fit.
            self._held = None
            gc.collect()
            self._held = (side, self._load(side))
        return self._held[1]

    def evaluate(self, cell: Cell, inputs: Contents) -> Content:
        """What the cell computes; it needs no other.

        Raises:
            ModelLoadError: If the model of its side cannot be loaded.
            ValueError: If it cannot be computed.
        """
        model = self.model(cell.spec["side"])
        return evaluate_pair(self._config, self._texts, model, cell.spec)

    def _load(self, side: str) -> LensModel:
        config = self._config
        return load_model(
            config.models[side],
            dtype=config.dtype,
            device=config.device,
            revision=config.base_revision if side == "base" else config.tuned_revision,
            backend=config.backend,
            device_map=config.device_map,
        )
