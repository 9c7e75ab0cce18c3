"""Drawings: text stays text, looks are the same in a page and in a file, and can be read."""

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lens_personas.views import DARK, LIGHT, Theme
from lens_personas.views._looks import LEVELS, contrast, css_rules, ink_on, level_colour, looks
from lens_personas.views._page import asset
from lens_personas.views._svg import element, svg_file, writable

THEMES = pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda each: each.name)


@settings(max_examples=40)
@given(st.text(alphabet=st.characters()))
def test_any_text_is_text_and_nothing_else(text: str) -> None:
    written = element("text", text, x=1, data_name=text)
    read = ElementTree.fromstring(str(written))
    assert list(read) == []
    # XML reads a carriage return as a newline; it is escaped before.
    assert read.text or writable(text) == ""
    assert set(read.attrib) == {"x", "data-name"}


def test_a_class_in_a_text_is_no_look() -> None:
    hostile = 'x class="d0"'
    drawing = element(
        "svg", element("text", hostile, class_="ink"), width=10, height=10, viewBox="0 0 10 10"
    )
    read = ElementTree.fromstring(svg_file(drawing, LIGHT, title=hostile, summary="</desc>"))
    texts = {each.tag.split("}")[1]: each for each in read}
    assert texts["text"].text == hostile
    assert texts["text"].attrib["fill"] == LIGHT.ink
    assert texts["desc"].text == "</desc>"
    assert "class" not in texts["text"].attrib


def test_the_style_of_pages_is_that_of_files() -> None:
    assert css_rules() in asset("plots.css")


@THEMES
def test_numbers_and_words_can_be_read_on_their_ground(theme: Theme) -> None:
    grounds = [level_colour(theme, level) for level in range(LEVELS)]
    assert min(contrast(ink_on(ground), ground) for ground in grounds) >= 4.5
    known = looks(theme)
    words = ["ink", "muted", "token", *(name for name in known if name.startswith("name-"))]
    assert min(contrast(known[name]["fill"], theme.paper) for name in words) >= 4.5


@THEMES
def test_the_scale_runs_from_end_to_end_and_is_even_handed(theme: Theme) -> None:
    ends = [level_colour(theme, at) for at in (0, LEVELS // 2, LEVELS - 1)]
    assert ends == [colour for at, colour in theme.diverging if at in (0.0, 0.5, 1.0)]
    with pytest.raises(ValueError, match="expected a place from 0 to 40, got 41"):
        level_colour(theme, LEVELS)
