"""Refusal vectors both ways: from yes/no questions, and from harmful and harmless requests."""

from collections.abc import Sequence

import numpy as np

from lens_personas.activations import Progress, ReadAt
from lens_personas.hooks import Site
from lens_personas.models import DEFAULT_TOKEN_BUDGET, LensModel, Prompt
from lens_personas.personas import Persona
from lens_personas.vectors._caa import (
    AnswerFormat,
    AnswerStrings,
    YesNoItem,
    caa_vector,
    items_from_questions,
)
from lens_personas.vectors._contrast import Contrast, vector_of
from lens_personas.vectors._types import SteeringVector

REFUSAL = "refusal"
FULFILMENT = "fulfilment"


def refusal_vector_from_questions(
    model: LensModel,
    refusal: Persona,
    fulfilment: Persona,
    *,
    layers: Sequence[int],
    seed: int,
    site: Site = Site.RESID_POST,
    answer_format: AnswerFormat = "letters",
    strings: AnswerStrings | None = None,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    progress: Progress | None = None,
) -> SteeringVector:
    """Direction from fulfilling to refusing, by yes/no questions about the model; not normalised.

    "Yes" matches in the questions on refusing and "no" in those on fulfilling, in equal numbers,
    so the direction of saying yes cancels. The paper takes one vector for each kind, in which
    it does not (https://arxiv.org/abs/2406.12094, section 3.2): for those use
    :func:`caa_vector` with the questions of one kind.

    Raises:
        ValueError: If a side has no questions, or the answers cannot be told apart.
    """
    return caa_vector(
        model,
        refusal_items(refusal, fulfilment, np.random.default_rng(seed)),
        layers=layers,
        seed=seed,
        name=REFUSAL,
        to_label=REFUSAL,
        from_label=FULFILMENT,
        site=site,
        answer_format=answer_format,
        strings=strings,
        token_budget=token_budget,
        progress=progress,
    )


def refusal_items(
    refusal: Persona, fulfilment: Persona, rng: np.random.Generator
) -> tuple[YesNoItem, ...]:
    """As many questions of either kind, drawn from the kind that has more; refusal first.

    Raises:
        ValueError: If a side has no questions.
    """
    sides = (
        items_from_questions(refusal, matching="yes"),
        items_from_questions(fulfilment, matching="no"),
    )
    count = min(len(side) for side in sides)
    chosen = [np.sort(rng.permutation(len(side))[:count]) for side in sides]
    return tuple(side[int(row)] for side, rows in zip(sides, chosen, strict=True) for row in rows)


def refusal_vector_from_requests(
    model: LensModel,
    harmful: Sequence[Prompt],
    harmless: Sequence[Prompt],
    *,
    layers: Sequence[int],
    position: int = -1,
    site: Site = Site.RESID_POST,
    normalise: bool = False,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    progress: Progress | None = None,
) -> SteeringVector:
    """Direction from harmless to harmful requests, read after the instruction.

    Directional refusal of https://arxiv.org/abs/2406.11717, which reads ``resid_pre``; its layer
    ``l`` is our ``resid_post`` of layer ``l - 1``.

    Args:
        model: The model.
        harmful: Rendered requests that it refuses.
        harmless: Rendered requests that it answers.
        layers: Blocks, counted from 0.
        position: Offset from the prompt's end, -1 for its last token; it has to lie behind the
            user's text where the template puts tokens there.
        site: Point of the block.
        normalise: Whether every layer's vector is scaled to norm 1.
        token_budget: Most tokens in a batch.
        progress: Called with the number of prompts read and of all.

    Raises:
        ValueError: If a side is empty, or the position lies in the user's text.
    """
    contrast = refusal_request_contrast(harmful, harmless, position=position)
    return vector_of(
        model,
        contrast,
        layers=layers,
        site=site,
        normalise=normalise,
        token_budget=token_budget,
        progress=progress,
    )


def refusal_request_contrast(
    harmful: Sequence[Prompt], harmless: Sequence[Prompt], *, position: int = -1
) -> Contrast:
    """Harmful against harmless requests, read ``position`` tokens from the prompt's end.

    Raises:
        ValueError: If a side is empty.
    """
    return Contrast(
        name=REFUSAL,
        to=tuple(harmful),
        from_=tuple(harmless),
        to_label="harmful requests",
        from_label="harmless requests",
        paired=False,
        method="difference_of_means",
        read_at=_after_instruction([*harmful, *harmless], position),
        seed=None,
    )


def _after_instruction(prompts: Sequence[Prompt], position: int) -> ReadAt:
    # Without a template nothing may follow the user's text: its last token is all there is.
    follows = all(_length(prompt, "post_instruction") for prompt in prompts)
    return ReadAt(span="post_instruction" if follows else "prompt", take=position)


def _length(prompt: Prompt, span: str) -> int:
    start, stop = prompt.spans.get(span, (0, 0))
    return stop - start
