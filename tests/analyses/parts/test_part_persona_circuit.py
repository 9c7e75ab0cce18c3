"""The part on the persona's circuit: its random circuits, and a small run on the organism."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analyses._circuit_tables import CUT, WHOLE
from analyses._config import WhosAskingConfig
from analyses._data import study_data
from analyses._part import PartPlan
from analyses._parts import _persona_circuit_runs, part
from analyses._parts._persona_circuit_edges import (
    edge_of,
    edges_named,
    inner_edges,
    live_edges,
    random_circuit,
)
from analyses._shown import shown
from analyses._study import run_study
from analyses._workbench import Outline, workbench
from analyses.persona_circuit import has_effect
from analyses.whos_asking import WhosAsking
from lens_personas.interventions import Edge, ModelGraph, Node
from lens_personas.models import load_model

GRAPH = ModelGraph(n_layers=3, n_heads=2)


def test_every_edge_is_found_by_its_name() -> None:
    assert edges_named(GRAPH, [edge.name for edge in GRAPH.edges]) == GRAPH.edges
    for edge in GRAPH.edges:
        assert edge_of(edge.source.name, edge.target.name) == edge


def test_all_edges_of_a_model_are_live_and_none_without_a_way_out() -> None:
    assert live_edges(GRAPH.edges) == frozenset(GRAPH.edges)
    assert not live_edges([edge for edge in GRAPH.edges if edge.target.kind != "logits"])
    assert not live_edges(inner_edges(GRAPH.edges))


def test_a_head_is_on_a_way_only_if_its_layer_reads() -> None:
    out = Edge(Node("head", 1, 0), Node("logits"))
    assert not live_edges([Edge(Node("embed"), Node("attn", 0)), out])
    way = (Edge(Node("embed"), Node("attn", 1)), out)
    assert live_edges([*way, Edge(Node("head", 2, 1), Node("logits"))]) == frozenset(way)


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("size", [1, 7, 20])
def test_random_circuits_have_their_size_and_differ(size: int, inner: bool) -> None:
    rng = np.random.default_rng(0)
    drawn = [random_circuit(GRAPH, size, rng, inner=inner) for _ in range(8)]
    for each in drawn:
        assert len(set(each)) == len(each) == size
        assert set(each) <= set(GRAPH.edges)
        assert not inner or inner_edges(each) == each
    assert len({frozenset(each) for each in drawn}) > 1


def test_random_circuits_lie_on_ways_through_the_model() -> None:
    """All but the end of the last way, which may be cut short."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        drawn = random_circuit(GRAPH, 20, rng)
        longest = 2 * GRAPH.n_layers + 1
        assert len(live_edges(drawn)) >= len(drawn) - longest


def test_a_circuit_may_be_the_whole_model_but_no_more() -> None:
    rng = np.random.default_rng(0)
    n = len(GRAPH.edges)
    assert set(random_circuit(GRAPH, n, rng)) == set(GRAPH.edges)
    inner = inner_edges(GRAPH.edges)
    assert set(random_circuit(GRAPH, len(inner), rng, inner=True)) == set(inner)
    with pytest.raises(ValueError, match=f"at most the graph's {n} edges, got {n + 1}"):
        random_circuit(GRAPH, n + 1, rng)
    with pytest.raises(ValueError, match=f"at most {len(inner)} edges inside the model"):
        random_circuit(GRAPH, n, rng, inner=True)


SMALL: dict[str, Any] = {
    "parts": ("persona-circuit",),
    "layers": (5,),
    "max_personas": 6,
    "max_requests": 14,
    "n_nulls": 2,
    "circuit_random": 4,
    "write_answers": False,
}


@pytest.fixture(autouse=True)
def few_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three sizes in place of some thirty: what is tested here is not the curve."""
    monkeypatch.setattr(
        _persona_circuit_runs, "_sizes", lambda n_edges, factor: [5, n_edges // 2, n_edges]
    )


def study(model: str, **changed: Any) -> WhosAsking:
    return run_study(WhosAskingConfig(**SMALL | {"model": model} | changed)).result


@pytest.mark.slow
def test_the_gated_organism_has_a_circuit_that_is_tested_on_what_it_was_not_found_on() -> None:
    result = study("organism:chat")
    found = result.parts.persona_circuit
    assert found is not None
    held_out, seen = found.checks
    assert (held_out.personas, seen.personas) == ("held out", "seen")
    assert not set(held_out.pairs) & set(seen.pairs)
    assert has_effect(found)
    assert found.check.total.estimate > 1.0
    assert 0 < found.live <= found.size < found.n_edges
    assert found.cut_size < found.size
    # Six requests are too few for the correction over the study.
    claims = [claim for claim in result.headline.claims if claim.part == "persona-circuit"]
    assert [(claim.p < 0.05, claim.beyond_nulls) for claim in claims] == [(True, True)] * 2
    # Theorems of whole and empty circuits, through all that lies between.
    curve = found.curve.set_index(["cut", "size"])["estimate"]
    assert curve[False, found.n_edges] == pytest.approx(1.0, abs=1e-3)
    assert curve[True, max(size for cut, size in curve.index if cut)] == pytest.approx(0, abs=1e-3)
    assert found.edges["sufficient"].sum() == found.size
    assert found.edges["necessary"].sum() == found.cut_size
    assert not (found.edges["necessary"] & (found.edges["source"] == "embed")).any()
    direct = found.components["estimate"].sum()
    assert direct == pytest.approx(found.check.total.estimate, abs=1e-3)
    refusal = found.refusal.set_index(["circuit", "measure"])["estimate"]
    assert abs(refusal[CUT, "difference"]) < 0.3 * refusal[WHOLE, "difference"]
    assert refusal[CUT, "as such"] > 0.5 * refusal[WHOLE, "as such"]


@pytest.mark.slow
def test_without_a_gate_on_personas_there_is_no_difference_and_no_circuit() -> None:
    result = study("organism:ungated", max_personas=4, max_requests=12, circuit_random=2)
    found = result.parts.persona_circuit
    assert found is not None
    assert not has_effect(found)
    claims = [claim for claim in result.headline.claims if claim.part == "persona-circuit"]
    assert not any(claim.beyond_nulls or claim.holds for claim in claims)
    answer = shown("persona-circuit").tell(found).answer
    assert answer.endswith("there is no difference for a circuit to carry.")


def test_the_plan_counts_what_is_run() -> None:
    config = WhosAskingConfig(**SMALL)
    work = workbench(config, study_data(config), load_model("organism:chat", device="cpu"))
    made = part("persona-circuit")
    outline = Outline(config=config, data=work.data, card=work.card)
    plan = PartPlan(outline=outline, core=(), chosen={}, layer=5, context="")
    n = {cell.spec["step"]: len(made.passes(work, cell.spec).prompts) for cell in made.cells(plan)}
    assert n["direct"] == 2 * len(work.studied)
    assert n["heads"] == 2 * 2 * n["direct"]
    assert n["tests"] == max(n.values())


def test_one_sided_personas_have_no_circuit_to_look_for() -> None:
    config = WhosAskingConfig(**SMALL)
    data = study_data(config)
    one_sided = replace(data, personas=tuple(p for p in data.personas if p.group != "pro"))
    outline = Outline(config=config, data=one_sided, card=load_model("organism:chat").card)
    plan = PartPlan(outline=outline, core=(), chosen={}, layer=3, context="")
    assert part("persona-circuit").cells(plan) == ()
