"""Contrastive activation addition on yes/no questions, read at the answer token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lens_personas.activations import Progress, ReadAt
from lens_personas.hooks import Site
from lens_personas.models import DEFAULT_TOKEN_BUDGET, LensModel, Prompt, render
from lens_personas.personas import Message, Persona
from lens_personas.vectors._contrast import Contrast, vector_of
from lens_personas.vectors._types import SteeringVector

AnswerFormat = Literal["letters", "words"]
"""Whether the model answers with the letter of an option, or with the bare word."""
Answer = Literal["yes", "no"]

ANSWER_TOKEN = ReadAt(span="answer", take="last")
"""Where the residual is read: the teacher-forced answer."""


@dataclass(frozen=True, kw_only=True)
class YesNoItem:
    """A yes/no question."""

    item_id: str
    """Unique identifier in its set."""
    question: str
    """The question, without options."""
    matching: Answer = "yes"
    """The answer that the vector points to."""


@dataclass(frozen=True, kw_only=True)
class AnswerStrings:
    """How options and answers are written."""

    yes: str = "Yes"
    """The word for yes."""
    no: str = "No"
    """The word for no."""
    letters: tuple[str, str] = ("A", "B")
    """Letters of the first and the second option."""
    template: str = (
        "{question} Choices: ({first_letter}) {first}. ({second_letter}) {second}. Answer:"
    )
    """The prompt with options; of no effect for answers in words."""
    answer_prefix: str = ""
    """What stands before the teacher-forced answer, such as a space."""


def items_from_questions(persona: Persona, *, matching: Answer = "yes") -> tuple[YesNoItem, ...]:
    """A persona's questions as items.

    Raises:
        ValueError: If the persona has no questions.
    """
    if not persona.questions:
        raise ValueError(
            f"persona {persona.name!r}: expected yes/no questions, got none; add them, or fit a "
            "vector from its statements"
        )
    return tuple(
        YesNoItem(item_id=f"{persona.name}/{at}", question=question, matching=matching)
        for at, question in enumerate(persona.questions)
    )


def caa_vector(
    model: LensModel,
    items: Sequence[YesNoItem],
    *,
    layers: Sequence[int],
    seed: int,
    name: str = "caa",
    to_label: str = "matching answer",
    from_label: str = "other answer",
    site: Site = Site.RESID_POST,
    answer_format: AnswerFormat = "letters",
    strings: AnswerStrings | None = None,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    progress: Progress | None = None,
) -> SteeringVector:
    """Mean difference of the residual at the matching and at the other answer; not normalised.

    Where all items match "yes" it also holds the direction of saying yes.
    See :func:`caa_contrast` and https://arxiv.org/abs/2406.12094, section 3.2.

    Raises:
        ValueError: If there is no item, or the answers cannot be told apart by one token.
    """
    contrast = caa_contrast(
        model,
        items,
        seed=seed,
        name=name,
        to_label=to_label,
        from_label=from_label,
        answer_format=answer_format,
        strings=strings,
    )
    return vector_of(
        model, contrast, layers=layers, site=site, token_budget=token_budget, progress=progress
    )


def caa_contrast(
    model: LensModel,
    items: Sequence[YesNoItem],
    *,
    seed: int,
    name: str = "caa",
    to_label: str = "matching answer",
    from_label: str = "other answer",
    answer_format: AnswerFormat = "letters",
    strings: AnswerStrings | None = None,
) -> Contrast:
    """Each question with the matching answer teacher-forced, and with the other one.

    With letters, "Yes" is the first option in exactly half of the items (of an odd number,
    in one more or one fewer), separately for items that match "yes" and "no", so neither the
    letter nor its place is part of the vector. The two sides of a pair share their order.

    Raises:
        ValueError: If there is no item, or the answers cannot be told apart by one token.
    """
    if not items:
        raise ValueError("expected at least one yes/no item, got none")
    words = strings or AnswerStrings()
    yes_first = balanced_order(items, np.random.default_rng(seed))
    to, from_ = [], []
    for item, first in zip(items, yes_first, strict=True):
        matching, other = _pair(model, item, first, answer_format, words)
        _check_answers(model, matching, other, answer_format)
        to.append(matching)
        from_.append(other)
    return Contrast(
        name=name,
        to=tuple(to),
        from_=tuple(from_),
        to_label=to_label,
        from_label=from_label,
        paired=True,
        method=f"caa:{answer_format}",
        read_at=ANSWER_TOKEN,
        seed=seed,
    )


def balanced_order(items: Sequence[YesNoItem], rng: np.random.Generator) -> list[bool]:
    """Whether "Yes" comes first, for each item: half and half among items that match alike."""
    order = [False] * len(items)
    for matching in ("yes", "no"):
        rows = [row for row, item in enumerate(items) if item.matching == matching]
        n_first = len(rows) // 2 + (int(rng.integers(2)) if len(rows) % 2 else 0)
        for row in rng.permutation(np.array(rows, dtype=np.int64))[:n_first]:
            order[int(row)] = True
    return order


def _pair(
    model: LensModel,
    item: YesNoItem,
    yes_first: bool,
    answer_format: AnswerFormat,
    strings: AnswerStrings,
) -> tuple[Prompt, Prompt]:
    if answer_format == "words":
        text = item.question
        answers: dict[Answer, str] = {"yes": strings.yes, "no": strings.no}
    else:
        text = _with_options(item.question, yes_first, strings)
        yes, no = strings.letters if yes_first else strings.letters[::-1]
        answers = {"yes": yes, "no": no}
    other: Answer = "no" if item.matching == "yes" else "yes"
    matching, opposed = (
        render(
            model,
            [Message(role="user", content=text)],
            prompt_id=f"{item.item_id}/{answer}",
            answer=strings.answer_prefix + answers[answer],
        )
        for answer in (item.matching, other)
    )
    return matching, opposed


def _with_options(question: str, yes_first: bool, strings: AnswerStrings) -> str:
    first, second = (strings.yes, strings.no) if yes_first else (strings.no, strings.yes)
    return strings.template.format(
        question=question,
        first_letter=strings.letters[0],
        second_letter=strings.letters[1],
        first=first,
        second=second,
    )


def _check_answers(
    model: LensModel, matching: Prompt, other: Prompt, answer_format: AnswerFormat
) -> None:
    mine, theirs = (prompt.ids[prompt.prompt_length :] for prompt in (matching, other))
    unknown = model.tokenizer.unk_token_id
    alike = len(mine) == len(theirs) and mine[-1:] != theirs[-1:]
    if not alike or unknown in (*mine, *theirs):
        raise ValueError(
            f"expected two answers of equal length in tokens, known to the model and different in "
            f"the last token, got ids {list(mine)} and {list(theirs)} for answer_format="
            f"{answer_format!r}; use the other format or other AnswerStrings"
        )
