"""A page of a real browser, with everything it asked for and complained about."""

from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

UNDRAWN = "[data-draw]:not([data-drawn])"
BARE = ".plot:not(:has(.main-svg))"


class Watched:
    """A page with everything it asked for and complained about.

    It waits for elements: to wait for a function, a page's policy would have to let text run.
    """

    def __init__(self, page: Any) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, path: Path, figures: int) -> None:
        """Open a page and wait until so many figures are drawn."""
        # A figure is drawn when its page is turned to; of all on one page, all are.
        self.page.goto(f"{path.as_uri()}#all")
        expect(self.page.locator(BARE)).to_have_count(0, timeout=60_000)
        assert self.page.locator(".plot").count() >= figures

    def show(self, path: Path, *, theme: Literal["light", "dark"] = "light") -> None:
        """Open a page of views and wait until all are drawn."""
        self.page.emulate_media(color_scheme=theme)
        self.page.goto(path.as_uri())
        expect(self.page.locator(UNDRAWN)).to_have_count(0)

    def violations(self) -> list[str]:
        """Rules of accessibility that the page breaks, by axe, each with the first place."""
        found = Axe().run(self.page).response["violations"]
        return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found]

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
