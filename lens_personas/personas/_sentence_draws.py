"""Whole sentences drawn at random so that each next one ends near a fixed token count."""

import random
from dataclasses import dataclass

from lens_personas.personas._statement_prompts import worded


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Sentences to draw from, with their tokens."""

    sizes: dict[str, int]
    """Tokens of each sentence, without a frame."""
    frames: tuple[tuple[str, int], ...]
    """Frames with the tokens they add; each sentence gets one, in turns."""
    fills: bool
    """Whether as many sentences are drawn as reach the count, and come again when all are used;
    otherwise one is drawn for each length, and none comes again."""

    @property
    def mean(self) -> float:
        """Mean tokens of a sentence with a frame."""
        said = sum(self.sizes.values()) / len(self.sizes)
        return said + sum(tokens for _, tokens in self.frames) / len(self.frames)


def draw(
    pool: Pool, n: int, per_sentence: int, *, near: float, rng: random.Random
) -> list[tuple[str, ...]]:
    """What is added to get from each length, 0 to n - 1, to the next: sentences in their frames.

    After length k the tokens are meant to be ``k * per_sentence``. A sentence is drawn from those
    that end within ``near`` tokens of it; where none does, it is the one that ends nearest.

    Raises:
        ValueError: If there are no sentences, or fewer than ``n`` that may come once.
    """
    if not pool.sizes or (not pool.fills and len(pool.sizes) < n):
        raise ValueError(
            f"expected at least {max(1, n)} sentences, got {len(pool.sizes)}; add some"
        )
    frames = rng.sample(pool.frames, len(pool.frames))
    unused: dict[str, int] = {}
    ends: list[tuple[str, ...]] = []
    total = n_said = 0
    for length in range(1, n + 1):
        added: list[str] = []
        while not added or pool.fills:
            unused = unused or dict(pool.sizes)
            wording, frame = frames[n_said % len(frames)]
            missing = length * per_sentence - total
            if added and missing <= near:
                break
            if pool.fills and not _near(unused, missing - frame, near):
                unused = dict(pool.sizes)
            chosen = _chosen(unused, missing - frame, near, fills=pool.fills, rng=rng)
            if added and abs(missing - frame - unused[chosen]) >= missing:
                break
            total += frame + unused.pop(chosen)
            added.append(worded(chosen, wording))
            n_said += 1
        ends.append(tuple(added))
    return ends


def _chosen(
    unused: dict[str, int], missing: int, near: float, *, fills: bool, rng: random.Random
) -> str:
    within = _near(unused, missing, near)
    if not within and fills:
        # A sentence that leaves room for another one, whose frame is a sentence's worth at most.
        shortest = min(unused.values())
        within = [sentence for sentence, size in unused.items() if size <= missing - 2 * shortest]
    if not within:
        least = float(min(abs(missing - size) for size in unused.values()))
        within = _near(unused, missing, least)
    return rng.choice(within)


def _near(unused: dict[str, int], missing: int, near: float) -> list[str]:
    return [sentence for sentence, size in unused.items() if abs(missing - size) <= near]
