"""The report in a real browser: offline, quiet, drawn, in light and dark, safe."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from analyses._report import write_report
from analyses._report_panels import panels
from analyses.whos_asking import WhosAsking

pytestmark = [pytest.mark.browser, pytest.mark.slow]
MakeStudy = Callable[..., WhosAsking]
HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def report(study: WhosAsking, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(study, tmp_path_factory.mktemp("report") / "report.html")


def test_draws_every_figure_and_asks_nothing_of_the_network(
    watched: Any, report: Path, study: WhosAsking
) -> None:
    expected = len(panels(study))
    watched.open(report, expected)
    for panel in panels(study):
        assert watched.page.locator(f"#figure-{panel.key} .main-svg").count() > 0, panel.key
    assert watched.requests == [report.as_uri()]
    assert watched.complaints == []


def test_dark_mode_follows_the_system_and_the_toggle(
    watched: Any, report: Path, study: WhosAsking
) -> None:
    watched.open(report, len(panels(study)))
    light, light_figure = watched.background(), watched.figure_background("forest")
    toggle = watched.page.get_by_role("button", name="Dark mode")
    assert toggle.get_attribute("aria-pressed") == "false"
    toggle.press("Enter")
    assert toggle.get_attribute("aria-pressed") == "true"
    dark = watched.background()
    assert dark != light
    # Figures follow as the browser finds time.
    figure = watched.page.locator("#figure-forest .main-svg").first
    expect(figure).not_to_have_attribute("style", light_figure, timeout=30_000)
    toggle.press("Enter")
    assert watched.background() == light
    expect(figure).to_have_attribute("style", light_figure, timeout=30_000)
    fresh = type(watched)(watched.page.context.new_page())
    fresh.page.emulate_media(color_scheme="dark")
    fresh.open(report, len(panels(study)))
    assert fresh.background() == dark
    assert watched.complaints == fresh.complaints == []


def test_hostile_text_is_shown_and_never_run(
    watched: Any, make_study: MakeStudy, tmp_path: Path
) -> None:
    study = make_study(
        renamed={"selfish": HOSTILE, "curious": "<b>bold</b>"}, texts=(HOSTILE, HOSTILE)
    )
    study = replace(study, message=HOSTILE, refusal_tokens=(HOSTILE,), settings={"note": HOSTILE})
    path = write_report(study, tmp_path / "report.html", full_text=True)
    watched.open(path, len(panels(study)))
    page = watched.page
    assert page.title() != "owned"
    assert page.locator("main img").count() == 0
    assert page.locator(".message").inner_text() == HOSTILE
    assert page.locator("#figure-forest text", has_text="<b>bold</b>").count() > 0
    assert page.get_by_role("rowheader", name="<b>bold</b>").count() > 0
    assert watched.requests == [path.as_uri()]
    assert watched.complaints == []


def test_no_sideways_scrolling_on_a_phone(watched: Any, report: Path, study: WhosAsking) -> None:
    watched.page.set_viewport_size({"width": 390, "height": 844})
    watched.open(report, len(panels(study)))
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_tables_can_be_read_without_scripts(report: Path, page: Any) -> None:
    context = page.context.browser.new_context(offline=True, java_script_enabled=False)
    bare = context.new_page()
    bare.goto(report.as_uri())
    assert bare.get_by_role("rowheader", name="altruistic").count() > 0
    assert bare.locator("#overview ~ noscript p").is_visible()
    context.close()
