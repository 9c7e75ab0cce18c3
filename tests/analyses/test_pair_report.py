"""The report of two models says what the numbers say, and shows text as text."""

import html
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from analyses._pair_limits import pair_limits
from analyses._pair_panels import pair_panels
from analyses._pair_report import render_pair_report, write_pair_report
from analyses._pair_sections import pair_sections
from analyses._pair_text import pair_text
from analyses._pair_words import METRIC_NAMES
from analyses._words import number, p_value
from analyses.shift import Shift

MakePair = Callable[..., Shift]


@pytest.fixture(scope="module")
def bare(make_pair_study: MakePair) -> Shift:
    return make_pair_study(bare=True)


@pytest.fixture(scope="module")
def page_text(pair_study: Shift) -> str:
    return render_pair_report(pair_study)


def without_scripts(page: str) -> str:
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_every_metric_of_every_behaviour_stands_in_its_row(
    pair_study: Shift, page_text: str
) -> None:
    rows = re.findall(r"<tr>.*?</tr>", without_scripts(page_text), flags=re.DOTALL)
    found = pair_study.distinguishability
    assert found is not None
    assert len(found.rows) == 2 * 6 * 10
    for each in found.rows:
        named = [html.escape(part) for part in (each.behaviour, each.side)]
        # Jinja writes quotes as numbers, Python's html by name.
        wanted = [
            f">{part}<".replace("&#x27;", "&#39;").replace("&quot;", "&#34;") for part in named
        ]
        heading = f">{METRIC_NAMES[each.metric]}<"
        (row,) = (row for row in rows if all(part in row for part in (*wanted, heading)))
        assert number(each.value.estimate) in row
        assert html.escape(p_value(each.p_bh)) in row


def test_what_is_told_is_what_was_planted(pair_study: Shift) -> None:
    told = {section.key: section.told.answer for section in pair_sections(pair_study)}
    assert list(told) == [
        "distinguishability",
        "internal",
        "divergence",
        "steerability",
        "comparison",
    ]
    assert "in the base model for 0 of 6 (" in told["distinguishability"]
    assert "in the tuned model for 6 of 6 (" in told["distinguishability"]
    assert "0 of 6 in the base model; 6 of 6 in the tuned model" in told["internal"]
    assert "6 of 6 in the base model, 6 of 6 in the tuned model" in told["steerability"]
    assert "(6 up, 0 down" in told["comparison"]
    assert "(0 up, 6 down" in told["comparison"]


def test_tables_have_as_many_cells_as_headings(pair_study: Shift) -> None:
    tables = [table for section in pair_sections(pair_study) for table in section.told.tables]
    assert len(tables) >= 10
    for table in tables:
        assert table.rows, table.title
        assert {len(row) for row in table.rows} == {len(table.columns)}, table.title


def test_same_result_same_page(bare: Shift) -> None:
    assert render_pair_report(bare) == render_pair_report(bare)


def test_headings_are_in_order_and_every_table_has_a_caption(page_text: str) -> None:
    markup = without_scripts(page_text)
    levels = [int(level) for level in re.findall(r"<h([1-6])", markup)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert markup.count("<table") == markup.count("<caption")
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", markup)


def test_no_statement_is_in_the_page(pair_study: Shift, page_text: str) -> None:
    # Ids may hold a statement's own words.
    ids = set(pair_study.scores["statement_id"])
    assert "tidiness/a0" in ids
    assert not any(each in page_text for each in ids)


def test_hostile_text_is_escaped_everywhere(bare: Shift, page_text: str) -> None:
    (hostile,) = (name for name in bare.data.behaviours["behaviour"] if "<img" in name)
    study = replace(
        bare,
        message=hostile,
        settings={"note": hostile},
        models={side: {"model_id": hostile} for side in bare.models},
        data=replace(
            bare.data,
            templates={"base": hostile},
            licences=dict.fromkeys(bare.data.licences, hostile),
        ),
    )
    for page in (render_pair_report(study), page_text):
        assert "<img" not in page.split("<script>")[0]
        assert "<b>bold" not in page
        assert len(re.findall(r"<script", without_scripts(page))) == 0
        found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page)
        assert found is not None
        labels = json.dumps(json.loads(found[1]), ensure_ascii=False)
        assert "&lt;b&gt;bold&lt;/b&gt;" in labels
        assert "<img" not in labels
        assert "<b>bold" not in labels


def test_a_report_without_what_may_be_missing(bare: Shift) -> None:
    assert [panel.key for panel in pair_panels(bare)] == ["ridges", "metrics"]
    page = render_pair_report(replace(bare, distinguishability=None, status="nothing_to_study"))
    assert "What was said</h2>" in page
    assert "Base against tuned</h2>" not in page


def test_limits_name_what_is_weak(pair_study: Shift) -> None:
    assert not pair_limits(pair_study)[0].startswith("Which statements")
    dealt = replace(pair_study, settings={"shuffle_labels": True})
    assert pair_limits(dealt)[0].startswith("Which statements are aligned was dealt by chance")
    few = replace(
        pair_study, data=replace(pair_study.data, behaviours=pair_study.data.behaviours.head(4))
    )
    assert "smallest possible p of 0.125" in pair_limits(few)[0]


def test_a_terminal_shows_each_answer_and_no_markup(pair_study: Shift) -> None:
    out = StringIO()
    Console(file=out, width=200).print(pair_text(pair_study))
    for section in pair_sections(pair_study):
        assert section.title in out.getvalue()
    assert "[red]optimism[/red]" in out.getvalue()


def test_report_is_written_whole(bare: Shift, tmp_path: Path) -> None:
    without = replace(bare, distinguishability=None)
    path = write_pair_report(without, tmp_path / "run" / "report.html")
    assert path.read_text(encoding="utf-8").endswith("</html>")
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]
