"""The line over a conversation: heights, turns, band, and what the scale leaves out."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from lens_personas.hooks import Site
from lens_personas.readouts import ProjectionTrace
from lens_personas.views import LIGHT, ProjectionBand, View, projection_line
from lens_personas.views._projection_picture import nice_ticks

ROLES = ("template", "system", "system", "template", "user", "user", "template", "assistant")
TURNS = (-1, 0, 0, -1, 1, 1, -1, 2)
VALUES = torch.tensor([0.5, 1.0, -1.0, 0.0, 0.5, 2.0, 1.5, -0.5])


def trace(**changed: Any) -> ProjectionTrace:
    given = {
        "prompt_id": "one",
        "tokens": tuple(f"w{at}" for at in range(8)),
        "roles": ROLES,
        "turns": TURNS,
        "layer": 3,
        "site": Site.RESID_POST,
        "values": VALUES,
    }
    return ProjectionTrace(**{**given, **changed})


def points(view: View) -> list[tuple[float, float]]:
    found = re.findall(r'<circle class="point" cx="([\d.]+)" cy="([\d.]+)"', view.body)
    return [(float(x), float(y)) for x, y in found]


def test_heights_are_in_proportion_to_values() -> None:
    drawn = points(projection_line(trace()))
    heights = torch.tensor([y for _, y in drawn])
    slope = (heights[5] - heights[2]) / (VALUES[5] - VALUES[2])
    assert slope < 0
    torch.testing.assert_close(heights, heights[3] + slope * VALUES, atol=0.02, rtol=0)
    gaps = {round(b - a, 2) for (a, _), (b, _) in pairwise(drawn)}
    assert len(gaps) == 1


def test_turns_are_shaded_and_named() -> None:
    view = projection_line(trace())
    left, step = view.data["left"], view.data["step"]
    shaded = re.findall(
        r'<rect class="turn-(\w+)" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', view.body
    )
    assert [(role, float(x), float(width) + 1) for role, x, width in shaded] == [
        ("system", left + step, 2 * step),
        ("user", left + 4 * step, 2 * step),
        ("assistant", left + 7 * step, step),
    ]
    assert view.data["columns"][4] == "“w4” at 4, user"


@pytest.mark.parametrize("first", [-91.0, 91.0])
def test_a_massive_first_token_is_told_but_does_not_set_the_scale(first: float) -> None:
    far = VALUES.clone()
    far[0] = first
    view, plain = projection_line(trace(values=far)), projection_line(trace())
    assert points(view) == points(plain)[1:]
    told = f"{first:.1f}".replace("-", "−")
    assert view.body.count(f">{told}</text>") == 1
    assert view.data["values"][0] == first
    assert "highest at “w5” (2.00), lowest at “w2” (−1.00)" in view.summary
    near = VALUES.clone()
    near[0] = 5.9
    assert len(points(projection_line(trace(values=near)))) == len(VALUES)


def test_a_gap_is_a_gap() -> None:
    gap = VALUES.clone()
    gap[3] = torch.nan
    view = projection_line(trace(values=gap))
    assert len(points(view)) == 7
    assert len(re.findall(r'<path class="line"', view.body)) == 2
    assert view.data["values"][3] is None
    nothing = projection_line(trace(values=torch.full((8,), torch.nan)))
    assert points(nothing) == []


def test_the_band_is_drawn_named_and_read_out(tmp_path: Path) -> None:
    band = ProjectionBand(low=VALUES - 4, high=VALUES + 4, name="<i>controls</i>")
    view = projection_line(trace(), band, direction="refusal")
    assert "&lt;i&gt;controls&lt;/i&gt;" in view.body
    assert view.data["band"][1][5] == 6.0
    assert "projection on refusal, layer 3, resid_post" in view.body
    # The scale holds the band too.
    assert view.data["band_name"] == "<i>controls</i>"
    ys = [float(y) for y in re.findall(r"[\d.]+ ([\d.]+)", _path(view, "band"))]
    assert max(ys) - min(ys) > max(y for _, y in points(view)) - min(y for _, y in points(view))
    shaded, line = view.figure(LIGHT).data
    assert shaded.name == "&lt;i&gt;controls&lt;/i&gt;"
    assert line.y == tuple(VALUES.tolist())
    assert ElementTree.parse(view.save(tmp_path / "a.svg")).getroot() is not None
    assert view.save(tmp_path / "a.png").stat().st_size > 1000


def test_a_long_conversation_is_light() -> None:
    n = 800
    view = projection_line(
        trace(
            tokens=("token",) * n,
            roles=("user",) * n,
            turns=(0,) * n,
            values=torch.sin(torch.arange(n) / 9),
        )
    )
    assert len(view.html()) < 200_000


@pytest.mark.parametrize(("low", "high"), [(-1.3, 4.2), (0.0, 0.031), (-91.0, 2.0), (-1e-6, 1e-6)])
def test_ticks_are_round_inside_and_hold_nothing(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 8
    assert 0.0 in ticks
    assert all(low - 1e-12 <= tick <= high + 1e-12 for tick in ticks)


def test_a_band_of_another_length_is_refused() -> None:
    band = ProjectionBand(low=VALUES[:3], high=VALUES[:3], name="null")
    with pytest.raises(ValueError, match=r"got 8 tokens, \[8, 3, 3\] numbers"):
        projection_line(trace(), band)


def _path(view: View, look: str) -> str:
    (found,) = re.findall(rf'<path class="{look}" d="([^"]*)"', view.body)
    return str(found)
