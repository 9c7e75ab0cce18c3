"""Early decoding is told and drawn from any result, whatever its names and gaps."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest

from analyses._shown.early_decoding import SHOWN
from analyses.early_decoding import EarlyDecoding
from analyses.early_steering import STEERED_COLUMNS, early_steering
from analyses.early_tokens import EARLY_COLUMNS, early_tokens

HOSTILE = "<img src=x onerror=alert(1)>"
N, TRIES = 12, (0, 1, 2)
ARMS = (
    ("none", "none", "baseline"),
    ("kind", "pro", "persona"),
    (HOSTILE, "anti", "persona"),
    ("refusal (questions)", "refusal", "refusal"),
    ("random 1", "null", "null"),
    ("tea", "control", "control"),
)
NULLS = ("shuffled", "opener", "random", "sampled")


def planted(
    *, known: bool = True, other: float = 1.0, tries: tuple[int, ...] = TRIES
) -> EarlyDecoding:
    """Own tokens bring the known answer; other tokens open answers at the rate ``other``."""
    alone = [(f"r{i}", "plain", -1, "", "refusal", 0.0) for i in range(N)]
    for source, layer, i in itertools.product(("early", *NULLS, "exit"), tries, range(N)):
        own = source in ("early", "exit")
        says = own or (source in ("shuffled", "opener") and i < other * N)
        label = "answer" if says else "refusal"
        alone.append((f"r{i}", source, layer, HOSTILE, label, float(own)))
    table = pd.DataFrame(alone, columns=list(EARLY_COLUMNS))
    rows = []
    for name, group, kind in ARMS:
        for treatment in ("baseline",) if kind == "baseline" else ("prompt", "plus", "minus"):
            layers = [at for at in tries if treatment in ("baseline", "prompt") or at > 0]
            for source, layer in [("plain", -1), *itertools.product(("early", "sampled"), layers)]:
                rows += [
                    (name, group, kind, treatment, source, layer, f"r{i}", "answer")
                    if source == "early" or (group == "pro" and i < 9)
                    else (name, group, kind, treatment, source, layer, f"r{i}", "degenerate")
                    for i in range(N)
                ]
    return EarlyDecoding(
        tokens=early_tokens(
            table if known else table.assign(exact=np.nan),
            tries=tries,
            clusters={},
            rng=np.random.default_rng(0),
        ),
        steering=early_steering(
            pd.DataFrame(rows, columns=list(STEERED_COLUMNS)),
            tries=tries,
            steered_at=0,
            control="tea",
        ),
        known=None,
    )


def test_forcing_is_said_where_other_tokens_do_the_same() -> None:
    told = SHOWN.tell(planted(other=1.0)).answer
    assert "forcing a first token" in told
    assert "begins as the known one for 100 %" in told
    assert "another request's token for 0 %" in told
    assert "forcing a first token" not in SHOWN.tell(planted(other=0.0)).answer


def test_no_union_is_told_without_its_nulls() -> None:
    for known in (True, False):
        told = SHOWN.tell(planted(known=known))
        sentence = told.answer[told.answer.index("Any of 3 layers") :]
        for null in ("sampled answers", "random vectors", "other requests' tokens", "openings"):
            assert null in sentence
        unions = told.tables[3]
        assert len(unions.rows) == 6
        assert [row[1] for row in unions.rows] == ["0", "3", "3", "3", "3", "3"]


def test_the_papers_table_has_six_ways_and_the_control_last() -> None:
    table, full = SHOWN.tell(planted()).tables[:2]
    assert len(table.columns) == 7
    assert table.rows[0][0] == "the request alone"
    assert table.rows[-1][0] == "tea"
    assert "n = 12" in table.title
    cells = {row[0]: row for row in table.rows}
    # Beyond the control greedily; with early decoding all answer everything.
    assert cells["kind"][1] == "75 %*"
    assert cells["kind"][4] == "100 %≈"
    assert cells["tea"][4] == "100 %"
    # One row a way, with early decoding and without, and the request alone both ways.
    assert len(full.rows) == 2 * (1 + 3 * 5)
    for each in (table, full):
        assert {len(row) for row in each.rows} == {len(each.columns)}


@pytest.mark.parametrize(
    "settings", [{}, {"known": False}, {"tries": ()}, {"tries": (1,)}], ids=str
)
def test_tables_and_figures_are_made_whatever_is_missing(settings: dict[str, object]) -> None:
    found = planted(**settings)  # type: ignore[arg-type]
    told = SHOWN.tell(found)
    assert told.answer
    cells = [cell for table in told.tables for row in table.rows for cell in row]
    assert not any("nan" in text for text in (told.answer, *cells))
    judge_alone = settings.get("known") is False
    assert any("the judge alone decides" in each for each in told.limits) == judge_alone
    for table in told.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
    panels = SHOWN.panels(found)
    assert len({panel.key for panel in panels}) == len(panels) == 4
    assert {panel.section for panel in panels} == {"part-early-decoding"}


def test_hostile_names_are_escaped_in_figures() -> None:
    shown = [
        # As a browser reads it: plotly writes some signs as escapes.
        str(json.loads(figure.to_json()))
        for panel in SHOWN.panels(planted())
        for figure in (panel.light, panel.dark)
    ]
    assert not any("<img" in text for text in shown)
    assert sum("&lt;img" in text for text in shown) >= 4
