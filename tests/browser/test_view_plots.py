"""Heatmaps, lines and circuits in a real browser: nothing runs, everyone can read every number."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from playwright.sync_api import expect

from lens_personas.hooks import Site
from lens_personas.interventions import Edge, ModelGraph, Node
from lens_personas.models import visible
from lens_personas.views import (
    ProjectionBand,
    View,
    circuit_diagram,
    cosine_map,
    head_heatmap,
    page_parts,
    patch_heatmap,
    projection_line,
)
from lens_personas.views._page import policy

pytestmark = pytest.mark.browser
HOSTILE = (
    "<bos>",
    "</script><script>window.owned = 1</script>",
    "<img src=x onerror='window.owned = 1'>",
    "<s>",
    "{{7*7}}",
    "\"'`&lt;",
    "\u202eevil",
    "",
)
PLAIN = tuple(f"word{at}" for at in range(8))


def patching(texts: Sequence[str], title: str) -> View:
    n = len(texts)
    effect = torch.zeros(1, 3, n)
    effect[0, 1, 2], effect[0, 2, 0], effect[0, 0, 1] = 1.0, -0.5, torch.nan
    grid = SimpleNamespace(
        site=Site.RESID_PRE,
        layers=(0, 1, 2),
        positions=tuple(range(n)),
        values=effect,
        clean=torch.ones(1),
        corrupted=torch.zeros(1),
    )
    p = torch.full((3, n), 0.5)
    p[1, 2] = 0.001
    return patch_heatmap(grid, texts, title=title, p=p)


def heads(texts: Sequence[str], title: str) -> View:
    return head_heatmap(torch.eye(4), title=title, unit=texts[2])


def cosines(texts: Sequence[str], title: str) -> View:
    n = len(texts)
    values = torch.full((n, n), 0.3) + 0.7 * torch.eye(n)
    return cosine_map(texts, values, title=title, ceilings=torch.full((n, n), 0.9))


def line(texts: Sequence[str], title: str) -> View:
    n = len(texts)
    trace = SimpleNamespace(
        tokens=tuple(texts),
        roles=("template", *["user"] * (n - 1)),
        turns=(-1, *[0] * (n - 1)),
        layer=2,
        site=Site.RESID_POST,
        values=torch.arange(n) - 2.0,
    )
    band = ProjectionBand(low=torch.full((n,), -1.0), high=torch.ones(n), name=texts[2])
    return projection_line(trace, band, title=title, direction=texts[3])


def circuit(texts: Sequence[str], title: str) -> View:
    edges = {
        Edge(Node("embed"), Node("attn", 0)): 0.1,
        Edge(Node("head", 0, 1), Node("mlp", 1)): -0.2,
        Edge(Node("mlp", 1), Node("logits")): 0.6,
    }
    graph = ModelGraph(n_layers=2, n_heads=2)
    return circuit_diagram(edges, graph=graph, title=title, unit=texts[2])


VIEWS = (patching, heads, cosines, line, circuit)


@pytest.mark.parametrize("make", VIEWS, ids=lambda each: each.__name__)
def test_hostile_text_is_shown_never_run_and_everyone_can_read_it(
    watched: Any, tmp_path: Path, make: Callable[..., View]
) -> None:
    path = make(HOSTILE, HOSTILE[1]).save(tmp_path / "view.html")
    watched.show(path)
    page = watched.page
    assert page.locator("h1").inner_text() == HOSTILE[1]
    page.locator("summary").click()
    shown = page.locator("main").inner_text()
    assert HOSTILE[2] in shown or visible(HOSTILE[2]) in shown
    assert page.locator("main :is(img, iframe, script, s)").count() == 0
    assert page.evaluate("window.owned") is None
    assert watched.violations() == []
    page.emulate_media(color_scheme="dark")
    assert watched.violations() == []
    assert watched.requests == [path.as_uri()]
    assert watched.complaints == []


def test_a_heatmap_is_read_by_keys_by_pointer_and_as_a_table(watched: Any, tmp_path: Path) -> None:
    watched.show(patching(PLAIN, "Where").save(tmp_path / "view.html"))
    page, said = watched.page, watched.page.get_by_role("status")
    assert said.inner_text().startswith("Point at a cell")
    page.keyboard.press("Tab")
    for key in ("ArrowRight", "ArrowDown", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    # The first key chooses the upper left cell: the last layer, the first token.
    assert said.inner_text() == "layer 1, “word2” at 2: 1.00 (p 0.001)"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowUp")
    assert said.inner_text() == "layer 2, “word0” at 0: −0.50 (p 0.500)"
    data = patching(PLAIN, "Where").data
    box = page.locator("svg").bounding_box()
    across, up = data["cell"]
    x, y = data["left"] + 1.5 * across, data["top"] + 2.5 * up
    page.mouse.move(box["x"] + x, box["y"] + y)
    assert said.inner_text() == "layer 0, “word1” at 1: no value (p 0.500)"
    page.get_by_text("Table of numbers").click()
    rows = page.get_by_role("row").all_inner_texts()
    assert len(rows) == 4
    assert rows[1].split("\t")[:2] == ["layer 2", "−0.50 (p 0.500)"]


def test_a_line_is_read_token_by_token(watched: Any, tmp_path: Path) -> None:
    watched.show(line(PLAIN, "Line").save(tmp_path / "view.html"))
    page, said = watched.page, watched.page.get_by_role("status")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("End")
    assert said.inner_text() == "“word7” at 7, user: 5.00 (word2 −1.00 to 1.00)"
    page.get_by_text("Table of numbers").click()
    assert page.get_by_role("row").nth(1).inner_text() == "“word0” at 0\t−2.00\t−1.00 to 1.00"


def test_a_part_of_a_circuit_shows_its_edges(watched: Any, tmp_path: Path) -> None:
    watched.show(circuit(PLAIN, "Circuit").save(tmp_path / "view.html"))
    page, near = watched.page, watched.page.locator(".edge.near")
    names = page.locator(".part").evaluate_all("all => all.map(each => each.dataset.part)")
    assert set(names) == {"attn-0", "embed", "head-0.1", "mlp-1", "logits"}
    page.locator("[data-part='mlp-1']").focus()
    said = page.get_by_role("status")
    assert said.inner_text() == "mlp 1: reads head 0.1 −0.20; writes to logits +0.60"
    assert near.count() == 2
    page.locator("[data-part=embed]").hover()
    assert near.count() == 1
    page.mouse.move(0, 0)
    assert near.count() == 2
    page.get_by_text("Table of numbers").click()
    assert page.get_by_role("row").nth(1).inner_text() == "mlp 1 → logits\t+0.60"


def test_plots_share_a_page_and_one_script(watched: Any, tmp_path: Path) -> None:
    parts = page_parts([make(PLAIN, make.__name__) for make in VIEWS])
    assert [each.name for each in parts.scripts] == ["views", "plots"]
    allowed = policy(scripts=[each.source for each in parts.scripts], styles=[parts.css])
    scripts = "".join(f"<script>{each.source}</script>" for each in parts.scripts)
    path = tmp_path / "page.html"
    path.write_text(
        f'<!doctype html><meta charset=utf-8><meta http-equiv="Content-Security-Policy" '
        f'content="{allowed}"><title>Page</title><style>{parts.css}</style>'
        f"{''.join(parts.bodies)}{parts.data}{scripts}"
    )
    page = watched.page
    page.goto(path.as_uri())
    for number in range(1, len(VIEWS) + 1):
        page.locator(f"#view-{number} .picture").scroll_into_view_if_needed()
    expect(page.locator("[data-drawn]")).to_have_count(len(VIEWS))
    page.locator("#view-2 .picture").focus()
    page.keyboard.press("ArrowRight")
    said = page.get_by_role("status")
    assert said.nth(1).inner_text() == "layer 3, head 0: 0.00"
    assert said.nth(3).inner_text().startswith("Point at a token")
    assert watched.complaints == []


def test_a_wide_picture_scrolls_in_itself_on_a_phone(watched: Any, tmp_path: Path) -> None:
    watched.page.set_viewport_size({"width": 390, "height": 844})
    watched.show(patching([*PLAIN * 8], "Wide").save(tmp_path / "view.html"))
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= 390
    picture = watched.page.locator(".picture")
    assert picture.evaluate("each => each.scrollWidth > each.clientWidth")
