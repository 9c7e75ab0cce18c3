"""How Patchscopes are told and drawn, from a planted result; with nothing, and hostile names."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analyses._scope_texts import TEXT_COLUMNS, free_texts
from analyses._scope_types import ScopeSetting
from analyses._shown import shown
from analyses.patchscopes import READING_COLUMNS, PatchscopeReadings, patchscope_readings

HOSTILE = "<img src=x onerror=alert(1)>"
SECRET = "the forbidden recipe in full"
NAMES = {"kind": "pro", HOSTILE: "anti", "tea": "control", "neutral text 1": "null"}


def _readings(*, broken: bool) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for treatment in ("prompt", "plus"):
        for place, layers in (("direct", (-1,)), ("last", (0, 1)), ("before", (0, 1))):
            for layer in layers:
                for name, group in {**NAMES, "none": "none"}.items():
                    kind = {"control": "control", "null": "null", "none": "baseline"}.get(
                        group, "persona"
                    )
                    for at in range(6):
                        odds = np.nan if broken and name == "kind" else rng.normal()
                        about = (name, group, kind, treatment, place, layer, f"r{at}", True)
                        rows.append((*about, np.tanh(odds / 2), odds, 1.0, 1e-6 if broken else 0.5))
    return pd.DataFrame(rows, columns=list(READING_COLUMNS))


def _result(*, broken: bool = False) -> PatchscopeReadings:
    settings = tuple(
        ScopeSetting(
            place=place,
            target=HOSTILE,
            target_layer=0,
            scale=4.0,
            source_layer=1,
            gap=0.3,
            paper_layer=0,
            paper_gap=float("nan"),
        )
        for place in ("last", "before")
    )
    sweep = pd.DataFrame(
        [(s.place, HOSTILE, 0, 4.0, layer, 0.1, 0.5) for s in settings for layer in (0, 1)],
        columns=["place", "target", "target_layer", "scale", "source_layer", "gap", "mass"],
    )
    texts = pd.DataFrame(
        [("kind", "pro", "persona", "last", "nature", "r0", SECRET, 5, True, False)],
        columns=list(TEXT_COLUMNS),
    )
    return patchscope_readings(
        _readings(broken=broken),
        settings,
        sweep,
        control="tea",
        asked="motives are",
        steered_at=0,
        random_states=pd.DataFrame(
            {"kind": ["state", "deviation"], "source_layer": [0, 0], "score": [0.1, 0.2]}
        ),
        refusal={} if broken else {name: float(at) for at, name in enumerate(NAMES)},
        texts=texts.iloc[:0] if broken else texts,
        rng=np.random.default_rng(0),
    )


@pytest.mark.parametrize("broken", [False, True])
def test_everything_is_told_and_drawn(broken: bool) -> None:
    found = _result(broken=broken)
    told = shown("patchscopes").tell(found)
    assert "control" in told.answer
    for table in told.tables:
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows)
    assert "nan" not in repr(told).lower().replace("nanometre", "")
    panels = shown("patchscopes").panels(found)
    assert len({each.key for each in panels}) == len(panels)
    assert all(each.section == "part-patchscopes" for each in panels)
    assert all(each.light.data for each in panels)


def test_names_cannot_write_into_figures() -> None:
    for each in shown("patchscopes").panels(_result()):
        for figure in (each.light, each.dark):
            assert "<img" not in figure.to_json().replace("\\u003c", "<")


def test_texts_are_counted_and_never_shown() -> None:
    found = _result()
    assert found.texts is not None
    assert SECRET in set(found.texts.by_request["text"])
    told = shown("patchscopes").tell(found)
    assert SECRET not in repr(told)
    assert any("Texts" in table.columns for table in told.tables)
    assert free_texts(pd.DataFrame(columns=list(TEXT_COLUMNS))) is None


def test_limits_say_what_is_missing() -> None:
    limits = " ".join(shown("patchscopes").tell(_result(broken=True)).limits)
    assert "Refusal was not scored" in limits
    assert "median probability" in limits
    assert "nothing is claimed" in limits
    assert "median probability" not in " ".join(shown("patchscopes").tell(_result()).limits)


def test_without_settings_the_figures_still_stand() -> None:
    bare = replace(_result(), settings=(), effects=(), refusal=())
    assert len(shown("patchscopes").panels(bare)) == 4
    assert shown("patchscopes").tell(bare).answer
