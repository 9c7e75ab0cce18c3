"""How what is drawn looks, by the name of its class: in a page, and in a file of its own."""

from collections.abc import Mapping
from typing import Final

from lens_personas.views._theme import DARK, FONT, LIGHT, Theme

LEVELS: Final = 41
"""Colours of the scale; the middle one says that there is nothing."""
MONO: Final = "ui-monospace, 'SF Mono', Menlo, Consolas, 'Liberation Mono', monospace"
SMALL: Final = 11.0
"""Pixels of small type."""
_SAME: Final = {FONT: "var(--sans)", MONO: "var(--mono)"}


def level_of(value: float, centre: float, limit: float) -> int:
    """Place of a value in the scale from ``centre - limit`` (0) to ``centre + limit``.

    >>> [level_of(each, 0.0, 2.0) for each in (-2.0, 0.0, 2.0, 9.0)]
    [0, 20, 40, 40]

    """
    half = (LEVELS - 1) // 2
    share = (value - centre) / limit if limit > 0 else 0.0
    return half + round(half * min(max(share, -1.0), 1.0))


def level_colour(theme: Theme, level: int) -> str:
    """Colour of a place in the scale."""
    at = level / (LEVELS - 1)
    for (low, first), (high, second) in zip(theme.diverging, theme.diverging[1:], strict=False):
        if low <= at <= high:
            share = (at - low) / (high - low)
            pairs = zip(_channels(first), _channels(second), strict=True)
            return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)
    raise ValueError(f"expected a place from 0 to {LEVELS - 1}, got {level}")


def contrast(first: str, second: str) -> float:
    """Contrast of two colours by WCAG 2, from 1 to 21.

    >>> contrast("#000000", "#ffffff")
    21.0

    """
    darker, lighter = sorted((_luminance(first), _luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def looks(theme: Theme) -> dict[str, dict[str, str]]:
    """Attributes of every class."""
    scale = {f"d{k}": {"fill": level_colour(theme, k)} for k in range(LEVELS)}
    return {
        **scale,
        **{f"n{k}": {"fill": ink_on(scale[f"d{k}"]["fill"])} for k in range(LEVELS)},
        "ink": {"fill": theme.ink, "font-size": "12px"},
        "muted": {"fill": theme.muted, "font-size": "11px"},
        "token": {"fill": theme.ink, "font-size": "11px", "font-family": MONO},
        "strong": {"font-weight": "600"},
        "number": {"font-size": "11px", "font-variant-numeric": "tabular-nums"},
        "fine": {"font-size": "9px"},
        "rule": {"stroke": theme.rule, "stroke-width": "1", "fill": "none"},
        "dots": {"stroke": theme.muted, "stroke-width": "1", "stroke-dasharray": "1 3"},
        "hollow": {"fill": theme.paper, "stroke": theme.muted, "stroke-width": "0.9"},
        "lack": {"fill": theme.null, "fill-opacity": "0.35"},
        "cursor": {"stroke": theme.ink, "stroke-width": "2", "fill": "none"},
        "thin": {"stroke-width": "1"},
        "band": {"fill": theme.null, "fill-opacity": "0.8"},
        "line": {"stroke": theme.side("pro"), "stroke-width": "2", "fill": "none"},
        "point": {"fill": theme.side("pro")},
        "beyond": {"fill": theme.paper, "stroke": theme.side("pro"), "stroke-width": "1.5"},
        **{f"turn-{role}": _turn(theme, role) for role in TURNS},
        **_circuit(theme),
    }


def css_rules() -> str:
    """The same as style of a page, light or dark as the page is."""
    light, dark = looks(LIGHT), looks(DARK)
    return "\n".join(
        f".drawing .{name} {{ {_declarations(light[name], dark[name])} }}" for name in light
    )


TURNS: Final = {"system": "other", "user": "control", "assistant": "refusal"}
"""Turns that are shaded, and the side of the theme whose colour each has."""


def _turn(theme: Theme, role: str) -> dict[str, str]:
    return {"fill": theme.side(TURNS[role]), "fill-opacity": "0.10"}


def _circuit(theme: Theme) -> dict[str, dict[str, str]]:
    kinds = {"embed": "other", "head": "pro", "mlp": "refusal", "logits": "anti"}
    nodes = {
        f"node-{kind}": {"fill": theme.paper, "stroke": theme.side(side), "stroke-width": "1.75"}
        for kind, side in kinds.items()
    }
    names = {f"name-{kind}": {"fill": theme.side(side)} for kind, side in kinds.items()}
    # That of the side is a little too pale for small type.
    names["name-logits"] = {"fill": level_colour(theme, LEVELS - 1)}
    up, down = (level_colour(theme, level) for level in (LEVELS - 3, 2))
    line = {"fill": "none", "stroke-opacity": "0.8"}
    return {
        **nodes,
        **names,
        "node-idle": {"fill": theme.paper, "stroke": theme.rule, "stroke-width": "1.25"},
        "name-idle": {"fill": theme.muted},
        "up": {"stroke": up, **line},
        "down": {"stroke": down, "stroke-dasharray": "7 3", **line},
        "sample": {"stroke": theme.muted, **line},
        "stream": {"fill": theme.null, "fill-opacity": "0.3"},
        "box": {"fill": theme.null, "fill-opacity": "0.4"},
        "marked": {"stroke": theme.ink, "stroke-width": "2.5"},
    }


def _declarations(light: Mapping[str, str], dark: Mapping[str, str]) -> str:
    return "; ".join(
        f"{key}: {_SAME.get(value, value)}"
        if value == dark[key]
        else f"{key}: light-dark({value}, {dark[key]})"
        for key, value in light.items()
    )


def ink_on(ground: str) -> str:
    """Black or white, whichever is read better on a ground: at least 4.58 to 1."""
    return max(("#000000", "#ffffff"), key=lambda each: contrast(each, ground))


def _channels(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue


def _luminance(colour: str) -> float:
    shares = [channel / 255 for channel in _channels(colour)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return sum(w * s for w, s in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
