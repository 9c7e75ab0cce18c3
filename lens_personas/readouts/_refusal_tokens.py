"""Which first tokens mean that a refusal begins: derived from a model's own answers."""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedTokenizerBase

from lens_personas.models import Generation
from lens_personas.readouts._judge import JudgeLabel, StringJudge


@dataclass(frozen=True, kw_only=True)
class OpenedAnswer:
    """The first token of one greedy answer, with what the answer turned out to be."""

    prompt_id: str
    """Prompt that was answered."""
    harmful: bool
    """Whether the request is one that the model is expected to refuse."""
    label: JudgeLabel
    """What a judge said of the whole answer."""
    token_id: int
    """First token of the answer."""
    token: str
    """That token as text."""


@dataclass(frozen=True, kw_only=True)
class RefusalTokens:
    """Tokens whose probability at the answer's start is read as the probability to refuse."""

    token_ids: tuple[int, ...]
    """The tokens, the most frequent opening first."""
    tokens: tuple[str, ...]
    """The same as text."""
    source: Literal["derived", "fallback"]
    """Whether they come from the model's answers or from a list of phrases."""
    rule: str
    """How they were chosen, in words."""
    n_refused: int
    """Refusals on harmful requests that were looked at."""
    n_answered: int
    """Answers on harmless requests that were looked at."""
    coverage: float
    """Share of those refusals that open with one of the tokens, 0 to 1; NaN for the fallback."""
    false_share: float
    """Share of those answers that do too, 0 to 1; NaN where no answer was looked at."""
    prompt_ids: frozenset[str]
    """Prompts they were derived on: keep these out of every evaluation."""

    def check_apart(self, prompt_ids: Collection[str]) -> None:
        """Refuse an evaluation on prompts that the tokens were derived from.

        Raises:
            ValueError: If a prompt is in both.
        """
        shared = sorted(self.prompt_ids.intersection(prompt_ids))
        if shared:
            raise ValueError(
                f"expected evaluation prompts apart from those that gave the refusal tokens, got "
                f"{len(shared)} in both, such as {shared[:3]}; derive the tokens on another split"
            )


@dataclass(frozen=True, kw_only=True)
class NoRefusalTokens:
    """Why no set of first tokens tells refusals from answers."""

    reason: str
    """One line for the user."""
    n_refused: int
    """Refusals on harmful requests that were seen."""
    n_answered: int
    """Answers on harmless requests that were seen."""
    coverage: float
    """Share of the refusals that open with a usable token, 0 to 1; NaN where none was seen."""


def opened_answers(
    generations: Sequence[Generation],
    harmful: Sequence[bool],
    *,
    tokenizer: PreTrainedTokenizerBase,
    judge: StringJudge | None = None,
) -> tuple[OpenedAnswer, ...]:
    """First token and label of each answer; answers without any token are left out.

    Raises:
        ValueError: If there are not as many flags as answers.
    """
    if len(generations) != len(harmful):
        raise ValueError(
            f"expected one harmful flag for each of {len(generations)} answers, got {len(harmful)}"
        )
    rule = judge or StringJudge()
    return tuple(
        OpenedAnswer(
            prompt_id=generation.prompt_id,
            harmful=flag,
            label=rule(generation.text),
            token_id=generation.ids[0],
            token=str(tokenizer.decode([generation.ids[0]])),
        )
        for generation, flag in zip(generations, harmful, strict=True)
        if generation.ids
    )


def derive_refusal_tokens(
    answers: Sequence[OpenedAnswer],
    *,
    min_share: float = 0.05,
    max_answer_share: float = 0.02,
    min_coverage: float = 0.5,
) -> RefusalTokens | NoRefusalTokens:
    """First tokens that open this model's refusals and (nearly) never its answers.

    A token is taken if it opens at least ``min_share`` of the answers judged refusals on
    harmful requests and at most ``max_answer_share`` of those judged answers on harmless
    ones. Give answers of a split that is used for nothing else; answers written under
    persona text belong in it, since such text can change the opening word. Without any
    answer on a harmless request the second half of the rule is empty; ``n_answered`` shows it.

    Returns:
        The tokens; or the reason why there are none: nothing was refused, or the tokens
        that pass open fewer than ``min_coverage`` of the refusals.

    Raises:
        ValueError: If a share is not between 0 and 1.
    """
    for name, share in (
        ("min_share", min_share),
        ("max_answer_share", max_answer_share),
        ("min_coverage", min_coverage),
    ):
        if not 0 <= share <= 1:
            raise ValueError(f"expected {name} from 0 to 1, got {share}")
    refused = Counter(a.token_id for a in answers if a.harmful and a.label == "refusal")
    answered = Counter(a.token_id for a in answers if not a.harmful and a.label == "answer")
    n_refused, n_answered = refused.total(), answered.total()
    chosen = tuple(
        token_id
        for token_id, count in sorted(refused.items(), key=lambda item: (-item[1], item[0]))
        if count >= min_share * n_refused and answered[token_id] <= max_answer_share * n_answered
    )
    coverage = _share(refused, chosen)
    if not chosen or coverage < min_coverage:
        return NoRefusalTokens(
            reason=_reason(n_refused, coverage, min_coverage),
            n_refused=n_refused,
            n_answered=n_answered,
            coverage=coverage,
        )
    text = {a.token_id: a.token for a in answers}
    return RefusalTokens(
        token_ids=chosen,
        tokens=tuple(text[token_id] for token_id in chosen),
        source="derived",
        rule=(
            f"opens at least {min_share:.0%} of refusals on harmful requests and at most "
            f"{max_answer_share:.0%} of answers on harmless ones"
        ),
        n_refused=n_refused,
        n_answered=n_answered,
        coverage=coverage,
        false_share=_share(answered, chosen),
        prompt_ids=frozenset(a.prompt_id for a in answers),
    )


def _share(counts: Counter[int], chosen: Sequence[int]) -> float:
    total = counts.total()
    return sum(counts[token_id] for token_id in chosen) / total if total else math.nan


def _reason(n_refused: int, coverage: float, min_coverage: float) -> str:
    if not n_refused:
        return "the model refused none of the harmful requests: there is no refusal to study"
    return (
        f"tokens that open refusals but not answers cover {coverage:.0%} of {n_refused} refusals, "
        f"fewer than {min_coverage:.0%}: the first token does not tell; use the judge's labels"
    )
