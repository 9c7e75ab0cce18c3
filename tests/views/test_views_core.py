"""A view as text: what is in it, what is refused, what is kept of the numbers."""

import base64
import json
import re
import zlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from markupsafe import Markup, escape

from lens_personas.views import (
    DARK,
    LIGHT,
    Script,
    View,
    attention_heads,
    lens_grid,
    page_parts,
    token_strip,
)
from lens_personas.views import _view as view_module
from lens_personas.views._looks import LEVELS, contrast, ink_on
from lens_personas.views._page import json_markup, source_hash
from lens_personas.views._scale import STEPS, scale_css, step_colour

OURS = View(title="<b>", body=Markup("<p>said</p>"), summary="A & B.", data={"of": "</script>"})


def patterns(n: int = 6, heads: int = 2, layers: int = 3) -> Any:
    logits = 4 * torch.randn(layers, heads, n, n, generator=torch.Generator().manual_seed(0))
    later = torch.ones(n, n).triu(1).bool()
    return SimpleNamespace(
        tokens=tuple(f"w{at}" for at in range(n)),
        layers=tuple(range(layers)),
        patterns=logits.masked_fill(later, -torch.inf).softmax(-1),
    )


def table(n: int = 4, layers: int = 3) -> Any:
    return SimpleNamespace(
        tokens=tuple(f"w{at}" for at in range(n)),
        layers=tuple(range(layers)),
        ids=torch.arange(layers * n * 2).reshape(layers, n, 2) % 5,
        tokens_of={at: f"v{at}" for at in range(5)},
        log_probs=torch.tensor([0.75, 0.25]).log().expand(layers, n, 2),
        is_exact=False,
    )


def test_a_page_runs_its_own_scripts_and_loads_nothing() -> None:
    text = replace(OURS, scripts=(Script(name="own", source="let own = 1;"),)).html()
    (allowed,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    allowed = allowed.replace("&#39;", "'")
    assert allowed.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in allowed
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert [source_hash(each) in allowed for each in scripts] == [True, True]
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert source_hash(style) in allowed
    assert not re.search(r"https?://|\ssrc=|\shref=", text)
    assert "<title>&lt;b&gt;</title>" in text
    assert r'"of":"\u003c/script\u003e"' in text


def test_a_notebook_gets_the_page_in_a_frame_that_may_run_scripts_alone() -> None:
    frame = OURS._repr_html_()
    assert frame.startswith(
        '<iframe title="&lt;b&gt;" sandbox="allow-scripts" srcdoc="&lt;!doctype'
    )
    assert str(escape(OURS.html())) in frame
    assert type(frame) is str


def test_what_would_run_is_refused() -> None:
    with pytest.raises(ValueError, match="body with text escaped and no script"):
        View(title="t", body=Markup("<p><SCRIPT>1</SCRIPT></p>"), summary="s")
    with pytest.raises(ValueError, match="without a closing tag or comment"):
        Script(name="s", source="let text = '</Script>';")
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_markup({"value": float("nan")})


def test_scripts_stand_in_a_page_once_and_data_by_view() -> None:
    own = Script(name="own", source="1;")
    parts = page_parts([replace(OURS, scripts=(own,))] * 2, prefix="shown")
    assert [each.name for each in parts.scripts] == ["views", "own"]
    assert ['id="shown-1"' in parts.bodies[0], 'id="shown-2"' in parts.bodies[1]] == [True, True]
    assert parts.data.count("shown-1-data") == parts.data.count("shown-2-data") == 1
    other = replace(OURS, scripts=(Script(name="own", source="2;"),))
    with pytest.raises(ValueError, match="two called 'own' that differ"):
        page_parts([replace(OURS, scripts=(own,)), other])


def test_the_ending_says_what_is_written(tmp_path: Path) -> None:
    strip = token_strip(["a", "b"], torch.tensor([1.0, -1.0]), title="t", unit="nats")
    assert strip.save(tmp_path / "a.html").read_text(encoding="utf-8") == strip.html()
    assert "<svg" in strip.save(tmp_path / "a.svg").read_text(encoding="utf-8")
    assert strip.save(str(tmp_path / "a.v2.png")) == tmp_path / "a.v2.png"
    assert (tmp_path / "a.v2.png").read_bytes()[:4] == b"\x89PNG"
    drawn = replace(OURS, drawing=lambda theme: f"<svg>{theme.name}</svg>")
    assert drawn.save(tmp_path / "d.svg", theme="dark").read_text() == "<svg>dark</svg>"
    with pytest.raises(ValueError, match=r"ends in \.html, \.svg or \.png, got"):
        strip.save(tmp_path / "a.pdf")
    with pytest.raises(ValueError, match=r"interactive only; save it as 'a\.html'"):
        OURS.save(tmp_path / "a.svg")
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "a.html",
        "a.svg",
        "a.v2.png",
        "d.svg",
    ]


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = OURS.save(tmp_path / "view.html")
    before = path.read_text(encoding="utf-8")

    def refuse(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        replace(OURS, title="other").save(path)
    assert path.read_text(encoding="utf-8") == before
    assert list(tmp_path.iterdir()) == [path]


def test_every_style_sheet_is_there_and_styles_no_page_but_its_view() -> None:
    css = view_module._css()
    inner = re.sub(r"@media[^{]+\{", "", css)
    selectors = [each for group in re.findall(r"([^{}]+)\{", inner) for each in group.split(",")]
    assert {each.split()[0] for each in selectors if each.strip()} == {".view", ".drawing"}


def test_every_step_of_the_scales_can_be_read() -> None:
    rules = re.findall(
        r"\.view \.([cs]\d+) \{ background-color: light-dark\((\S+), (\S+)\); "
        r"color: light-dark\((\S+), (\S+)\)",
        scale_css(),
    )
    assert len(rules) == LEVELS + STEPS
    for _, light, dark, on_light, on_dark in rules:
        assert min(contrast(light, on_light), contrast(dark, on_dark)) >= 4.5
    ends = [step_colour(theme, share) for theme in (LIGHT, DARK) for share in (0.0, 1.0)]
    assert ends == [theme.sequential[at][1] for theme in (LIGHT, DARK) for at in (0, -1)]
    assert ink_on("#ffffff") == "#000000"


@pytest.mark.parametrize(
    ("options", "looks", "ends"),
    [
        ({}, ["c0", "c20", "c40"], ["−2.00", "+2.00"]),
        ({"limit": 1.0}, ["c0", "c20", "c40"], ["≤ −1.00", "≥ +1.00"]),
        ({"centre": 2.0}, ["c0", "c10", "c20"], ["−2.00", "+6.00"]),
        ({"centre": None}, ["s0", "s10", "s20"], ["−2.00", "2.00"]),
    ],
)
def test_a_strip_colours_by_value(options: Any, looks: list[str], ends: list[str]) -> None:
    values = torch.tensor([-2.0, 0.0, 2.0])
    body = token_strip(["a", "b", "c"], values, title="t", unit="u", **options).body
    assert re.findall(r'class="piece (\w+)" role', body) == looks
    assert re.findall(r'class="bar"><span>(.*?)</span>.*?<span>([^<]*)</span></span>', body) == [
        tuple(ends)
    ]


def test_a_strip_says_what_there_is() -> None:
    strip = token_strip(["a", "b"], torch.tensor([float("nan"), 3.0]), title="t", unit="nats")
    assert "highest is +3.00 at “b”" in strip.summary
    assert "a, token 0: no value" in strip.body
    nothing = token_strip(["a"], torch.tensor([float("nan")]), title="t", unit="nats")
    assert nothing.summary == "1 tokens, none with a value."
    assert 'class="piece c20"' in token_strip(["a"], torch.zeros(1), title="t", unit="u").body


@pytest.mark.parametrize(
    ("tokens", "values", "options", "message"),
    [
        ([], [], {}, "at least one token and a value for each, got 0 tokens"),
        (["a"], [1.0, 2.0], {}, "got 1 tokens and 2 values"),
        (["a"], [float("inf")], {}, "expected finite values, .* got inf at token 0"),
        (["a"], [1.0], {"limit": 0.0}, "expected a finite limit above 0, got limit=0.0"),
        (["a"], [1.0], {"limit": 1.0, "centre": None}, "above the least value, got limit=1.0"),
    ],
)
def test_a_strip_refuses_what_it_cannot_show(
    tokens: list[str], values: list[float], options: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        token_strip(tokens, torch.tensor(values), title="t", unit="u", **options)


def test_a_grid_has_the_last_layer_on_top_and_keeps_the_numbers() -> None:
    given = table()
    view = lens_grid(given)
    rows = re.findall(r'<th scope="row">(\d+)</th>(.*?)</tr>', view.body, re.DOTALL)
    assert [int(layer) for layer, _ in rows] == [2, 1, 0]
    cells = [re.findall(r'class="piece">(\w+)<', row) for _, row in rows]
    assert cells == [[f"v{top[0]}" for top in row] for row in given.ids.flip(0).tolist()]
    same = [[first == last for first, last in zip(row, cells[0], strict=True)] for row in cells]
    marked = [
        [" same" in look for look in re.findall(r'<td class="([^"]+)"', row)] for _, row in rows
    ]
    assert marked == same
    data: Any = view.data
    shown = [data["texts"][at] for at in data["top"]]
    assert shown == [f"v{each}" for each in given.ids.flip(0).flatten().tolist()]
    assert data["percent"] == [75.0, 25.0] * 12


def test_a_grid_refuses_what_does_not_fit() -> None:
    given = table()
    given.layers = (0, 1)
    with pytest.raises(ValueError, match=r"shape \[layer pos k\] = \[2, 4, 'k'\].*got \[3, 4, 2\]"):
        lens_grid(given)
    with pytest.raises(ValueError, match="at most 50000 cells, got 51 layers of 1000 tokens"):
        lens_grid(table(n=1000, layers=51))


def test_attention_is_kept_to_a_part_in_250_and_small_shares_apart() -> None:
    given = patterns(n=40)
    view: Any = attention_heads(given)
    lower = np.tril_indices(40)
    for packed, of_layer in zip(view.data["packed"], given.patterns.numpy(), strict=True):
        kept = np.frombuffer(zlib.decompress(base64.b64decode(packed)), dtype=np.uint8)
        shares, wanted = (kept / 255.0) ** 2, of_layer[:, lower[0], lower[1]].ravel()
        assert np.abs(shares - wanted).max() <= 0.004
        assert (shares[wanted > 1e-4] > 0).all()
    assert len(json.dumps(view.data)) < 3 * 2 * 820 * 4 / 3 + 2000


def test_attention_of_one_layer_is_that_layer() -> None:
    given = patterns()
    every: Any = attention_heads(given).data
    one = attention_heads(given, layer=1)
    data: Any = one.data
    assert data["packed"] == every["packed"][1:2]
    assert re.findall(r"<option value=\"0\">(\d+)</option>", one.body) == ["1"]
    strongest = given.patterns[1, :, -1].max()
    assert f"{float(strongest):.2f}." in one.summary


def test_circuitsvis_is_its_own_bundle_once() -> None:
    views = [attention_heads(patterns(), drawn_by="circuitsvis") for _ in range(2)]
    parts = page_parts(views)
    assert [each.name for each in parts.scripts] == ["views", "circuitsvis", "attention"]
    bundle = parts.scripts[1].source
    assert bundle.startswith('"use strict";var CircuitsVis=')
    assert "sourceMappingURL" not in bundle
    assert len(bundle) < 1.4e6
    assert len(page_parts([attention_heads(patterns())]).scripts) == 2


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        ({"layers": (0,)}, {}, r"1 layers and 6 tokens, none of them 0; got \[3, 2, 6, 6\]"),
        ({"patterns": torch.full((3, 2, 6, 6), 2.0)}, {}, r"from 0 to 1, got 2\.0 to 2\.0"),
        ({"patterns": torch.full((3, 2, 6, 6), 1 / 6)}, {}, "look at no later token"),
        ({}, {"layer": 7}, r"a layer among \[0, 1, 2\], got 7"),
    ],
)
def test_attention_refuses_what_is_none(changed: Any, options: Any, message: str) -> None:
    given = patterns()
    vars(given).update(changed)
    with pytest.raises(ValueError, match=message):
        attention_heads(given, **options)


def test_attention_that_no_page_can_hold_is_refused() -> None:
    zeros = torch.zeros(1).expand(64, 32, 256, 256)
    given = SimpleNamespace(tokens=["w"] * 256, layers=tuple(range(64)), patterns=zeros)
    with pytest.raises(ValueError, match=r"at most 33554432 bytes of attention, got 67371008"):
        attention_heads(given)
    with pytest.raises(
        ValueError, match="at most 40000 cells for CircuitsVis, got 32 heads of 256²"
    ):
        attention_heads(given, layer=3, drawn_by="circuitsvis")


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_every_view_has_a_figure_for_print(theme: Any) -> None:
    strip = token_strip(["<b>", "b"], torch.tensor([1.0, -1.0]), title="t", unit="nats", limit=0.5)
    for view in (strip, lens_grid(table()), attention_heads(patterns(heads=5))):
        assert view.figure is not None
        figure = view.figure(theme)
        assert isinstance(figure, go.Figure)
        assert figure.layout.paper_bgcolor == theme.paper
    assert strip.figure is not None
    assert strip.figure(theme).layout.yaxis.ticktext == ("&lt;b&gt;", "b")
