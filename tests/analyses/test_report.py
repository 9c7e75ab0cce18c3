"""The report says what the numbers say, and shows text as text."""

import hashlib
import html
import itertools
import json
import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyses import _figures as figures
from analyses._report import render_report, write_report
from analyses._report_limits import limits
from analyses._report_panels import panels
from analyses._words import number, p_value
from analyses.whos_asking import WhosAsking

MakeStudy = Callable[..., WhosAsking]
HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def page_text(study: WhosAsking) -> str:
    return render_report(study)


def without_scripts(page: str) -> str:
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def figure_data(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page)
    assert found is not None
    return json.loads(found[1])


def test_every_effect_is_in_the_table_with_the_control_beside_it(
    study: WhosAsking, page_text: str
) -> None:
    for effect in study.effects.effects:
        if effect.kind != "persona":
            continue
        rows = re.search(
            rf">{re.escape(effect.persona)}<span>.*?</tbody>", page_text, flags=re.DOTALL
        )
        assert rows is not None
        for value in (effect.estimate, effect.control.estimate, effect.difference.estimate):
            assert number(value, signed=True) in rows[0]
        assert html.escape(p_value(effect.p_corrected)) in rows[0]


def test_same_result_same_page(study: WhosAsking, page_text: str) -> None:
    assert render_report(study) == page_text


def test_scripts_run_by_their_hash_only(page_text: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', page_text)
    assert policy is not None
    allowed = set(re.findall(r"sha256-[\w+/=]+", html.unescape(policy[1])))
    scripts = re.findall(r"<script>(.*?)</script>", page_text, flags=re.DOTALL)
    hashes = {b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts}
    assert allowed == {f"sha256-{each}" for each in hashes}
    # To turn pages, plotly, to draw figures; of views none where there are none.
    assert len(scripts) == 3
    assert "default-src &#39;none&#39;" in policy[1]


def test_nothing_outside_is_named_in_markup(page_text: str) -> None:
    markup = without_scripts(page_text)
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", markup)
    assert "@import" not in markup
    assert "url(" not in markup


def test_every_page_is_there_once_and_linked_from_list_overview_and_neighbours(
    page_text: str,
) -> None:
    markup = without_scripts(page_text)
    pages = re.findall(r'<section class="site-page" aria-labelledby="(.*?)">', markup)
    assert pages[0] == "overview"
    assert len(pages) == len(set(pages)) > 8
    links = re.findall(r'<a (?:rel="\w+" )?href="#(.*?)"', markup)
    ids = re.findall(r' id="(.*?)"', markup)
    assert set(links) <= set(ids)
    assert len(ids) == len(set(ids))
    for first, then in itertools.pairwise(pages):
        assert markup.count(f'rel="next" href="#{then}"') == 1
        assert markup.count(f'rel="prev" href="#{first}"') == 1
    assert all(links.count(each) >= 2 for each in pages[1:])


def test_headings_are_in_order_and_every_table_has_a_caption(page_text: str) -> None:
    markup = without_scripts(page_text)
    levels = [int(level) for level in re.findall(r"<h([1-6])", markup)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert markup.count("<table") == markup.count("<caption")


def test_text_is_left_out_unless_asked_for(make_study: MakeStudy) -> None:
    study = make_study(bare=True, texts=("a secret wish", "a secret reply"))
    page = render_report(study)
    assert "secret" not in page
    assert "13 characters" in page
    whole = render_report(study, full_text=True)
    assert "a secret wish" in whole
    assert "a secret reply" in whole


def test_hostile_text_is_escaped_everywhere(make_study: MakeStudy) -> None:
    study = make_study(
        renamed={"selfish": HOSTILE, "curious": "<b>bold</b>"}, texts=(HOSTILE, HOSTILE)
    )
    study = replace(
        study,
        message=HOSTILE,
        refusal_tokens=(HOSTILE,),
        settings={"note": HOSTILE},
        model={**study.model, "model_id": HOSTILE},
    )
    page = render_report(study, full_text=True)
    assert "<img" not in page.split("<script>")[0]
    assert "<b>bold" not in page
    assert html.escape(HOSTILE) in page
    assert len(re.findall(r"<script", without_scripts(page))) == 0
    labels = json.dumps(figure_data(page))
    assert "&lt;b&gt;bold&lt;/b&gt;" in labels
    assert "<img" not in labels
    assert "<b>bold" not in labels


def test_each_figure_comes_light_and_dark_with_its_null(study: WhosAsking) -> None:
    shown = panels(study)
    assert {p.section for p in shown} == {"effects", "refusal", "geometry", "hidden", "vectors"}
    for panel in shown:
        assert panel.question.endswith("?")
        assert panel.read
        assert panel.null
        assert panel.light.layout.paper_bgcolor == figures.LIGHT.paper
        assert panel.dark.layout.paper_bgcolor == figures.DARK.paper
        assert len(panel.light.data) == len(panel.dark.data) > 0


def test_a_report_without_what_may_be_missing(make_study: MakeStudy) -> None:
    page = render_report(make_study(bare=True))
    assert "Geometry</h2>" not in page
    assert "Hidden answers</h2>" not in page
    assert "What personas do</h2>" in page


def test_a_report_where_nothing_is_refused(make_study: MakeStudy) -> None:
    study = make_study(outcome="answered")
    page = render_report(study)
    assert "nothing to study" in page
    assert "refuses too little" in page
    assert limits(study)[0].startswith("The model hardly refuses")


def test_forest_marks_claims_by_fill_and_shows_control_and_nulls(study: WhosAsking) -> None:
    figure = figures.effect_forest(study.effects)
    marks = [t for t in figure.data if t.name in ("pro-social", "anti-social", "other")]
    personas = [e for e in study.effects.effects if e.kind == "persona"]
    assert sum(len(t.x) for t in marks) == len(personas)
    filled = sum(colour != figures.LIGHT.paper for t in marks for colour in t.marker.color)
    assert filled == sum(e.claim for e in personas)
    beside = [x for t in figure.data if t.name == "control" and t.marker.size == 6 for x in t.x]
    assert sorted(beside) == sorted(e.control.estimate for e in personas)
    nulls = [x for t in figure.data if t.name == "nulls" for x in t.x if x is not None]
    assert {min(nulls), max(nulls)} == {
        min(e.null_range[0] for e in personas if e.null_range),
        max(e.null_range[1] for e in personas if e.null_range),
    }


def test_scatter_line_is_the_least_squares_fit(study: WhosAsking) -> None:
    assert study.geometry is not None
    fit = study.geometry.fits[0]
    line = next(t for t in figures.cosine_scatter(study.geometry).data if t.mode == "lines")
    slope = np.polyfit(fit.points["cosine"], fit.points["effect"], 1)[0]
    assert (line.y[1] - line.y[0]) / (line.x[1] - line.x[0]) == pytest.approx(slope)


def test_layer_curves_have_the_control_band_once_a_panel(study: WhosAsking) -> None:
    names = [t.name for t in figures.layer_curves(study.effects).data]
    assert names.count("control (95 %)") == names.count("nulls (range)") == 2
    assert names.count("altruistic") == 2
    assert "refusal (yes/no)" not in names


def test_heatmaps_are_at_most_four_layers_and_hold_a_fitted_one(study: WhosAsking) -> None:
    assert study.geometry is not None
    figure = figures.cosine_heatmaps(study.geometry)
    titles = [a.text for a in figure.layout.annotations]
    assert len(titles) == 4
    assert any(title == f"Layer {fit.layer}" for title in titles for fit in study.geometry.fits)


def test_limits_name_what_is_weak_in_these_numbers(study: WhosAsking) -> None:
    said = " ".join(limits(study))
    assert "n = 40" in said
    assert "AI-loving: two halves" in said
    assert "10 personas" in said
    sure = replace(study, vectors=tuple(v for v in study.vectors if v.name != "AI-loving"))
    assert "two halves" not in " ".join(limits(sure))


def test_report_is_written_whole(study: WhosAsking, tmp_path: Path) -> None:
    path = write_report(study, tmp_path / "run" / "report.html")
    assert path.read_text(encoding="utf-8").endswith("</html>")
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]
