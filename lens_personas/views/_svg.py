"""SVG, element by element: text escaped, looks named by classes, the same for a page and a file."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

from lens_personas.views._looks import looks
from lens_personas.views._theme import FONT, Theme


def element(name: str, /, *children: object, **attributes: object) -> Markup:
    r"""An element of SVG or HTML; text and attributes are escaped.

    An underscore in an attribute's name stands for a hyphen, one at its end for nothing; an
    attribute that is None is left out.

    >>> element("text", "<s>", x=1.5, text_anchor="end", class_="ink")
    Markup('<text x="1.5" text-anchor="end" class="ink">&lt;s&gt;</text>')
    """
    given = {k.rstrip("_").replace("_", "-"): v for k, v in attributes.items() if v is not None}
    written = Markup("").join(Markup(' {}="{}"').format(k, _value(v)) for k, v in given.items())
    inside = Markup("").join(escape(_value(child)) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, inside)


def plain(number: float | int) -> str:
    """A length in a drawing, as short as it can be written.

    >>> plain(12.0), plain(-3.14159), plain(-0.001)
    ('12', '-3.14', '0')

    """
    return f"{round(float(number), 2) + 0.0:g}" if abs(number) < 1e5 else f"{number:.0f}"


def writable(text: str) -> str:
    r"""The text with an escape for what XML has no place for, and for what turns writing round.

    >>> writable("a\x00b"), writable("\u202etxt")
    ('a\\x00b', '\\u202etxt')

    """
    # Most that is written are paths.
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_sign, text))


def cut(text: str, length: int) -> str:
    """The text, cut to a length that fits beside a picture."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def svg_file(drawing: Markup, theme: Theme, *, title: str, summary: str) -> str:
    """A drawing as a file of its own, with the theme's colours, that any program can read.

    Args:
        drawing: One ``svg`` element with ``width``, ``height`` and ``viewBox``.
        theme: Its colours.
        title: What it shows.
        summary: What is to be seen.
    """
    known = looks(theme)
    styled = re.sub(r' class="([\w -]*)"', lambda found: _looks(found[1], known), drawing)
    opened, _, inside = styled.removeprefix("<svg").partition(">")
    head = f'<svg xmlns="http://www.w3.org/2000/svg" font-family="{escape(FONT)}"{opened}>'
    words = element("title", title) + element("desc", summary)
    paper = element("rect", width="100%", height="100%", fill=theme.paper)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}{words}{paper}{inside}\n'


def _looks(classes: str, known: Mapping[str, Mapping[str, str]]) -> str:
    merged: dict[str, str] = {}
    for name in classes.split():
        merged |= known.get(name, {})
    return "".join(f' {key}="{escape(value)}"' for key, value in merged.items())


def _value(value: object) -> Any:
    if isinstance(value, Markup):
        return value
    if isinstance(value, float):
        return plain(value)
    return writable(str(value))


def _sign(character: str) -> str:
    # Joiners make one sign of several: they stay.
    if character in "\t\n\u200c\u200d":
        return character
    # The last two places of every plane are no characters.
    is_none = ord(character) & 0xFFFE == 0xFFFE
    if is_none or unicodedata.category(character) in ("Cc", "Cf", "Cs"):
        return character.encode("unicode_escape").decode("ascii")
    return character
