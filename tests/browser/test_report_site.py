"""The report as a site in a real browser: pages turned, printed, and for everyone to use."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from analyses._pair_report import write_pair_report
from analyses._report import write_report
from analyses.whos_asking import Parts, WhosAsking
from lens_personas.models import visible

pytestmark = [pytest.mark.browser, pytest.mark.slow]
HOSTILE = (
    "</script><script>window.owned = 1</script>",
    "<img src=x onerror='window.owned = 1'>",
    "<s>",
    "{{7*7}}",
    "\"'`",
)
SHOWN = ".site-page:not([hidden])"


@pytest.fixture(scope="module")
def study(study: WhosAsking, make_conversations: Callable[..., Any]) -> WhosAsking:
    return replace(study, parts=Parts(layer=3, conversations=make_conversations(HOSTILE)))


@pytest.fixture(scope="module")
def report(study: WhosAsking, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(study, tmp_path_factory.mktemp("site") / "report.html", full_text=True)


@pytest.fixture(scope="module")
def pair_report(pair_study: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pair_report(pair_study, tmp_path_factory.mktemp("pair") / "report.html")


def test_one_page_at_a_time_by_links_keys_and_back(watched: Any, report: Path) -> None:
    page = watched.page
    page.goto(report.as_uri())
    shown = page.locator(SHOWN)
    expect(shown).to_have_attribute("aria-labelledby", "overview")
    # Figures of other pages are not drawn.
    assert page.locator(".main-svg").count() == 0
    pages = page.get_by_role("navigation", name="Pages")
    pages.get_by_role("link", name="Geometry").press("Enter")
    expect(shown).to_have_attribute("aria-labelledby", "geometry")
    expect(pages.get_by_role("link", name="Geometry")).to_have_attribute("aria-current", "page")
    expect(page.get_by_role("heading", name="Geometry")).to_be_focused()
    assert page.title().startswith("Geometry · ")
    expect(page.locator("#figure-scatter .main-svg").first).to_be_visible()
    shown.get_by_role("link", name="Next Hidden answers").click()
    expect(shown).to_have_attribute("aria-labelledby", "hidden")
    page.go_back()
    expect(shown).to_have_attribute("aria-labelledby", "geometry")
    # The link that skips the pages' list turns no page.
    page.locator(".skip").press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    expect(shown).to_have_attribute("aria-labelledby", "geometry")
    assert watched.complaints == []


def test_a_figure_can_be_linked_to_and_what_is_unknown_is_the_overview(
    watched: Any, report: Path
) -> None:
    page = watched.page
    page.goto(f"{report.as_uri()}#about-scatter")
    expect(page.locator(SHOWN)).to_have_attribute("aria-labelledby", "geometry")
    expect(page.locator("#about-scatter")).to_be_in_viewport()
    page.goto(f"{report.as_uri()}#nothing-of-the-kind")
    expect(page.locator(SHOWN)).to_have_attribute("aria-labelledby", "overview")
    assert watched.complaints == []


def test_every_page_is_printed_in_light_with_every_figure(watched: Any, report: Path) -> None:
    page = watched.page
    page.emulate_media(color_scheme="dark")
    page.goto(report.as_uri())
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator(SHOWN).count() == page.locator(".site-page").count() > 10
    assert page.locator(".plot:not(:has(.main-svg))").count() == 0
    assert page.locator("html").get_attribute("data-theme") == "light"
    page.emulate_media(media="print")
    assert not page.get_by_role("navigation", name="Pages").is_visible()
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    expect(page.locator(SHOWN)).to_have_count(1)
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert watched.complaints == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_rule_of_accessibility_is_broken(watched: Any, report: Path, theme: str) -> None:
    watched.page.emulate_media(color_scheme=theme)
    watched.open(report, 8)
    assert watched.violations() == []
    for name in ("overview", "part-conversations"):
        watched.page.goto(f"{report.as_uri()}#{name}")
        assert watched.violations() == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nor_by_the_report_of_two_models(watched: Any, pair_report: Path, theme: str) -> None:
    watched.page.emulate_media(color_scheme=theme)
    watched.open(pair_report, 4)
    assert watched.violations() == []
    watched.page.goto(f"{pair_report.as_uri()}#overview")
    assert watched.violations() == []


def test_a_conversation_is_picked_and_looked_into(watched: Any, report: Path) -> None:
    page = watched.page
    page.goto(f"{report.as_uri()}#part-conversations")
    stage = page.locator(".stage")
    expect(stage.get_by_role("heading", level=3)).to_have_text("Asked by nobody in particular")
    picked = page.get_by_role("button", name=re.compile("^selfish, as text: "))
    picked.press("Enter")
    expect(picked).to_have_attribute("aria-pressed", "true")
    expect(picked).to_be_focused()
    expect(page.get_by_role("status")).to_contain_text("Shown: selfish, as text")
    expect(stage.get_by_role("heading", level=3)).to_have_text("Asked by selfish, as text")
    strip = stage.locator(".token-strip .strip .piece")
    assert strip.all_inner_texts() == ["<bos>", "i", "am", "selfish", *map(visible, HOSTILE)]
    # The lens and attention are drawn when they are seen; the lens answers to the arrow keys.
    stage.locator(".lens-grid").scroll_into_view_if_needed()
    expect(stage.locator(".lens-grid")).to_have_attribute("data-drawn", "")
    stage.locator(".lens-grid td[tabindex='0']").press("ArrowRight")
    expect(stage.get_by_role("tooltip")).to_contain_text("token 1")
    stage.locator(".attention").scroll_into_view_if_needed()
    expect(stage.locator(".attention")).to_have_attribute("data-drawn", "")
    # Another request: its own table, asked by nobody first; then back to what was open.
    page.get_by_label("Request", exact=True).select_option("1")
    assert page.locator(".asked:not([hidden])").count() == 1
    expect(stage.get_by_role("heading", level=3)).to_have_text("Asked by nobody in particular")
    page.get_by_label("Request", exact=True).select_option("0")
    picked.click()
    expect(stage.locator(".attention")).to_have_attribute("data-drawn", "")
    assert page.evaluate("window.owned") is None
    assert watched.requests == [report.as_uri()]
    assert watched.complaints == []


def test_without_scripts_it_is_one_page_with_all_answers(report: Path, page: Any) -> None:
    context = page.context.browser.new_context(offline=True, java_script_enabled=False)
    bare = context.new_page()
    bare.goto(report.as_uri())
    for heading in bare.locator("h2:not(#overview)").all():
        assert heading.is_visible()
    assert bare.locator(".matrix small").count() == 14
    assert all(each.is_visible() for each in bare.locator(".matrix small").all())
    assert bare.locator(".turn").first.is_hidden()
    context.close()
