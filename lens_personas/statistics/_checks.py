"""Checks of the numbers that come in."""

import numpy as np
from jaxtyping import Float, Shaped


def require_finite(name: str, values: Float[np.ndarray, "..."]) -> None:
    """Refuse missing values, which a statistic would turn into NaN, or drop, without a word.

    Raises:
        ValueError: If a value is NaN or infinite.
    """
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise ValueError(
            f"expected finite numbers in {name}, got {bad} NaN or infinite of {values.size}; "
            "leave out the missing items, and report how many"
        )


def require_fraction(name: str, value: float) -> None:
    """Refuse a level, power or alpha that is not a probability strictly between 0 and 1.

    Raises:
        ValueError: If ``value`` is outside (0, 1).
    """
    if not 0.0 < value < 1.0:
        raise ValueError(f"expected {name} between 0 and 1, got {value}; 95 % is 0.95")


def require_same_length(**arrays: Shaped[np.ndarray, "_ ..."]) -> None:
    """Refuse arrays of different lengths; numpy would stretch one of length 1.

    Raises:
        ValueError: If the lengths differ.
    """
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"expected one entry an item in each, got lengths {lengths}; "
            "match them by prompt id first"
        )
