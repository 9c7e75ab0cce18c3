"""The vectors of a study: one for each persona, and refusal both ways."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from analyses._data import StudyData
from analyses.whos_asking import VectorQuality
from lens_personas.activations import ReadAt
from lens_personas.geometry import SplitHalf
from lens_personas.models import LensModel, Prompt
from lens_personas.personas import PersonaTurn
from lens_personas.vectors import (
    PERSONA_SPAN,
    AnswerFormat,
    AnswerStrings,
    Contrast,
    ContrastActivations,
    SteeringVector,
    YesNoItem,
    caa_contrast,
    collect_contrast,
    fit_contrast,
    items_from_questions,
    refusal_items,
    refusal_request_contrast,
    split_half,
    statement_contrast,
)

VectorMethod = Literal["statements", "questions"]
"""What persona vectors are made from."""

StatementRead = Literal["prompt", "statement", "statement_mean"]
"""Where a statement's residual is read."""

_READ_AT: dict[StatementRead, ReadAt] = {
    "prompt": ReadAt(span="prompt", take="last"),
    "statement": ReadAt(span=PERSONA_SPAN, take="last"),
    "statement_mean": ReadAt(span=PERSONA_SPAN, take="mean"),
}

REFUSAL_NAMES = ("refusal (questions)", "refusal (requests)")
"""The refusal vectors: by yes/no questions, and by harmful against harmless requests."""

_SPLITS = 25


@dataclass(frozen=True, kw_only=True)
class FittedVector:
    """A vector and how far its data fix it."""

    vector: SteeringVector
    """The vector, a row a layer."""
    halves: dict[int, SplitHalf]
    """Agreement of two halves of the data, by layer."""

    def quality(self, resid_norms: Float[Tensor, " layer"]) -> VectorQuality:
        """Norms and reliability as a table, beside the residual stream's norms."""
        rows = {
            "layer": self.vector.layers,
            "norm": self.vector.norms.tolist(),
            "resid_norm": resid_norms.tolist(),
            "split_half": [self.halves[layer].corrected for layer in self.vector.layers],
        }
        return VectorQuality(
            name=self.vector.name,
            method=self.vector.method,
            n=_smaller(self.vector.n_to, self.vector.n_from),
            by_layer=pd.DataFrame(rows),
        )


def _smaller(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else min(first, second)


def vector_names(data: StudyData, method: VectorMethod) -> tuple[str, ...]:
    """Names of a study's vectors: every persona and neutral text, and :data:`REFUSAL_NAMES`."""
    nulls = [null for null in data.nulls if method == "statements" or null.questions]
    return (*(text.name for text in (*data.personas, *nulls)), *REFUSAL_NAMES)


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How a study's vectors are fitted."""

    layers: tuple[int, ...]
    """Blocks whose output is read."""
    turn: PersonaTurn
    """Turn that carries the persona."""
    method: VectorMethod
    """What persona vectors are made from."""
    read: StatementRead
    """Where a statement's residual is read."""
    seed: int
    """Seed of every draw."""
    token_budget: int
    """Tokens in a batch, padding included."""


def fit_vector(
    model: LensModel,
    data: StudyData,
    name: str,
    settings: FitSettings,
    *,
    requests: tuple[Sequence[Prompt], Sequence[Prompt]],
) -> FittedVector:
    """One vector of :func:`vector_names`.

    Args:
        model: The model.
        data: Personas, and yes/no questions on refusing.
        name: Whose vector.
        settings: How it is fitted.
        requests: Harmful and harmless prompts; read for refusal by requests alone.

    Raises:
        KeyError: If there is no persona of that name.
        ValueError: If a persona lacks what its vector is made from.
    """
    contrast = contrast_of(model, data, name, settings, requests)
    layers, token_budget = settings.layers, settings.token_budget
    read = collect_contrast(model, contrast, layers=layers, token_budget=token_budget)
    return FittedVector(
        vector=fit_contrast(contrast, read), halves=_halves(contrast, read, layers, settings.seed)
    )


def contrast_of(
    model: LensModel,
    data: StudyData,
    name: str,
    settings: FitSettings,
    requests: tuple[Sequence[Prompt], Sequence[Prompt]],
) -> Contrast:
    """The prompts that a vector is read from; see :func:`fit_vector`.

    Raises:
        KeyError: If there is no persona of that name.
        ValueError: If a persona lacks what its vector is made from.
    """
    data = with_known_answers(model, data)
    return replace(_contrast(model, data, name, settings, requests), name=name)


def _contrast(
    model: LensModel,
    data: StudyData,
    name: str,
    settings: FitSettings,
    requests: tuple[Sequence[Prompt], Sequence[Prompt]],
) -> Contrast:
    by_questions, by_requests = REFUSAL_NAMES
    if name == by_requests:
        return refusal_request_contrast(*requests)
    seed = settings.seed
    if name == by_questions:
        items = refusal_items(data.refusal, data.fulfilment, np.random.default_rng(seed))
        return _caa(model, items, data, seed, labels=("refusal", "fulfilment"))
    persona = data.texts[name]
    if settings.method == "questions":
        return _caa(model, items_from_questions(persona), data, seed, labels=("yes", "no"))
    return statement_contrast(
        model,
        persona,
        others=data.personas,
        seed=seed,
        turn=settings.turn,
        read_at=_READ_AT[settings.read],
        # Many templates ask for a user turn.
        user_turn=data.greeting,
    )


def with_known_answers(model: LensModel, data: StudyData) -> StudyData:
    """The data, with answers to yes/no questions that the vocabulary can tell apart."""
    styles: tuple[tuple[AnswerFormat, AnswerStrings], ...] = (
        (data.answer_format, data.answer_strings),
        ("words", AnswerStrings()),
        ("words", AnswerStrings(yes="yes", no="no")),
    )
    for style, strings in styles:
        pair = strings.letters if style == "letters" else (strings.yes, strings.no)
        first, second = (
            model.tokenizer.encode(strings.answer_prefix + text, add_special_tokens=False)
            for text in pair
        )
        known = model.tokenizer.unk_token_id not in (*first, *second)
        if known and len(first) == len(second) and first[-1:] != second[-1:]:
            return replace(data, answer_format=style, answer_strings=strings)
    return data


def _caa(
    model: LensModel,
    items: Sequence[YesNoItem],
    data: StudyData,
    seed: int,
    *,
    labels: tuple[str, str],
) -> Contrast:
    return caa_contrast(
        model,
        items,
        seed=seed,
        to_label=labels[0],
        from_label=labels[1],
        answer_format=data.answer_format,
        strings=data.answer_strings,
    )


def _halves(
    contrast: Contrast, read: ContrastActivations, layers: tuple[int, ...], seed: int
) -> dict[int, SplitHalf]:
    """Split-half agreement by layer; NaN where a side has too few prompts to be halved."""
    if min(len(contrast.to), len(contrast.from_)) < 2:
        unknown = SplitHalf(mean=np.nan, low=np.nan, high=np.nan, corrected=np.nan)
        return dict.fromkeys(layers, unknown)
    return split_half(
        read.to,
        read.from_,
        generator=torch.Generator().manual_seed(seed),
        paired=contrast.paired,
        n_splits=_SPLITS,
    )
