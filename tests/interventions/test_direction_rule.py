"""The published rule, on the published tables and on made-up ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from lens_personas.interventions import DirectionRule, select_place

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "refusal_direction"
CHOSEN = {"gemma-2b-it": (-2, 10), "qwen-1_8b-chat": (-2, 15)}


@pytest.fixture(params=sorted(CHOSEN))
def published(request):
    folder = DATA / request.param
    if not folder.is_dir():
        pytest.skip(f"the published score tables are not at {folder}")
    rows = json.loads((folder / "direction_evaluations.json").read_text(encoding="utf-8"))
    n_pos = -min(row["position"] for row in rows)
    n_layers = 1 + max(row["layer"] for row in rows)
    tables = np.full((3, n_pos, n_layers), np.nan)
    for row in rows:
        scores = (row["refusal_score"], row["steering_score"], row["kl_div_score"])
        tables[:, row["position"], row["layer"]] = scores
    return folder, tables


def test_it_chooses_what_was_chosen(published):
    folder, tables = published
    assert select_place(*tables) == CHOSEN[folder.name]


def test_every_part_of_the_rule_counts(published):
    folder, tables = published
    rules = {
        "kl": DirectionRule(max_kl=np.inf),
        "both": DirectionRule(max_kl=np.inf, layer_share=1.0, min_induce=-np.inf),
    }
    found = {name: select_place(*tables, rule=rule) for name, rule in rules.items()}
    expected = {"gemma-2b-it": (-2, 10), "qwen-1_8b-chat": (-2, 14)}[folder.name]
    assert found["kl"] == expected
    row, layer = np.unravel_index(tables[0].argmin(), tables[0].shape)
    assert found["both"] == (row - len(tables[0]), layer)
    kept = tables.copy()
    kept[1] = -0.01
    assert select_place(*kept) is None


def test_a_missing_score_excludes_a_candidate_and_the_first_of_equals_wins():
    bypass, induce, kl = np.array([[3.0, 1.0, 2.0, 2.0, 0.0]]), np.ones((1, 5)), np.zeros((1, 5))
    assert select_place(bypass, induce, kl) == (-1, 1)
    for table in (bypass, induce, kl):
        holed = [
            np.where(np.arange(5) == 1, np.nan, t) if t is table else t
            for t in (bypass, induce, kl)
        ]
        assert select_place(*holed) == (-1, 2)


def test_the_layers_allowed_are_those_below_the_share():
    assert DirectionRule().n_layers_of(18) == 14
    assert DirectionRule(layer_share=1.0).n_layers_of(5) == 5
    with pytest.raises(ValueError, match=r"layers in \(0, 1\], got 0"):
        DirectionRule(layer_share=0.0)
