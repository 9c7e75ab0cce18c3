"""Sentences compared with each other: as words, whatever their case and punctuation."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final

_WORD: Final = re.compile(r"\w+(?:['’]\w+)*")
_COMMON_WORDS: Final = """
about after again always before being could every first from have into just like likely make
more most much never only other over people rather really should some someone such than that
their them then there these they thing things think this those very want what when where which
while will with without would your
"""
_COMMON: Final = frozenset(_COMMON_WORDS.split())
_NEAR: Final = 0.8
_NEAR_MIN_WORDS: Final = 5


def words(text: str) -> tuple[str, ...]:
    """The words of a sentence in order, in lower case.

    Raises:
        Nothing of its own.

    >>> words("I DON’T ask, ever.")
    ('i', "don't", 'ask', 'ever')
    """
    plain = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return tuple(_WORD.findall(plain))


def normal(text: str) -> str:
    """A sentence without case, punctuation and spacing: equal for what says the same.

    Raises:
        Nothing of its own.
    """
    # A sentence without any word, such as one of signs alone, is itself.
    return " ".join(words(text)) or text.strip()


def content_words(text: str, *, at_least: int = 4) -> frozenset[str]:
    """Words that say something, cut to their first six letters so that forms agree.

    Raises:
        Nothing of its own.
    """
    return frozenset(
        word[:6] for word in words(text) if len(word) >= at_least and word not in _COMMON
    )


def duplicates(sentences: Sequence[str]) -> Iterator[tuple[str, str]]:
    """A sentence and an earlier one that says the same.

    Raises:
        Nothing of its own.
    """
    seen: dict[str, str] = {}
    for sentence in sentences:
        if normal(sentence) in seen:
            yield sentence, seen[normal(sentence)]
        seen.setdefault(normal(sentence), sentence)


def near_duplicates(sentences: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of sentences that differ, but share nearly all their words.

    Raises:
        Nothing of its own.
    """
    unlike = {normal(sentence): sentence for sentence in reversed(sentences)}
    ordered = sorted(unlike.values(), key=sentences.index)
    yield from ((a, b) for a, b in combinations(ordered, 2) if are_near(a, b))


def are_near(first: str, second: str) -> bool:
    """Whether two sentences share nearly all their words: four of five that either has.

    Sentences of fewer than five different words are too short to tell.

    Raises:
        Nothing of its own.
    """
    one, other = set(words(first)), set(words(second))
    long_enough = min(len(one), len(other)) >= _NEAR_MIN_WORDS
    return long_enough and len(one & other) >= _NEAR * len(one | other)


def says_the_same(first: str, second: str, *, nearly: bool = True) -> bool:
    """Whether two sentences are the same but for case and punctuation, or nearly so.

    Raises:
        Nothing of its own.

    >>> says_the_same("I like tea.", "i like tea")
    True
    """
    return normal(first) == normal(second) or (nearly and are_near(first, second))
