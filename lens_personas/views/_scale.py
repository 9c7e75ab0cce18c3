"""Colour of a number: one of few steps, each readable, in light and dark."""

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Final

from lens_personas.views._looks import LEVELS, ink_on, level_colour, level_of
from lens_personas.views._theme import DARK, LIGHT, Theme

STEPS: Final = 21
"""Colours of a scale that begins at nothing."""


def centred_class(value: float, centre: float, limit: float) -> str:
    """Class of a value on the scale from ``centre - limit`` to ``centre + limit``.

    >>> [centred_class(each, 0.0, 2.0) for each in (-2.0, 0.0, 9.0, float("nan"))]
    ['c0', 'c20', 'c40', 'cx']

    """
    return "cx" if math.isnan(value) else f"c{level_of(value, centre, limit)}"


def share_class(share: float) -> str:
    """Class of a number from 0 to 1 on the scale that begins at nothing.

    >>> [share_class(each) for each in (0.0, 0.5, 1.0, float("nan"))]
    ['s0', 's10', 's20', 'cx']

    """
    return "cx" if math.isnan(share) else f"s{round((STEPS - 1) * min(max(share, 0.0), 1.0))}"


@cache
def scale_css() -> str:
    """What the classes look like: a ground, and an ink that can be read on it."""
    centred = [
        (f"c{k}", *(level_colour(theme, k) for theme in (LIGHT, DARK))) for k in range(LEVELS)
    ]
    shares = [
        (f"s{k}", *(_blend(theme.sequential, k / (STEPS - 1)) for theme in (LIGHT, DARK)))
        for k in range(STEPS)
    ]
    return "\n".join(_rule(*each) for each in [*centred, *shares])


def step_colour(theme: Theme, share: float) -> str:
    """Colour of a number from 0 to 1."""
    return _blend(theme.sequential, share)


def _rule(name: str, light: str, dark: str) -> str:
    return (
        f".view .{name} {{ background-color: light-dark({light}, {dark}); "
        f"color: light-dark({ink_on(light)}, {ink_on(dark)}); }}"
    )


def _blend(scale: Sequence[tuple[float, str]], at: float) -> str:
    for (low, first), (high, second) in pairwise(scale):
        if low <= at <= high:
            share = (at - low) / (high - low)
            return "#" + "".join(
                f"{round(a + (b - a) * share):02x}"
                for a, b in zip(bytes.fromhex(first[1:]), bytes.fromhex(second[1:]), strict=True)
            )
    raise ValueError(f"expected a share from 0 to 1, got {at}")
