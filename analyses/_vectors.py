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
from lens_personas.personas import Persona, PersonaTurn
from lens_personas.vectors import (
    PERSONA_SPAN,
    AnswerFormat,
    AnswerStrings,
    Contrast,
    ContrastActivations,
    SteeringVector,
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


def fit_vectors(
    model: LensModel,
    data: StudyData,
    *,
    layers: tuple[int, ...],
    turn: PersonaTurn,
    method: VectorMethod,
    read: StatementRead,
    seed: int,
    harmful: Sequence[Prompt],
    harmless: Sequence[Prompt],
    token_budget: int,
) -> dict[str, FittedVector]:
    """Vectors by name: every persona and neutral text, and :data:`REFUSAL_NAMES`.

    Raises:
        ValueError: If a persona lacks what its vector is made from.
    """
    rng = np.random.default_rng(seed)
    data = _with_known_answers(model, data)
    contrasts = {
        persona.name: _caa(model, persona, data, seed)
        if method == "questions"
        else statement_contrast(
            model,
            persona,
            others=data.personas,
            seed=seed,
            turn=turn,
            read_at=_READ_AT[read],
            # Many templates ask for a user turn.
            user_turn=data.greeting,
        )
        for persona in (*data.personas, *_with_vectors(data, method))
    }
    by_questions, by_requests = REFUSAL_NAMES
    contrasts[by_questions] = caa_contrast(
        model,
        refusal_items(data.refusal, data.fulfilment, rng),
        seed=seed,
        to_label="refusal",
        from_label="fulfilment",
        answer_format=data.answer_format,
        strings=data.answer_strings,
    )
    contrasts[by_requests] = refusal_request_contrast(harmful, harmless)
    return {
        name: _fit(model, replace(contrast, name=name), layers, seed, token_budget)
        for name, contrast in contrasts.items()
    }


def _with_known_answers(model: LensModel, data: StudyData) -> StudyData:
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


def _with_vectors(data: StudyData, method: VectorMethod) -> tuple[Persona, ...]:
    """Neutral texts that have what a vector is made from."""
    return tuple(null for null in data.nulls if method == "statements" or null.questions)


def _caa(model: LensModel, persona: Persona, data: StudyData, seed: int) -> Contrast:
    return caa_contrast(
        model,
        items_from_questions(persona),
        seed=seed,
        to_label="yes",
        from_label="no",
        answer_format=data.answer_format,
        strings=data.answer_strings,
    )


def _fit(
    model: LensModel, contrast: Contrast, layers: tuple[int, ...], seed: int, token_budget: int
) -> FittedVector:
    read = collect_contrast(model, contrast, layers=layers, token_budget=token_budget)
    return FittedVector(
        vector=fit_contrast(contrast, read), halves=_halves(contrast, read, layers, seed)
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
