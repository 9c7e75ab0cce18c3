"""What is wrong within one persona: sentences twice, not paired, or about the wrong thing."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from lens_personas.personas._findings import Finding, error, warning
from lens_personas.personas._sentences import (
    content_words,
    duplicates,
    near_duplicates,
    normal,
    words,
)
from lens_personas.personas._types import Persona

FEW: Final = 10
"""Fewer statements than this describe a behaviour by its examples rather than by itself."""

MARKUP: Final = re.compile(
    r"<\|?/?\w+\|?>|<\||\|>|\[/?INST\]|<</?SYS>>|[\x00-\x1f\x7f\u2028\u2029]"
)
"""What a chat template means something by, and what is no part of a sentence."""

_DENIAL: Final = frozenset(
    {"cannot", "hardly", "neither", "never", "no", "nobody", "none", "nor", "not", "nothing"}
    | {"nowhere", "rarely", "seldom", "without"}
)
_PERSON: Final = frozenset(
    {"i", "i'm", "i've", "i'd", "i'll", "me", "mine", "my", "myself", "our", "us", "we"}
    # Sets about the model, such as refusal, address it.
    | {"you", "your", "yours", "yourself", "you're"}
)
_LEAKS: Final[Mapping[str, re.Pattern[str]]] = {
    "refusing": re.compile(
        r"\b(refus\w*|declin\w*|compl(?:y|ies|ied|ying|iance|iant)|apolog\w*|sorry)\b", re.I
    ),
    "harm": re.compile(
        r"\b(harm\w*|danger\w*|unsafe|safety|weapon\w*|malicious\w*|unethical\w*|toxic\w*)\b", re.I
    ),
    "the model": re.compile(
        r"\b(AIs?|A\.I\.|artificial intelligence|chatbots?|language models?|LLMs?|assistants?)"
        r"(?!\w)"
    ),
    "the request": re.compile(
        r"\b(requests?|prompts?|instructions?|your (?:answer|reply|response)\w*)\b", re.I
    ),
}


def findings_in(persona: Persona, *, topics: Sequence[str] = ()) -> Iterator[Finding]:
    """What is found in one persona.

    Args:
        persona: The persona.
        topics: Requests of the study, whose words its sentences should not share.

    Raises:
        Nothing of its own.
    """
    if not is_written(persona):
        yield error(
            "wording",
            (persona.name,),
            "a sentence without a word, such as '...'; write it, or remove it",
        )
        return
    yield from _markup(persona)
    yield from _twice(persona)
    yield from _pairing(persona)
    yield from _wording(persona)
    yield from _leakage(persona)
    yield from _topics(persona, topics)
    if persona.demographic is None and persona.group != "control" and len(persona.statements) < FEW:
        yield warning(
            "few",
            (persona.name,),
            f"{len(persona.statements)} statements; write at least {FEW} (24 are shipped, the "
            "paper has about 100), or one example may carry the effect",
        )
    if persona.licence is None:
        yield warning(
            "licence", (persona.name,), "no licence; say under which the sentences may be shared"
        )


def is_written(persona: Persona) -> bool:
    """Whether every sentence has a word: a template's place to write in has none.

    Raises:
        Nothing of its own.
    """
    return all(words(text) for column in _columns(persona).values() for text in column)


def _columns(persona: Persona) -> Mapping[str, tuple[str, ...]]:
    columns = {
        "statements": persona.statements,
        "negations": persona.negations,
        "questions": persona.questions,
    }
    return {name: sentences for name, sentences in columns.items() if sentences}


def _markup(persona: Persona) -> Iterator[Finding]:
    for column, sentences in _columns(persona).items():
        found = [text for text in sentences if MARKUP.search(text)]
        if found:
            yield error(
                "markup",
                (persona.name,),
                f"{len(found)} {column} with signs that a chat template uses, or a line break, "
                f"such as {found[0]!r:.80}; write plain sentences",
            )


def _twice(persona: Persona) -> Iterator[Finding]:
    for column, sentences in _columns(persona).items():
        for again, first in duplicates(sentences):
            yield error(
                "duplicate",
                (persona.name,),
                f"{column}: {again!r:.80} says the same as {first!r:.80}, which would count "
                "twice; remove or rewrite it",
            )
        # Templates of membership are alike by design.
        pairs = [] if persona.demographic else list(near_duplicates(sentences))
        if pairs:
            yield warning(
                "near-duplicate",
                (persona.name,),
                f"{column}: {_some(len(pairs), 'pair')} nearly alike, such as {pairs[0][0]!r:.80} "
                f"and {pairs[0][1]!r:.80}; rewrite one of each",
            )
    both = {normal(text) for text in persona.statements} & {normal(t) for t in persona.negations}
    if both:
        yield error(
            "duplicate",
            (persona.name,),
            f"{min(both)!r:.80} is both a statement and a negation; remove one of them",
        )


def _pairing(persona: Persona) -> Iterator[Finding]:
    n = len(persona.statements)
    if not persona.negations:
        yield warning(
            "pairing",
            (persona.name,),
            "no negations; vectors from statements are then held against other personas",
        )
    if not persona.questions:
        yield warning(
            "pairing", (persona.name,), "no questions; no vector from questions can be fitted"
        )
    elif len(persona.questions) != n:
        yield warning(
            "pairing",
            (persona.name,),
            f"{len(persona.questions)} questions for {n} statements; write one for each, in order",
        )
    for column in ("negations", "questions"):
        others = _columns(persona).get(column, ())
        apart = [pair for pair in zip(persona.statements, others, strict=False) if _apart(*pair)]
        if len(others) == n and apart:
            yield warning(
                "pairing",
                (persona.name,),
                f"{len(apart)} of {n} {column} without a word of the statement, such as "
                f"{apart[0][1]!r:.80} beside {apart[0][0]!r:.80}; put them in one order",
            )


def _apart(statement: str, other: str) -> bool:
    said, asked = content_words(statement), content_words(other)
    return bool(said and asked) and not said & asked


def _wording(persona: Persona) -> Iterator[Finding]:
    checks = (
        ("statements", "not in the first person", _is_impersonal),
        ("negations", "that deny nothing by a word such as 'not'", _is_affirmative),
        ("questions", "without a question mark at the end", _is_no_question),
    )
    for column, fault, is_faulty in checks:
        sentences = _columns(persona).get(column, ())
        found = [text for text in sentences if is_faulty(text)]
        if found:
            yield warning(
                "wording",
                (persona.name,),
                f"{len(found)} of {len(sentences)} {column} {fault}, such as {found[0]!r:.80}",
            )


def _is_impersonal(text: str) -> bool:
    return not {*words(text)} & _PERSON


def _is_affirmative(text: str) -> bool:
    found = words(text)
    return not {*found} & _DENIAL and not any(word.endswith("n't") for word in found)


def _is_no_question(text: str) -> bool:
    return not text.rstrip().endswith(("?", "？", "؟"))


def _leakage(persona: Persona) -> Iterator[Finding]:
    sentences = [text for column in _columns(persona).values() for text in column]
    for about, pattern in _LEAKS.items():
        found = [(hit.group(), text) for text in sentences if (hit := pattern.search(text))]
        if found:
            word, text = found[0]
            yield warning(
                "leakage",
                (persona.name,),
                f"{_some(len(found), 'sentence')} about {about} ({word!r} in {text!r:.80}): the "
                "effect may be that of the word, not of who asks; say it another way",
            )


def _topics(persona: Persona, topics: Sequence[str]) -> Iterator[Finding]:
    asked = {word for text in topics for word in content_words(text, at_least=6)}
    said = {word for text in persona.statements for word in content_words(text, at_least=6)}
    if shared := sorted(said & asked):
        yield warning(
            "topic",
            (persona.name,),
            f"{_some(len(shared), 'word')} of the requests in the statements "
            f"({', '.join(f'{word}…' for word in shared[:5])}): the persona may move a request "
            "by its topic; look at those requests",
        )


def _some(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
