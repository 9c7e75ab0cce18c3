"""A line over the tokens of a conversation as SVG."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from markupsafe import Markup

from lens_personas.views._grid import decimals, told
from lens_personas.views._svg import cut, element, plain

_TOP: Final = 62
_TALL: Final = 210
_TILT: Final = 55.0
_CHARACTER: Final = 6.7

_STEPS: Final = ((24, 26.0), (60, 19.0), (120, 14.0))
"""Most tokens, and their width."""
_NARROW: Final = 7.0
"""Width of more tokens: too narrow for their text."""


class Stretch(NamedTuple):
    """Tokens of one turn."""

    role: str
    """Whose turn it is."""
    start: int
    """First token."""
    stop: int
    """Token after the last."""


@dataclass(frozen=True, kw_only=True)
class Projection:
    """What the line shows."""

    tokens: tuple[str, ...]
    """Text of each token."""
    values: tuple[float, ...]
    """Value of each token."""
    stretches: tuple[Stretch, ...]
    """Turns."""
    unit: str
    """What the values are."""
    band: tuple[tuple[float, ...], tuple[float, ...]] | None
    """Lower and upper end of what they are held against."""
    band_name: str
    """What that is."""
    limits: tuple[float, float]
    """Ends of the scale."""

    def is_beyond(self, at: int) -> bool:
        """Whether a token's value is outside the scale, or none."""
        return not self.limits[0] <= self.values[at] <= self.limits[1]


class Layout(NamedTuple):
    """Where the line is, in pixels."""

    left: float
    """Left edge of the first token."""
    step: float
    """Width of a token."""
    size: tuple[int, int]
    """Width and height of the picture."""


def projection_layout(shown: Projection) -> Layout:
    """Sizes that suit the number of tokens."""
    n = len(shown.tokens)
    step = next(
        size for most, size in ((24, 26.0), (60, 19.0), (120, 14.0), (10**9, 7.0)) if n <= most
    )
    longest = _longest(shown) if step > _NARROW else 0
    left = float(max(58, math.ceil(longest * math.cos(math.radians(_TILT)) - step / 2) + 8))
    below = 18 + math.ceil(longest * math.sin(math.radians(_TILT)))
    width = max(math.ceil(left + n * step + 14), int(left) + 420)
    return Layout(left, step, (width, _TOP + _TALL + below))


def projection_svg(shown: Projection, layout: Layout, title: str) -> Markup:
    """The line with its turns, its band, its axis and its tokens."""
    width, height = layout.size
    return element(
        "svg",
        *_key(shown, layout),
        *_turns(shown, layout),
        *_axis(shown, layout),
        *_band(shown, layout),
        *_line(shown, layout),
        *_beyond(shown, layout),
        *_tokens(shown, layout),
        element("line", class_="cursor thin", y1=_TOP, y2=_TOP + _TALL, visibility="hidden"),
        width=width,
        height=height,
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=title,
    )


def nice_ticks(low: float, high: float, most: int = 6) -> tuple[float, ...]:
    """Round numbers between two, 0 among them where it is there.

    >>> nice_ticks(-1.3, 4.2)
    (-1.0, 0.0, 1.0, 2.0, 3.0, 4.0)

    """
    rough = (high - low) / most
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * each for each in (1, 2, 5, 10) if size * each >= rough)
    return tuple(k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1))


def _x(layout: Layout, at: int) -> float:
    return layout.left + (at + 0.5) * layout.step


def _y(shown: Projection, value: float) -> float:
    low, high = shown.limits
    return _TOP + _TALL * (high - min(max(value, low), high)) / (high - low)


def _point(shown: Projection, layout: Layout, at: int, value: float) -> str:
    return f"{plain(_x(layout, at))} {plain(_y(shown, value))}"


def _longest(shown: Projection) -> float:
    return max(len(cut(token, 16)) for token in shown.tokens) * _CHARACTER


def _key(shown: Projection, layout: Layout) -> Iterator[Markup]:
    x = layout.left
    yield element("text", shown.unit, class_="ink", x=x, y=14)
    if shown.band is not None:
        yield element("rect", class_="band", x=x, y=24, width=22, height=11)
        yield element("text", shown.band_name, class_="muted", x=x + 28, y=33)


def _turns(shown: Projection, layout: Layout) -> Iterator[Markup]:
    for role, start, stop in shown.stretches:
        x, width = layout.left + start * layout.step, (stop - start) * layout.step
        yield element(
            "rect", class_=f"turn-{role}", x=x, y=_TOP - 18, width=width - 1, height=_TALL + 18
        )
        # Where the turn is too narrow for its name, its beginning will do.
        room = int((width - 6) / 6.2)
        if room >= 2:
            yield element("text", cut(role, room), class_="muted", x=x + 5, y=_TOP - 5)


def _axis(shown: Projection, layout: Layout) -> Iterator[Markup]:
    end = layout.left + len(shown.tokens) * layout.step
    ticks = nice_ticks(*shown.limits)
    gap = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    digits = max(0, -math.floor(math.log10(gap) + 1e-9))
    for value in ticks:
        y = _y(shown, value)
        look = "dots" if value == 0 else "rule"
        yield element("line", class_=look, x1=layout.left, x2=end, y1=y, y2=y)
        yield element(
            "text",
            told(value, digits),
            class_="muted number",
            x=layout.left - 8,
            y=y + 3.5,
            text_anchor="end",
        )


def _band(shown: Projection, layout: Layout) -> Iterator[Markup]:
    if shown.band is None:
        return
    for start, stop in _runs([a + b for a, b in zip(*shown.band, strict=True)]):
        low, high = (end[start:stop] for end in shown.band)
        there, back = (
            [_point(shown, layout, start + k, value) for k, value in enumerate(end)]
            for end in (high, low)
        )
        yield element("path", class_="band", d=f"M{'L'.join([*there, *back[::-1]])}z")


def _line(shown: Projection, layout: Layout) -> Iterator[Markup]:
    kept = [math.nan if shown.is_beyond(at) else value for at, value in enumerate(shown.values)]
    for start, stop in _runs(kept):
        points = [_point(shown, layout, at, kept[at]) for at in range(start, stop)]
        yield element("path", class_="line", d=f"M{'L'.join(points)}")
    radius = 3.0 if layout.step > _NARROW else 1.6
    for at, value in enumerate(kept):
        if not math.isnan(value):
            yield element(
                "circle", class_="point", cx=_x(layout, at), cy=_y(shown, value), r=radius
            )


def _beyond(shown: Projection, layout: Layout) -> Iterator[Markup]:
    """A mark at the edge, and its number, for what the scale leaves out."""
    for at, value in enumerate(shown.values):
        if math.isfinite(value) and shown.is_beyond(at):
            x, up = _x(layout, at), value > shown.limits[1]
            tip, base = (_TOP + 2, _TOP + 11) if up else (_TOP + _TALL - 2, _TOP + _TALL - 11)
            path = f"M{plain(x)} {tip}L{plain(x + 5)} {base}H{plain(x - 5)}z"
            yield element("path", class_="beyond", d=path)
            number = told(value, min(decimals(abs(value)), 1))
            y = base + 4 if up else base + 2
            yield element("text", number, class_="muted number", x=x + 8, y=y)


def _tokens(shown: Projection, layout: Layout) -> Iterator[Markup]:
    if layout.step <= _NARROW:
        return
    for at, token in enumerate(shown.tokens):
        x, y = _x(layout, at) + 4, _TOP + _TALL + 12
        turned = f"translate({plain(x)} {y}) rotate(-{plain(_TILT)})"
        yield element("text", cut(token, 16), class_="token", transform=turned, text_anchor="end")


def _runs(values: Sequence[float]) -> Iterator[tuple[int, int]]:
    """Stretches without a gap."""
    start = None
    for at, value in enumerate([*values, math.nan]):
        if math.isfinite(value):
            start = at if start is None else start
        elif start is not None:
            yield start, at
            start = None
