"""From a model to answers, the tokens that open a refusal, and vectors."""

from collections.abc import Mapping, Sequence

from analyses._vectors import FitSettings, FittedVector, contrast_of, fit_vector
from analyses._workbench import Workbench
from lens_personas.models import Generation, Prompt, generate
from lens_personas.personas import Request
from lens_personas.readouts import (
    NoRefusalTokens,
    RefusalTokens,
    StringJudge,
    derive_refusal_tokens,
    fallback_refusal_tokens,
    opened_answers,
)
from lens_personas.vectors import Contrast


def answer(work: Workbench, requests: Sequence[Request]) -> tuple[Generation, ...]:
    """Greedy answer to each request alone.

    Raises:
        ValueError: If a request and its answer do not fit the model's context.
    """
    return generate(
        work.model,
        [work.plain[request.prompt_id] for request in requests],
        max_new_tokens=work.config.max_new_tokens,
        token_budget=work.config.token_budget,
    )


def judged(answers: Mapping[str, Generation]) -> dict[str, str]:
    """The judge's word on each answer, by ``prompt_id``."""
    judge = StringJudge()
    return {i: judge(each.text) for i, each in answers.items()}


def opening_tokens(
    work: Workbench, answers: Mapping[str, Generation]
) -> tuple[RefusalTokens | None, bool]:
    """Opening tokens from requests that nothing is tested on; whether they were found so."""
    kept = (*work.data.split.vector, *work.data.split.layer)
    opened = opened_answers(
        [answers[r.prompt_id] for r in kept],
        [bool(r.harmful) for r in kept],
        tokenizer=work.model.tokenizer,
        judge=StringJudge(),
    )
    derived = derive_refusal_tokens(opened)
    if not isinstance(derived, NoRefusalTokens):
        return derived, True
    try:
        return fallback_refusal_tokens(work.model.tokenizer), False
    except ValueError:
        # A vocabulary without any word that opens a refusal has no refusal score.
        return None, False


def fit(work: Workbench, name: str, labels: Mapping[str, str]) -> FittedVector:
    """One vector; refusal from requests that were answered as expected.

    ``labels`` of the requests are needed for refusal by requests alone.

    Raises:
        ValueError: If a persona lacks what its vector is made from.
    """
    requests = _both_sides(work, labels)
    return fit_vector(work.model, work.data, name, _settings(work), requests=requests)


def contrast(work: Workbench, name: str, labels: Mapping[str, str] | None = None) -> Contrast:
    """The prompts that a vector is read from; at most these, once requests are answered.

    With the judge's ``labels`` of the requests exactly those.

    Raises:
        ValueError: If a persona lacks what its vector is made from.
    """
    requests = _both_sides(work, labels or {})
    return contrast_of(work.model, work.data, name, _settings(work), requests)


def _settings(work: Workbench) -> FitSettings:
    return FitSettings(
        layers=work.layers,
        turn=work.turn,
        method=work.config.vector_method,
        read=work.config.read_at,
        seed=work.config.seed,
        token_budget=work.config.token_budget,
    )


def _both_sides(work: Workbench, labels: Mapping[str, str]) -> tuple[list[Prompt], list[Prompt]]:
    """Harmful and harmless prompts that were answered as expected."""
    return (
        _as_expected(work, "refusal", labels, harmful=True),
        _as_expected(work, "answer", labels, harmful=False),
    )


def _as_expected(
    work: Workbench, label: str, labels: Mapping[str, str], *, harmful: bool
) -> list[Prompt]:
    """Prompts of the vector split that were answered as expected; all where too few were."""
    ids = [request.prompt_id for request in work.part("vector", harmful=harmful)]
    expected = [i for i in ids if labels.get(i) == label]
    return [work.plain[i] for i in (expected if len(expected) >= 2 else ids)]
