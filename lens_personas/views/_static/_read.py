"""Parts of a plotly figure in the terms of matplotlib: colours, marks, lines, text."""

import html
import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgba

Colour = tuple[float, float, float, float]
"""Red, green, blue and opacity, each from 0 to 1."""

_MARKS: Final[Mapping[str, str]] = {
    "circle": "o",
    "cross": "P",
    "diamond": "D",
    "hexagon": "h",
    "hexagram": "*",
    "line-ew": "_",
    "line-ns": "|",
    "pentagon": "p",
    "square": "s",
    "star": "*",
    "triangle-down": "v",
    "triangle-left": "<",
    "triangle-right": ">",
    "triangle-up": "^",
    "x": "X",
    "x-thin": "x",
}
_DASHES: Final[Mapping[str, Any]] = {
    "solid": "-",
    "dash": "--",
    "dot": ":",
    "dashdot": "-.",
    "longdash": (0, (8, 3)),
    "longdashdot": (0, (8, 3, 2, 3)),
}
POINTS: Final = 0.75
"""Points in a pixel at 96 pixels an inch."""


def colour(value: Any, *, opacity: float | None = None) -> Colour:
    """A CSS colour.

    >>> colour("rgba(255,0,0,0.5)")
    (1.0, 0.0, 0.0, 0.5)

    """
    found = re.fullmatch(r"rgba?\(([^)]*)\)", str(value).replace(" ", ""))
    if found is None:
        red, green, blue, alpha = to_rgba(str(value))
    else:
        numbers = [float(each) for each in found[1].split(",")]
        red, green, blue = (each / 255 for each in numbers[:3])
        alpha = numbers[3] if len(numbers) > 3 else 1.0
    return red, green, blue, alpha * (1.0 if opacity is None else opacity)


def text(value: Any) -> str:
    r"""What a reader sees of plotly's kind of HTML.

    >>> text("<b>a &lt; b</b><br>c")
    'a < b\nc'

    """
    lines = re.sub(r"<br\s*/?>", "\n", str(value or ""))
    # A dollar sign would begin mathematics.
    return html.unescape(re.sub(r"</?(?:b|i|sub|sup|span|em|strong|a)\b[^>]*>", "", lines)).replace(
        "$", r"\$"
    )


def mark(symbol: Any) -> tuple[str, bool]:
    """Marker, and whether it is hollow.

    Raises:
        ValueError: If there is no such mark.
    """
    name = str(symbol or "circle")
    plain = name.removesuffix("-dot").removesuffix("-open")
    if plain not in _MARKS:
        raise ValueError(f"expected a mark among {', '.join(_MARKS)}, got {symbol!r}")
    return _MARKS[plain], "-open" in name


def dash(style: Any) -> Any:
    """Style of a line.

    Raises:
        ValueError: If there is no such style.
    """
    if (style or "solid") not in _DASHES:
        raise ValueError(f"expected a dash among {', '.join(_DASHES)}, got {style!r}")
    return _DASHES[style or "solid"]


def scale(colorscale: Any) -> LinearSegmentedColormap:
    """A scale of colours."""
    stops = [(float(at), colour(each)) for at, each in colorscale]
    return LinearSegmentedColormap.from_list("scale", stops)


def numbers(values: Any) -> Any:
    """Values as floats, NaN where there is none."""
    return np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64)
