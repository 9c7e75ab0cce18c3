"""Whether a text is language at all: loops, emptiness, variety of words."""

import math
import re
from collections.abc import Hashable, Sequence

MIN_COPIES = 4
"""Copies of one n-gram in a row that make a loop."""
LOOP_SHARE = 0.5
"""Share of the text that the loop has to cover."""
MAX_PERIOD = 12
"""Longest n-gram, in words, whose repetition is looked for."""
MIN_CHARACTERS = 24
"""Characters from which on a loop of single characters is looked for."""
MAX_CHARACTER_PERIOD = 8
"""Longest repeated string, in characters, that is looked for."""
MIN_WORDS = 24
"""Words from which on variety is judged."""
MIN_DISTINCT = 0.3
"""Share of distinct word pairs below which a text of that length is degenerate."""

# Curly and modifier apostrophes, the backtick, curly double quotes.
_STRAIGHT = str.maketrans("\u2018\u2019\u02bc`\u201c\u201d", "''''\"\"")


def normalise(text: str) -> str:
    """Lower case, straight quotes, single spaces, nothing before the first letter or digit.

    >>> normalise("  *I'M   Sorry.")
    "i'm sorry."
    """
    # Folding first: it turns some letters into a letter with a quote.
    single = " ".join(text.casefold().translate(_STRAIGHT).split())
    return re.sub(r"^[\W_]+", "", single)


def is_degenerate(text: str) -> bool:
    """Whether a text is no language: empty, without a letter or digit, or repetitive.

    Repetitive is a text of which one n-gram of up to 12 words, said at least 4 times in a
    row, covers at least half; or one string of up to 8 characters, in a text of at least
    24; or a text of at least 24 words with fewer than 30 % distinct word pairs. A number
    alone is a possible answer, so it is not degenerate.
    """
    if not any(character.isalnum() for character in text):
        return True
    words = text.casefold().split()
    if _loops(words, MAX_PERIOD):
        return True
    characters = "".join(words)
    if len(characters) >= MIN_CHARACTERS and _loops(characters, MAX_CHARACTER_PERIOD):
        return True
    return len(words) >= MIN_WORDS and distinct_n(words) < MIN_DISTINCT


def degenerate_share(texts: Sequence[str]) -> float:
    """Share of degenerate texts, 0 to 1; NaN where there is no text.

    >>> degenerate_share(["a plain answer", ""])
    0.5
    """
    return sum(map(is_degenerate, texts)) / len(texts) if texts else math.nan


def distinct_n(tokens: Sequence[Hashable], n: int = 2) -> float:
    """Share of distinct n-grams among all n-grams of the tokens, 0 to 1; NaN below n tokens.

    Distinct-n of Li et al. (https://arxiv.org/abs/1510.03055), on words or token ids.

    >>> distinct_n("a b a b a".split())
    0.5

    Raises:
        ValueError: If ``n`` is below 1.
    """
    if n < 1:
        raise ValueError(f"expected n-grams of at least 1 token, got n = {n}")
    grams = [tuple(tokens[at : at + n]) for at in range(len(tokens) - n + 1)]
    return len(set(grams)) / len(grams) if grams else math.nan


def _loops(tokens: Sequence[str], max_period: int) -> bool:
    need = LOOP_SHARE * len(tokens)
    return any(
        _longest_run(tokens, period) >= max(need, MIN_COPIES * period)
        for period in range(1, min(max_period, len(tokens) // MIN_COPIES) + 1)
    )


def _longest_run(tokens: Sequence[str], period: int) -> int:
    """Length of the longest stretch that repeats with this period, its first copy included."""
    longest = matched = 0
    for at in range(period, len(tokens)):
        matched = matched + 1 if tokens[at] == tokens[at - period] else 0
        longest = max(longest, matched)
    return longest + period
