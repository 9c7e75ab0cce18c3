"""A page of a real browser, with everything it asked for and complained about."""

from pathlib import Path
from typing import Any

import pytest

DRAWN = "document.querySelectorAll('.plot .main-svg').length >= {}"


class Watched:
    """A page with everything it asked for and complained about."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, path: Path, figures: int) -> None:
        """Open a page and wait until so many figures are drawn."""
        self.page.goto(path.as_uri())
        self.page.wait_for_function(DRAWN.format(figures))

    def background(self) -> str:
        """Colour behind the text."""
        return str(self.page.evaluate("getComputedStyle(document.body).backgroundColor"))

    def figure_background(self, key: str) -> str:
        """What the first layer of a figure looks like."""
        figure = self.page.locator(f"#figure-{key} .main-svg").first
        return str(figure.get_attribute("style"))


@pytest.fixture
def watched(page: Any) -> Watched:
    """A page in light mode that is watched."""
    page.emulate_media(color_scheme="light")
    return Watched(page)
