"""Which statements say nearly the same, so that they must stay together."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

from lens_personas.personas._sentences import words

_NEAR: Final = 0.8


def statement_groups(texts: Sequence[str]) -> tuple[int, ...]:
    """For each text, the place of the first one of its group.

    Two texts belong together if they share four of five of the different words that either
    has, or through others that do. Published sets were written by models and hold many sentences
    that differ in a word; divided between fitting and testing, such pairs would leak.

    Raises:
        Nothing of its own.

    >>> statement_groups(["I like tea very much.", "I work hard.", "I like tea very, very much!"])
    (0, 1, 0)
    """
    bags = [frozenset(words(text)) or frozenset([text.strip()]) for text in texts]
    parent = list(range(len(bags)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = at = parent[parent[at]]
        return at

    for first, second in _near_pairs(bags):
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    return tuple(root(at) for at in range(len(bags)))


def _near_pairs(bags: Sequence[frozenset[str]]) -> list[tuple[int, int]]:
    """Pairs with a Jaccard index of at least `_NEAR`.

    Prefix filtering (https://doi.org/10.1145/1242572.1242591): in an order with the rarest words
    first, such a pair shares a word among the first few of both.
    """
    counts = Counter(word for bag in bags for word in bag)
    holders: defaultdict[str, list[int]] = defaultdict(list)
    found = []
    for at, bag in enumerate(bags):
        rarest = sorted(bag, key=lambda word: (counts[word], word))
        first = rarest[: len(bag) - _least_shared(len(bag)) + 1]
        for other in {other for word in first for other in holders[word]}:
            if len(bag & bags[other]) >= _NEAR * len(bag | bags[other]):
                found.append((other, at))
        for word in first:
            holders[word].append(at)
    return found


def _least_shared(n_words: int) -> int:
    """Fewest shared words of a near pair of which one bag has ``n_words``, rounded up."""
    return -int(-_NEAR * n_words // 1)
