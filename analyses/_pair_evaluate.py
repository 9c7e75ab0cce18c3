"""What each step of a study of two models computes, from a model and a behaviour."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from analyses._divergence_texts import DivergencePlan
from analyses._pair_cells import scores_table
from analyses._pair_cells_divergence import beta_table
from analyses._pair_cells_internal import internal_table
from analyses._pair_cells_steering import (
    VectorSource,
    behaviour_vector,
    length_table,
    steering_edits,
    vector_table,
)
from analyses._pair_config import PairConfig
from analyses._pair_data import PairTexts
from analyses._pair_plan import PairStep, style_for
from lens_personas.hooks import Edit
from lens_personas.models import LensModel
from lens_personas.personas import AskingStyle, Behaviour, CountTokens
from lens_personas.readouts import NoYesNoTokens, ask_statements, token_counter, yes_no_tokens


@dataclass(frozen=True, kw_only=True)
class PairBench:
    """One side's model with one behaviour, and the small things that every step asks for."""

    config: PairConfig
    """What was asked."""
    texts: PairTexts
    """The behaviours."""
    model: LensModel
    """The model."""
    side: str
    """``base`` or ``tuned``."""
    name: str
    """Name of the behaviour."""
    words: bool
    """Whether the length of a text is counted in words, not in the model's tokens."""

    @property
    def behaviour(self) -> Behaviour:
        """The behaviour, with the statements that prompts and vectors are put to."""
        return self.texts.behaviour(self.name)

    @property
    def style(self) -> AskingStyle:
        """How statements are put to the model."""
        return style_for(self.config, self.model.card)

    @property
    def count(self) -> CountTokens:
        """Counts the length of a text, in the same way for both models."""
        return _words if self.words else token_counter(self.model)

    def rng(self, purpose: str) -> np.random.Generator:
        """A stream of its own for each purpose and behaviour, the same on both sides."""
        return np.random.default_rng([self.config.seed, *f"{purpose} {self.name}".encode()])


def evaluate_pair(
    config: PairConfig, texts: PairTexts, model: LensModel, spec: Mapping[str, Any]
) -> pd.DataFrame:
    """What a cell computes, from its spec.

    Raises:
        ValueError: If it cannot be computed.
    """
    bench = PairBench(
        config=config,
        texts=texts,
        model=model,
        side=spec["side"],
        name=spec["name"],
        words=spec["words"],
    )
    return _EVALUATE[cast("PairStep", spec["step"])](bench)


def _scores(bench: PairBench) -> pd.DataFrame:
    return scores_table(
        bench.model,
        bench.behaviour,
        bench.texts.alone(bench.name),
        side=bench.side,
        style=bench.style,
        token_budget=bench.config.token_budget,
    )


def _states(bench: PairBench) -> pd.DataFrame:
    config = bench.config
    items = bench.texts.alone(bench.name)
    return internal_table(
        bench.model,
        ask_statements(bench.model, items, asking=bench.behaviour.asking, style=bench.style),
        side=bench.side,
        behaviour=bench.name,
        rng=bench.rng("states"),
        layers=None if config.layers == "all" else sorted(set(config.layers)),
        n_folds=config.folds,
        n_perm=config.n_perm,
        n_boot=config.n_boot,
        level=1 - config.alpha,
        token_budget=config.token_budget,
    )


def _sentences(bench: PairBench) -> pd.DataFrame:
    config = bench.config
    plan = DivergencePlan(
        lengths=tuple(sorted(set(config.prefix_lengths))),
        n_prefixes=config.n_prefixes,
        n_samples=config.n_samples,
        n_tokens=config.continuation_tokens,
        tune_steps=config.tune_steps if "tuned_on" in config.references else 0,
    )
    return beta_table(
        bench.model,
        bench.behaviour,
        side=bench.side,
        seed=config.seed,
        plan=plan,
        vector=_vector(bench) if "vector" in config.references else (),
        count_tokens=bench.count,
        plain=bench.style == "plain",
    )


def _vector(bench: PairBench) -> tuple[Edit, ...]:
    """Edits that steer towards the misaligned answer, at the middle layer and the middle dose."""
    layer = bench.model.card.n_layers // 2
    source: VectorSource = "sentences" if _lacks_answers(bench) else bench.config.vector_from
    vector = behaviour_vector(
        bench.model,
        bench.behaviour,
        layers=[layer],
        source=source,
        style=bench.style,
        token_budget=bench.config.token_budget,
    )
    doses = sorted(bench.config.doses)
    return steering_edits(
        bench.model,
        vector.vectors[0],
        layer=layer,
        resid_norm=float(vector.resid_norms[0]),
        dose=doses[len(doses) // 2],
    )


def _lacks_answers(bench: PairBench) -> bool:
    asked = ask_statements(
        bench.model,
        bench.behaviour.scored[:1],
        asking=bench.behaviour.asking,
        style=bench.style,
    )
    return isinstance(yes_no_tokens(bench.model, [asked[0].prompt]), NoYesNoTokens)


def _prompts(bench: PairBench) -> pd.DataFrame:
    config = bench.config
    return length_table(
        bench.model,
        bench.behaviour,
        side=bench.side,
        lengths=config.lengths,
        seed=config.seed,
        assemblies=config.assemblies,
        count_tokens=bench.count,
        style=bench.style,
        token_budget=config.token_budget,
    )


def _vectors(bench: PairBench) -> pd.DataFrame:
    config = bench.config
    return vector_table(
        bench.model,
        bench.behaviour,
        side=bench.side,
        layers=steered_layers(config, bench.model.card.n_layers),
        doses=config.doses,
        seed=config.seed,
        n_random=config.n_random,
        source=config.vector_from,
        style=bench.style,
        token_budget=config.token_budget,
    )


def steered_layers(config: PairConfig, n_layers: int) -> tuple[int, ...]:
    """Layers that are steered: those asked for, or a quarter, half and three quarters deep."""
    if config.steered_layers is not None:
        return tuple(sorted(set(config.steered_layers)))
    return tuple(sorted({quarter * n_layers // 4 for quarter in (1, 2, 3)}))


_EVALUATE: Mapping[PairStep, Callable[[PairBench], pd.DataFrame]] = {
    "scores": _scores,
    "states": _states,
    "sentences": _sentences,
    "prompts": _prompts,
    "vectors": _vectors,
}


def _words(text: str) -> int:
    return len(text.split())
