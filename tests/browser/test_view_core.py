"""Views in a real browser: nothing hostile runs, nothing is asked for, everyone can use them."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from playwright.sync_api import expect

from lens_personas.models import visible
from lens_personas.views import (
    DARK,
    LIGHT,
    View,
    attention_heads,
    lens_grid,
    page_parts,
    token_strip,
)
from lens_personas.views._page import policy

pytestmark = pytest.mark.browser
HOSTILE = (
    "<bos>",
    "</script><script>window.owned = 1</script>",
    "<img src=x onerror='window.owned = 1'>",
    "<svg/onload=window.owned=1>",
    "<s>",
    "{{7*7}}",
    "&lt;b&gt;",
    "\"'`",
    "‮evil⁦",
    "</iframe><!--",
    " a\n",
    "",
)
PLAIN = tuple(f"word{at}" for at in range(12))


def strip(tokens: Sequence[str], **options: Any) -> View:
    values = torch.linspace(-2, 3, len(tokens))
    values[1] = float("nan")
    return token_strip(tokens, values, **{"title": "Strip", "unit": "nats", **options})


def lens(tokens: Sequence[str], **options: Any) -> View:
    n, vocabulary = len(tokens), [*tokens, "twice", "thrice"]
    ids = torch.arange(3 * n * 3).reshape(3, n, 3) % len(vocabulary)
    shares = torch.tensor([0.7, 0.2, 0.1]).log().expand(3, n, 3)
    table = SimpleNamespace(
        tokens=tokens,
        layers=(0, 2, 4),
        ids=ids,
        tokens_of=dict(enumerate(vocabulary)),
        log_probs=shares,
        is_exact=True,
    )
    return lens_grid(table, **options)


def attention(tokens: Sequence[str], **options: Any) -> View:
    """Head 0 looks at itself, head 1 at the first token."""
    n = len(tokens)
    first = torch.zeros(n, n)
    first[:, 0] = 1.0
    patterns = torch.stack([torch.eye(n), first]).expand(3, 2, n, n)
    return attention_heads(
        SimpleNamespace(tokens=tokens, layers=(1, 3, 5), patterns=patterns), **options
    )


def circuitsvis(tokens: Sequence[str], **options: Any) -> View:
    return attention(tokens, drawn_by="circuitsvis", **options)


VIEWS = (strip, lens, attention, circuitsvis)


@pytest.mark.parametrize("make", VIEWS, ids=lambda each: each.__name__)
def test_hostile_text_is_shown_never_run_and_everyone_can_read_it(
    watched: Any, tmp_path: Path, make: Callable[..., View]
) -> None:
    path = make(HOSTILE, title=HOSTILE[1]).save(tmp_path / "view.html")
    watched.show(path)
    page = watched.page
    shown = page.locator(".piece").all_text_contents()
    assert {visible(token) or "∅" for token in HOSTILE} <= set(shown)
    assert page.locator("h1").inner_text() == HOSTILE[1]
    assert page.locator("main :is(img, iframe, script, s, svg)").count() == 0
    assert page.evaluate("window.owned") is None
    # With all that can be opened open, and a part in focus.
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    page.locator("[data-keys] [tabindex='0']").last.focus()
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        assert watched.violations() == []
    assert watched.requests == [path.as_uri()]
    assert watched.complaints == []


def test_a_page_that_could_run_text_would_be_caught(watched: Any, tmp_path: Path) -> None:
    path = tmp_path / "view.html"
    path.write_text(f"<!doctype html><p>{HOSTILE[1]}<img src=https://example.org/x.png>")
    watched.show(path)
    assert watched.page.evaluate("window.owned") == 1
    assert watched.requests == [path.as_uri(), "https://example.org/x.png"]
    assert watched.violations() != []


def test_the_policy_stops_what_an_error_of_ours_let_through(watched: Any, tmp_path: Path) -> None:
    text = strip(PLAIN).html().replace("</main>", HOSTILE[1] + HOSTILE[2] + "</main>")
    path = tmp_path / "view.html"
    path.write_text(text)
    watched.show(path)
    assert watched.page.evaluate("window.owned") is None
    assert any("Content Security Policy" in each for each in watched.complaints)


def test_a_strip_is_read_by_arrow_keys(watched: Any, tmp_path: Path) -> None:
    watched.show(strip(PLAIN).save(tmp_path / "view.html"))
    keys, tip = watched.page.keyboard, watched.page.locator("[role=tooltip]")
    keys.press("Tab")
    assert tip.inner_text() == "word0, token 0: −2.00 nats"
    keys.press("ArrowRight")
    assert tip.inner_text() == "word1, token 1: no value"
    keys.press("End")
    assert tip.inner_text() == "word11, token 11: +3.00 nats"
    focused = watched.page.locator("[role=option]:focus")
    assert focused.inner_text() == "word11"
    assert focused.get_attribute("aria-describedby") == tip.get_attribute("id")
    keys.press("Escape")
    assert tip.count() == 0
    watched.page.get_by_role("option", name="word5").hover()
    assert tip.inner_text().startswith("word5, token 5")


def test_a_grid_says_the_likeliest_tokens_of_a_cell(watched: Any, tmp_path: Path) -> None:
    watched.show(lens(PLAIN).save(tmp_path / "view.html"))
    keys, tip = watched.page.keyboard, watched.page.locator("[role=tooltip]")
    keys.press("Tab")
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowDown", "ArrowUp"):
        keys.press(key)
    # The last layer is on top, so one down is layer 2, whose ids begin at 36 of a row of 14.
    cell = watched.page.locator("td:focus")
    assert cell.inner_text() == PLAIN[(36 + 2 * 3) % 14]
    assert tip.locator(".where").inner_text() == "after block 2, at “word2” (token 2)"
    assert tip.locator("td:first-child").all_inner_texts() == list(PLAIN[:3])
    assert tip.locator("td:nth-child(2)").all_inner_texts() == [
        f"{share}\u2009%" for share in ("70.0", "20.0", "10.0")
    ]


def test_a_planted_pattern_is_told_by_head_and_token(watched: Any, tmp_path: Path) -> None:
    watched.show(attention(PLAIN).save(tmp_path / "view.html"))
    page, said = watched.page, watched.page.locator(".said")
    assert said.inner_text() == "Head 0: word11 (token 11) looks at word11 1.00"
    page.get_by_role("radio", name="Head 0").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("radio", name="Head 1").get_attribute("aria-checked") == "true"
    assert said.inner_text() == "Head 1: word11 (token 11) looks at word0 1.00"
    page.get_by_role("option", name="word4").click()
    assert said.inner_text() == "Head 1: word4 (token 4) looks at word0 1.00"
    page.get_by_label("Colour").select_option("in")
    assert said.inner_text() == "Head 1: word4 (token 4) is looked at by nobody"
    page.get_by_label("Block").select_option(label="5")
    page.locator("summary").click()
    rows = page.locator(".table tbody tr")
    assert rows.nth(7).inner_text() == "7\tword7\tword0 1.00, word1 0.00, word2 0.00"
    box = page.locator(".square").bounding_box()
    page.mouse.move(box["x"] + 1, box["y"] + box["height"] * 6.5 / 12)
    assert said.inner_text() == "Head 1: word6 (token 6) looks at word0 1.00"
    assert watched.complaints == []


def test_a_pattern_has_the_colours_of_the_screen_or_of_paper(watched: Any, tmp_path: Path) -> None:
    watched.show(attention(PLAIN).save(tmp_path / "view.html"))
    canvas = "document.querySelector('.square canvas').getContext('2d')"
    first = f"() => [...{canvas}.getImageData(0, 0, 1, 1).data]"
    frame = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    for media, system, theme in (
        ("screen", "light", LIGHT),
        ("screen", "dark", DARK),
        ("print", "dark", LIGHT),
    ):
        watched.page.emulate_media(media=media, color_scheme=system)
        watched.page.evaluate(frame)
        # The first token looks at itself alone.
        wanted = [*bytes.fromhex(theme.sequential[-1][1][1:]), 255]
        assert watched.page.evaluate(first) == wanted


def test_circuitsvis_draws_every_head_of_the_block(watched: Any, tmp_path: Path) -> None:
    watched.show(circuitsvis(PLAIN).save(tmp_path / "view.html"))
    # Both heads, and the one that is chosen.
    expect(watched.page.locator(".circuitsvis canvas")).to_have_count(3)
    assert "Head 1" in watched.page.locator(".circuitsvis").inner_text()


@pytest.mark.slow
def test_32_heads_of_512_tokens_are_light_and_open_at_once(watched: Any, tmp_path: Path) -> None:
    n, later = 512, torch.ones(512, 512).triu(1).bool()
    logits = torch.randn(1, 32, n, n, generator=torch.Generator().manual_seed(0))
    patterns = (3 * logits).masked_fill(later, -torch.inf).softmax(-1)
    tokens = [HOSTILE[at % len(HOSTILE)] for at in range(n)]
    given = SimpleNamespace(tokens=tokens, layers=(7,), patterns=patterns)
    path = attention_heads(given).save(tmp_path / "view.html")
    assert path.stat().st_size < 8e6
    seconds = []
    # The better of two: another process may be in the way of one.
    while len(seconds) < 2 and min(seconds, default=9.0) >= 3.0:
        watched.show(path)
        drawn = "new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"
        watched.page.evaluate(drawn)
        seconds.append(watched.page.evaluate("performance.now()") / 1000)
    assert min(seconds) < 3.0, seconds
    assert watched.page.get_by_role("radio").count() == 32
    assert watched.page.evaluate("window.owned") is None
    assert watched.complaints == []


def test_a_notebook_shows_a_frame_that_is_kept_in(watched: Any, tmp_path: Path) -> None:
    frames = "".join(make(HOSTILE)._repr_html_() for make in (strip, attention))
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><title>Notebook</title>{frames}")
    page = watched.page
    page.goto(path.as_uri())
    for index, title in enumerate(("Strip", "Where each head looks")):
        frame = page.frames[1 + index]
        expect(frame.locator("[data-draw]:not([data-drawn])")).to_have_count(0)
        assert frame.locator("h1").inner_text() == title
        assert frame.evaluate("window.origin") == "null"
        assert frame.evaluate("window.owned") is None
    assert page.locator("iframe").evaluate_all("all => all.map(each => each.title)") == [
        "Strip",
        "Where each head looks",
    ]
    assert page.evaluate("window.owned") is None
    assert {each for each in watched.requests if not each.startswith("about:")} == {path.as_uri()}
    assert watched.complaints == []


def test_views_share_a_page_and_wait_until_they_are_shown(watched: Any, tmp_path: Path) -> None:
    parts = page_parts([attention(PLAIN), lens(PLAIN), attention(PLAIN)])
    allowed = policy(scripts=[each.source for each in parts.scripts], styles=[parts.css])
    scripts = "".join(f"<script>{each.source}</script>" for each in parts.scripts)
    path = tmp_path / "page.html"
    path.write_text(
        f'<!doctype html><meta charset=utf-8><meta http-equiv="Content-Security-Policy" '
        f'content="{allowed}"><title>Page</title><style>{parts.css}</style>'
        f"{parts.bodies[0]}<section hidden>{parts.bodies[1]}{parts.bodies[2]}</section>"
        f"{parts.data}{scripts}"
    )
    assert [each.name for each in parts.scripts] == ["views", "attention", "lens-grid"]
    page = watched.page
    page.goto(path.as_uri())
    drawn = page.locator("[data-drawn]")
    expect(drawn).to_have_count(1)
    page.evaluate("document.querySelector('section').hidden = false")
    page.locator("#view-3").scroll_into_view_if_needed()
    expect(drawn).to_have_count(3)
    assert watched.complaints == []


def test_a_theme_is_followed_or_kept(watched: Any, tmp_path: Path) -> None:
    view, grounds = strip(PLAIN), {}
    for theme in ("auto", "dark", "light"):
        path = view.save(tmp_path / f"{theme}.html", theme=theme)
        for system in ("light", "dark"):
            watched.show(path, theme=system)
            channels = re.findall(r"\d+", watched.background())
            grounds[theme, system] = "light" if int(channels[0]) > 128 else "dark"
    assert grounds == {
        (theme, system): system if theme == "auto" else theme
        for theme in ("auto", "dark", "light")
        for system in ("light", "dark")
    }
