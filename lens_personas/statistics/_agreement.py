"""Whether two judges agree beyond chance."""

from collections.abc import Sequence

from sklearn.metrics import cohen_kappa_score


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float:
    """Cohen's kappa of two judges' labels: 1 full agreement, 0 what chance would give.

    NaN without items, or where both give one and the same label to all.
    See ``sklearn.metrics.cohen_kappa_score``.

    Raises:
        ValueError: If the judges labelled different numbers of items.
    """
    if len(first) != len(second):
        raise ValueError(
            f"expected one label a judge for each item, got {len(first)} and {len(second)}; "
            "leave out the items that one of them missed"
        )
    if len({*first, *second}) < 2:
        return float("nan")
    return float(cohen_kappa_score(list(first), list(second)))
