"""The part on mediation is told and drawn from any result, whatever its names and gaps."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analyses._shown.mediation import SHOWN
from analyses.mediation import (
    CHARITY,
    HARM,
    REFUSAL,
    Changes,
    PersonaMediation,
    mediation_path,
    movement_rows,
    side_contrast,
)

HOSTILE = "<img src=x onerror=alert(1)>"
N = 12
HARM_READ, REFUSAL_READ = "harmfulness, end of instruction", "refusal, last prompt token"


def planted(*, harm: float = 0.5, sided: bool = True) -> PersonaMediation:
    rng = np.random.default_rng(0)
    groups = {HOSTILE: "pro", "cruel": "anti"} if sided else {HOSTILE: "other"}
    found = [
        Changes(
            persona=name,
            group=group,
            mediator=mediator,
            total=np.full(N, 0.0) if group == "other" else rng.normal(1, 0.2, N),
            moved=rng.normal(size=N),
            removed=rng.normal(0.5, 0.1, N),
            put_in=rng.normal(0.5, 0.1, N),
            random=rng.normal(0, 0.1, (2 if sided else 0, N)),
        )
        for mediator in ((REFUSAL, CHARITY, HARM) if sided else (REFUSAL,))
        for name, group in groups.items()
    ]
    contrasts = [side_contrast(found, each, rng=rng) for each in (REFUSAL, CHARITY, HARM)]
    moved = {"pro": -1.0, "anti": 1.0} if sided else {"other": 0.1}
    rows = [
        row
        for measure, size in ((HARM_READ, harm), (REFUSAL_READ, 1.0))
        for layer in (0, 1, 2)
        for row in movement_rows(
            {g: size * at + rng.normal(0, 0.02, (2, N)) for g, at in moved.items()},
            rng.normal(0, 0.02, (3, N)),
            measure=measure,
            layer=layer,
            unit="share",
            rng=rng,
        )
    ]
    by_layer = [
        (direction, layer, 0.1 * layer, 0.0, 0.2, 0.1)
        for direction in ("refusal", "random")
        for layer in (0, 1, 2)
    ]
    return PersonaMediation(
        n=N,
        control="coffee",
        layers=(0, 1),
        refusal_layer=1,
        harm_layer=0,
        charity="asked by “x”",
        paths=tuple(mediation_path(each, rng=rng) for each in found),
        contrasts=tuple(each for each in contrasts if each is not None),
        by_layer=pd.DataFrame(
            by_layer if sided else [],
            columns=["direction", "layer", "estimate", "low", "high", "share"],
        ),
        movement=pd.DataFrame(rows),
        by_request=pd.DataFrame(),
    )


@pytest.mark.parametrize("sided", [True, False])
def test_every_figure_is_drawn_and_no_name_is_markup(sided: bool) -> None:
    panels = SHOWN.panels(planted(sided=sided))
    assert len({each.key for each in panels}) == len(panels) == 3
    for each in panels:
        assert each.section == "part-mediation"
        for figure in (each.light, each.dark):
            assert "<img" not in figure.to_json().replace("\\u003c", "<")


@pytest.mark.parametrize(
    ("harm", "words"), [(0.5, "not the gate alone"), (0.0, "a gate behind the reading")]
)
def test_interpretation_is_told_from_a_late_gate(harm: float, words: str) -> None:
    told = SHOWN.tell(planted(harm=harm))
    assert words in told.answer
    assert "random directions" in told.answer


def test_every_part_stands_in_a_table_beside_its_control() -> None:
    contrasts, movement, paths = SHOWN.tell(planted()).tables
    assert [row[0] for row in contrasts.rows] == [REFUSAL, CHARITY, HARM]
    assert len(paths.rows) == 6
    assert "coffee" in contrasts.note
    # Harm and refusal at their own layers, refusal also at the last one, for two sides.
    assert len(movement.rows) == 6
    for table in (contrasts, movement, paths):
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_without_sides_or_a_reading_it_is_said() -> None:
    told = SHOWN.tell(replace(planted(sided=False), charity="not asked: no words"))
    assert "no two sides" in told.answer
    assert "not asked: no words" in " ".join(told.limits)
    assert "Nothing can be claimed of sides" in " ".join(told.limits)
    (paths,) = (table for table in told.tables if table.title.startswith("Each persona"))
    assert paths.rows[0][7] == "–"
