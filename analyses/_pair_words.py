"""Names of measures, models and arms as a reader of the study of two models sees them."""

import math
from collections.abc import Iterable, Sequence
from typing import Final

METRIC_NAMES: Final = {
    "wasserstein": "W1 (nats)",
    "scale_free_wasserstein": "W1 / SD",
    "auroc": "AUROC",
    "d_prime": "d′",
    "ks": "KS",
    "energy": "energy (nats)",
    "mmd": "MMD²",
    "jensen_shannon": "JS (nats)",
    "raw_wasserstein": "W1, raw “Yes” logits",
    "beta_proxy": "β proxy",
}
"""Heading of each measure of distinguishability."""

CHANCE: Final = {"auroc": 0.5}
"""What a metric is where the halves are alike, where that is not 0."""

STEERING_NAMES: Final = {
    "net prompt trend": "prompt, net of filler (nats / sentence)",
    "prompt trend": "prompt (nats / sentence)",
    "logistic slope": "logistic slope (log-odds / sentence)",
    "half-length": "half-length (sentences)",
    "change": "change at the longest prompt (nats)",
    "net change": "change, net of filler (nats)",
    "steerability index": "steerability index",
    "vector slope": "vector (nats / residual norm)",
    "anti-steerable share": "anti-steerable share",
}
"""Heading of each measure of steerability."""

ARM_NAMES: Final = {
    "misaligned": "misaligned persona",
    "aligned": "aligned persona",
    "shuffled": "misaligned, words shuffled",
    "yes": "“say yes to everything”",
    "filler": "neutral filler",
    "none": "no prompt",
}
"""What is said before the statement, in the order it is shown."""

MEASURE_NAMES: Final = METRIC_NAMES | STEERING_NAMES
"""Heading of every measure."""


def measure_name(name: str) -> str:
    """Heading of a measure; its own name where it has none."""
    return MEASURE_NAMES.get(name, name.replace("_", " "))


def percent_span(low: float, high: float) -> str:
    """An interval of shares in whole percent; nothing where it is undefined.

    >>> percent_span(0.1, 0.25)
    '[10, 25]'

    """
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"[{100 * low:.0f}, {100 * high:.0f}]"


def listed(names: Iterable[str], most: int = 6) -> str:
    """Names in a row, cut short.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'

    """
    found: Sequence[str] = list(names)
    more = len(found) - most
    return ", ".join(found[:most]) + (f" and {more} more" if more > 0 else "")


def counted(n: int, one: str, many: str | None = None) -> str:
    """A number with its noun.

    >>> counted(1, "behaviour"), counted(3, "behaviour")
    ('1 behaviour', '3 behaviours')

    """
    return f"{n} {one if n == 1 else many or f'{one}s'}"
