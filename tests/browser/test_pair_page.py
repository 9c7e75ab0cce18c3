"""The report of two models in a real browser: offline, quiet, drawn, in light and dark, safe."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from analyses._pair_panels import pair_panels
from analyses._pair_report import write_pair_report

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def report(pair_study: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pair_report(pair_study, tmp_path_factory.mktemp("pair") / "report.html")


def test_draws_every_figure_and_asks_nothing_of_the_network(
    watched: Any, report: Path, pair_study: Any
) -> None:
    keys = [panel.key for panel in pair_panels(pair_study)]
    watched.open(report, len(keys))
    for key in keys:
        assert watched.page.locator(f"#figure-{key} .main-svg").count() > 0, key
    light = watched.figure_background("ridges")
    watched.page.get_by_role("button", name="Dark mode").press("Enter")
    # Figures follow as the browser finds time.
    figure = watched.page.locator("#figure-ridges .main-svg").first
    expect(figure).not_to_have_attribute("style", light, timeout=30_000)
    assert watched.requests == [report.as_uri()]
    assert watched.complaints == []


def test_no_sideways_scrolling_on_a_phone(watched: Any, report: Path) -> None:
    watched.page.set_viewport_size({"width": 390, "height": 844})
    watched.open(report, 1)
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_hostile_text_is_shown_and_never_run(watched: Any, pair_study: Any, tmp_path: Path) -> None:
    (hostile,) = (name for name in pair_study.distinguishability.behaviours if "<img" in name)
    path = write_pair_report(replace(pair_study, message=hostile), tmp_path / "report.html")
    watched.open(path, len(pair_panels(pair_study)))
    page = watched.page
    assert page.title() != "owned"
    assert page.locator("main img").count() == 0
    assert page.locator(".message").inner_text() == hostile
    assert page.locator("#figure-ridges text", has_text="<b>bold</b>").count() > 0
    assert page.get_by_role("rowheader", name="<b>bold</b>").count() > 0
    assert watched.requests == [path.as_uri()]
    assert watched.complaints == []
