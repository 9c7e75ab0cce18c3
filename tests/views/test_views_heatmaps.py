"""Heatmaps: planted cells are where they were planted, and nothing is claimed beyond the data."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch import Tensor

from lens_personas.hooks import Site
from lens_personas.interventions import HeadGrid, PatchGrid
from lens_personas.views import DARK, LIGHT, View, cosine_map, head_heatmap, patch_heatmap

TOKENS = ("<bos>", "a", "doctor", "</s>")
CLEAN, CORRUPTED = torch.tensor([4.0, 1.0]), torch.tensor([-2.0, -1.0])


def planted(effect: Tensor) -> PatchGrid:
    """Both prompts go the same share of the way."""
    way = (CLEAN - CORRUPTED)[:, None, None]
    return PatchGrid(
        site=Site.RESID_PRE,
        layers=(0, 2, 4),
        positions=(0, 1, 2, 3),
        values=CORRUPTED[:, None, None] + way * effect,
        clean=CLEAN,
        corrupted=CORRUPTED,
    )


def at(layer: int, position: int, share: float = 0.75) -> Tensor:
    effect = torch.zeros(3, 4)
    effect[layer, position] = share
    return effect


def values(view: View) -> Tensor:
    return torch.tensor(
        [[float("nan") if v is None else v for v in r] for r in view.data["values"]]
    )


def cells(view: View) -> dict[str, list[tuple[float, float]]]:
    """Upper left corners of cells by look."""
    found = re.findall(r'<path class="(d\d+|lack)" d="([^"]*)"', view.body)
    return {
        look: [(float(x), float(y)) for x, y in re.findall(r"M([\d.]+) ([\d.]+)", path)]
        for look, path in found
    }


def n_marks(view: View) -> int:
    (path,) = re.findall(r'<path class="hollow" d="([^"]*)"', view.body) or [""]
    return path.count("M")


def test_the_planted_cell_has_the_end_of_the_scale_and_is_named() -> None:
    view = patch_heatmap(planted(at(1, 2)), TOKENS, title="Where")
    torch.testing.assert_close(values(view), at(1, 2), atol=0.005, rtol=0)
    assert "The strongest is 0.75, at layer 2, “doctor” at 2." in view.summary
    drawn = cells(view)
    assert {look: len(places) for look, places in drawn.items()} == {"d20": 11, "d40": 1}
    # Layer 0 is at the bottom: the middle layer of three is in the middle, in the third column.
    left, top, (across, up) = view.data["left"], view.data["top"], view.data["cell"]
    assert drawn["d40"] == [(left + 2 * across, top + up)]
    assert view.data["order"] == [2, 1, 0]


def test_the_mean_is_the_ratio_of_means_and_counts_who_has_the_position() -> None:
    grid = planted(at(1, 2))
    patched = grid.values.clone()
    patched[0, 1, 2], patched[1, 1, 2] = 4.0, -1.0
    patched[0, 2, 3] = torch.nan
    patched[1, 2, 3] = 1.0
    patched[:, 0, 0] = torch.nan
    whole = PatchGrid(**{**vars(grid), "values": patched})
    found = values(patch_heatmap(whole, TOKENS, title="Where"))
    # (4 - 1) / 2 patched, 2.5 clean, -1.5 corrupted; then the second prompt's own way alone.
    assert found[1, 2] == pytest.approx(0.75)
    assert found[2, 3] == pytest.approx(1.0)
    assert found[0, 0].isnan()
    assert len(cells(patch_heatmap(whole, TOKENS, title="Where"))["lack"]) == 1
    for prompt, share in ((0, 1.0), (1, 0.0)):
        one = values(patch_heatmap(whole, TOKENS, title="Where", prompt=prompt))
        assert one[1, 2] == pytest.approx(share)


def test_the_metric_itself_has_the_corrupted_run_in_the_middle() -> None:
    view = patch_heatmap(planted(at(0, 1)), TOKENS, title="Where", what="values", prompt=0)
    assert {look: len(each) for look, each in cells(view).items()} == {"d20": 11, "d40": 1}
    assert values(view)[0, 1] == pytest.approx(2.5)
    assert values(view)[1, 1] == pytest.approx(-2.0)


def test_what_is_not_significant_is_marked_where_it_shows_a_colour() -> None:
    effect = at(1, 2) + at(0, 0, 0.3) + at(2, 3, -0.3)
    p = torch.full((3, 4), 0.6)
    p[1, 2] = 0.01
    p[2, 3] = torch.nan
    view = patch_heatmap(planted(effect), TOKENS, title="Where", p=p)
    assert n_marks(view) == 1
    assert "p ≥ 0.05" in view.body
    assert n_marks(patch_heatmap(planted(effect), TOKENS, title="Where", p=p, alpha=0.7)) == 0
    assert n_marks(patch_heatmap(planted(effect), TOKENS, title="Where")) == 0
    rings = view.figure(LIGHT).data[1]
    assert (rings.x, rings.y) == ((0,), (0,))


def test_heads_are_told_by_layer_and_head() -> None:
    patched = CORRUPTED[:, None, None, None].repeat(1, 2, 3, 2)
    patched[:, 1, 2, 1] = CLEAN
    grid = HeadGrid(
        layers=(3, 5), positions=(6, -1), values=patched, clean=CLEAN, corrupted=CORRUPTED
    )
    view = head_heatmap(grid, title="Heads", position=-1)
    assert "The strongest is 1.00, at layer 5, head 2." in view.summary
    assert float(values(head_heatmap(grid, title="Heads", position=6)).abs().max()) == 0.0
    matrix = head_heatmap(values(view), title="Heads", layers=(3, 5), unit="attention")
    assert torch.equal(values(matrix), values(view))
    assert matrix.data["rows"] == ("layer 3", "layer 5")
    # Few cells say their number, in an ink that can be read on them.
    assert 'class="number n40"' in matrix.body
    whole = HeadGrid(**{**vars(grid), "positions": None, "values": patched[..., :1]})
    assert values(head_heatmap(whole, title="Heads")).shape == (2, 3)


def test_a_map_of_cosines_shows_each_with_its_ceiling() -> None:
    cosines = torch.tensor([[1.0, 0.6, -0.2], [0.6, 1.0, 0.1], [-0.2, 0.1, 1.0]])
    names = ("teacher", "hacker <b>", "doctor")
    view = cosine_map(names, cosines, ceilings=torch.full((3, 3), 0.8))
    assert "The highest between two is 0.60, of teacher and hacker <b>" in view.summary
    assert "the lowest −0.20, of teacher and doctor" in view.summary
    assert view.body.count("of 0.80") == 6
    assert view.data["extra"]["values"][0] == [None, 0.8, 0.8]
    # Read from the top left, as the table is.
    assert view.data["order"] == [0, 1, 2]
    assert "extra" in view.data
    assert cosine_map(names, cosines).data["extra"] is None


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda each: each.name)
def test_files_hold_the_same_picture(theme: Any, tmp_path: Path) -> None:
    hostile = ("</script><script>1</script>", "<img src=x onerror=1>", "\x00\u202e", "")
    p = torch.full((3, 4), 0.5)
    view = patch_heatmap(planted(at(1, 2) + 0.2), hostile, title="<b>", p=p)
    svg = view.save(tmp_path / "a.svg", theme=theme.name)
    root = ElementTree.parse(svg).getroot()
    texts = [each.text for each in root.iter() if each.text]
    assert {"<img·src=x·oner…", r"\x00\u202e", "∅", "<b>", view.summary} <= set(texts)
    assert not [each for each in root.iter() if "class" in each.attrib or "script" in each.tag]
    assert root.find("{*}rect").attrib["fill"] == theme.paper
    assert view.save(tmp_path / "a.png", theme=theme.name).stat().st_size > 1000
    heat = view.figure(theme).data[0]
    torch.testing.assert_close(torch.tensor(heat.z), at(1, 2) + 0.2)
    assert "<img" not in json.dumps(view.figure(theme).to_plotly_json()["data"][0], default=str)


def test_a_large_map_is_light() -> None:
    generator = torch.Generator().manual_seed(0)
    effect = torch.randn(32, 512, generator=generator)
    grid = SimpleNamespace(
        site=Site.MLP_OUT,
        layers=tuple(range(32)),
        positions=tuple(range(512)),
        values=effect[None],
        clean=torch.ones(1),
        corrupted=torch.zeros(1),
    )
    view = patch_heatmap(grid, ["token"] * 512, title="Large")
    assert sum(map(len, cells(view).values())) == 32 * 512
    assert len(view.html()) < 700_000


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tokens": TOKENS[:3]}, "expected a token for each of the 4 positions of the grid, got 3"),
        ({"prompt": 2}, "expected a prompt from 0 to 1, or 'mean', got 2"),
        ({"p": torch.ones(3, 3)}, r"expected p of shape \(3, 4\), one a cell, got \(3, 3\)"),
        ({"p": torch.full((3, 4), 2.0)}, "expected p from 0 to 1, got 2.0 to 2.0"),
        ({"p": torch.ones(3, 4), "alpha": 1.0}, "expected alpha between 0 and 1"),
        ({"limit": 0.0}, "expected a limit above 0, or None for the largest value, got 0.0"),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        patch_heatmap(planted(at(0, 0)), **{"tokens": TOKENS, "title": "Where", **given})


def test_a_position_that_was_not_patched_is_refused() -> None:
    whole = HeadGrid(
        layers=(0,), positions=None, values=torch.ones(2, 1, 2, 1), clean=CLEAN, corrupted=CORRUPTED
    )
    with pytest.raises(ValueError, match="expected no position, since all were patched at once"):
        head_heatmap(whole, title="Heads", position=3)
    single = HeadGrid(**{**vars(whole), "positions": (3,)})
    with pytest.raises(ValueError, match=r"expected one of the positions \[3\], got None"):
        head_heatmap(single, title="Heads")
    with pytest.raises(ValueError, match="expected 2 layers, one a row, got 3"):
        head_heatmap(torch.ones(2, 2), title="Heads", layers=(0, 1, 2))


def test_what_is_no_cosine_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected cosines of 3 vectors .* got \(2, 2\)"):
        cosine_map("abc", torch.eye(2))
    with pytest.raises(ValueError, match=r"expected cosines from -1 to 1, got 2; divide by the"):
        cosine_map("ab", 2 * torch.eye(2))
