"""The part on the persona's circuit is told and drawn from any result, whatever it lacks."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analyses._circuit_tables import component_rows, edge_rows, head_rows, refusal_rows
from analyses._shown.persona_circuit import SHOWN
from analyses.persona_circuit import Carried, CircuitCheck, PersonaCircuit, has_effect
from lens_personas.interventions import ModelGraph
from lens_personas.statistics import Interval

HOSTILE = "<img src=x onerror=alert(1)>"
N = 8


def interval(estimate: float) -> Interval:
    return Interval(estimate=estimate, low=estimate - 0.1, high=estimate + 0.1, level=0.95)


def check(personas: str, *, total: float) -> CircuitCheck:
    unknown = Interval(estimate=2.0, low=np.nan, high=np.nan, level=0.95)
    carried = [
        Carried(
            found=interval(share * total),
            share=interval(share) if total else unknown,
            random=interval(0.1 * total),
            random_range=(-0.2, 0.9),
            beyond_random=interval((share - 0.1) * total),
            p=0.0001,
        )
        for share in (0.9, 0.97)
    ]
    return CircuitCheck(
        personas=personas,
        pairs=(f"{HOSTILE} / kind",),
        n=N,
        total=interval(total),
        p_total=0.001 if total else 0.8,
        alone=carried[0],
        cut=carried[1],
    )


def planted(*, total: float = 5.0) -> PersonaCircuit:
    rng = np.random.default_rng(0)
    graph, ids = ModelGraph(n_layers=2, n_heads=2), [f"r{at}" for at in range(N)]
    edges = [(edge.source.name, edge.target.name) for edge in graph.edges]
    parts = [("embed", -1, -1), ("head 0.1", 0, 1), ("mlp 1", 1, -1)]
    mass = rng.uniform(0.1, 0.4, (2, 2 * N, 2, 2))
    circuits = {"sufficient": set(edges[:5]), "necessary": {edges[4]}}
    scores = [
        {"circuit": name, "side": side, "harmful": harmful, "pair": "p", "prompt_id": f"{at}"}
        | {"value": rng.normal(2.0 if harmful else -9.0)}
        for name in ("whole", "cut", "random cut")
        for side in ("anti", "pro")
        for harmful in (True, False)
        for at in range(N)
    ]
    curve = [
        {"cut": cut, "size": size, "estimate": share, "low": share - 0.1, "high": share + 0.1}
        | {"random": 0.2, "random_low": 0.1, "random_high": 0.3}
        for cut in (False, True)
        for size, share in ((1, 0.1), (5, 0.9))
    ]
    return PersonaCircuit(
        sides=("anti", "pro"),
        control=HOSTILE,
        n_found=N,
        size=5,
        live=4,
        cut_size=1,
        n_edges=len(edges),
        checks=(check("held out", total=total), check("seen", total=total)),
        neutral=pd.DataFrame(
            [(f"{HOSTILE} / c", 0.1, 0.0, 0.2, 0.05)],
            columns=["pair", "estimate", "low", "high", "kept"],
        ),
        neutral_range=(-0.5, 0.5),
        curve=pd.DataFrame(curve),
        edges=edge_rows(rng.normal(size=(N, len(edges))), ids, edges, circuits=circuits, rng=rng),
        heads=head_rows(
            (mass[0], mass[1]),
            rng.normal(size=mass[0].shape),
            ids * 2,
            ["anti"] * N + ["pro"] * N,
            first="anti",
            rng=rng,
        ).assign(edges=1),
        components=component_rows(rng.normal(size=(N, 3)), ids, parts, rng=rng),
        refusal=refusal_rows(pd.DataFrame(scores), sides=("anti", "pro"), rng=rng),
        left_out=(f"{HOSTILE} / odd: no statements of equal length",),
        by_request=pd.DataFrame(),
    )


def bare() -> PersonaCircuit:
    empty = dict.fromkeys(("heads", "components", "refusal", "neutral"), pd.DataFrame())
    return replace(
        planted(total=0.0),
        **empty,
        neutral_range=None,
        checks=(check("seen", total=0.0),),
        left_out=(),
    )


@pytest.mark.parametrize("found", [planted(), planted(total=0.0), bare()])
def test_every_figure_is_drawn_and_no_name_is_markup(found: PersonaCircuit) -> None:
    panels = SHOWN.panels(found)
    expected = 2 * has_effect(found) + 3 * (len(found.heads) > 0)
    assert len({each.key for each in panels}) == len(panels) == expected
    for each in panels:
        assert each.section == "part-persona-circuit"
        for figure in (each.light, each.dark):
            assert "<img" not in figure.to_json().replace("\\u003c", "<")


def test_the_answer_names_both_circuits_beside_random_ones() -> None:
    answer = SHOWN.tell(planted()).answer
    assert f"5 of the model's {planted().n_edges} edges keep 90 %" in answer
    assert "cutting the 1 strongest" in answer
    assert "leaves 3 % of it, as many random ones" in answer
    assert "held-out users" in answer
    assert "above harmless ones" in answer


def test_without_a_difference_no_circuit_is_told_of() -> None:
    for found in (planted(total=0.0), bare()):
        told = SHOWN.tell(found)
        assert told.answer.endswith("there is no difference for a circuit to carry.")
        assert "edges keep" not in told.answer
    assert "no neutral texts" in SHOWN.tell(bare()).answer


def test_tables_are_whole_and_say_what_was_left_out() -> None:
    told = SHOWN.tell(planted())
    assert len(told.tables) == 6
    for table in told.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
    assert "no statements of equal length" in " ".join(told.limits)
    assert [row[0] for row in told.tables[0].rows] == [
        "held out, kept alone",
        "held out, lost if cut",
        "seen, kept alone",
        "seen, lost if cut",
    ]
    assert "but one pair of users" in " ".join(SHOWN.tell(bare()).limits)
    assert len(SHOWN.tell(bare()).tables) == 2
