"""The part on the circuit of the persona's effect: found, sized, then tested on other requests."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from analyses._cells import Cell
from analyses._circuit_tables import component_rows, edge_rows, head_rows, refusal_rows
from analyses._contents import Contents
from analyses._part import Core, Part, PartPlan, Passes
from analyses._parts._persona_circuit_edges import edge_of, live_edges
from analyses._parts._persona_circuit_heads import direct_shares, head_readings
from analyses._parts._persona_circuit_pairs import (
    SIDES,
    control_couples,
    couples,
    found_on,
    held_out,
    named,
    neutral_couples,
    requests_of,
    tested_couples,
)
from analyses._parts._persona_circuit_runs import (
    CURVE_RANDOM,
    chosen_sizes,
    cut_runs,
    found_edges,
    neutral_runs,
    sized_runs,
    tested_runs,
)
from analyses._shards import Content
from analyses._vectors import REFUSAL_NAMES
from analyses._workbench import Workbench
from analyses.persona_circuit import (
    SPREAD,
    PersonaCircuit,
    circuit_check,
    circuit_claims,
    curve_rows,
    neutral_differences,
)

Spec = Mapping[str, Any]

_STEPS: Mapping[str, Callable[[Workbench, Spec, Contents], Content]] = {
    "edges": found_edges,
    "sizes": sized_runs,
    "tests": tested_runs,
    "neutral": neutral_runs,
    "cut": cut_runs,
    "heads": head_readings,
    "direct": direct_shares,
}


def cells(plan: PartPlan) -> tuple[Cell, ...]:
    """Edges, then sizes, then tests of both; none where no two sides can be compared."""
    if not couples(plan.outline):
        return ()
    needs = plan.needs("tokens")
    refusal = plan.needs("vector", names=[REFUSAL_NAMES[1]])
    edges = plan.cell("persona-circuit", "edges", needs, tensors=True)
    sizes = plan.cell("persona-circuit", "sizes", (*needs, edges))
    runs = [
        plan.cell("persona-circuit", step, (*needs, edges, sizes))
        for step in ("tests", "neutral", "cut")
    ]
    heads = plan.cell("persona-circuit", "heads", (*needs, *refusal), tensors=True)
    direct = plan.cell("persona-circuit", "direct", needs, tensors=True)
    return (edges, sizes, *runs, heads, direct)


def evaluate(work: Workbench, spec: Spec, inputs: Contents) -> Content:
    """What a cell of the part computes."""
    return _STEPS[spec["step"]](work, spec, inputs)


def assemble(core: Core, contents: Contents) -> PersonaCircuit | None:
    """The part's result; None where no circuit could be looked for."""
    outline = core.plan.outline
    if not couples(outline):
        return None
    tests, neutral, cut = (_table(contents, step) for step in ("tests", "neutral", "cut"))
    chosen, rng = chosen_sizes(contents), outline.rng("persona circuit")
    if not chosen or not len(tests):
        return None
    edges, n_edges = _edges(contents, chosen, rng)
    own = edges[edges["sufficient"]]
    live = live_edges(list(map(edge_of, own["source"], own["target"])))
    at_size = tests["size"] == tests["cut"].map(chosen)
    checks = [
        circuit_check(tests[at_size & tests["pair"].isin(pairs)], personas=personas, rng=rng)
        for personas, pairs in _users(core)
        if tests["pair"].isin(pairs).any()
    ]
    neutral_rows, neutral_range = neutral_differences(neutral, rng=rng)
    tested = [named(couple) for couple in tested_couples(outline)]
    ((_, scored),) = contents.part_tensors("persona-circuit", "edges")
    return PersonaCircuit(
        sides=SIDES,
        control=outline.data.control.name,
        n_found=len(set(scored.about["prompt_ids"])),
        size=chosen[False],
        live=len(live),
        cut_size=chosen[True],
        n_edges=n_edges,
        checks=tuple(checks),
        neutral=neutral_rows,
        neutral_range=neutral_range,
        curve=curve_rows(tests[tests["pair"].isin(tested)], rng=rng),
        edges=edges,
        heads=_heads(contents, edges, rng),
        components=_components(contents, rng),
        refusal=refusal_rows(cut, sides=SIDES, rng=rng) if len(cut) else pd.DataFrame(),
        left_out=tuple(scored.about["left_out"]),
        by_request=tests[at_size].reset_index(drop=True),
    )


def passes(work: Workbench, spec: Spec) -> Passes:
    """What a cell puts through the model, at most: a circuit costs two passes a prompt."""
    step = spec["step"]
    users = {
        "edges": found_on(work),
        "sizes": found_on(work),
        "tests": (*tested_couples(work), *found_on(work)),
        "neutral": neutral_couples(work),
        "cut": [couple for at in (0, 1) for couple in control_couples(work, at)],
        "heads": [couple for at in (0, 1) for couple in control_couples(work, at)],
        "direct": tested_couples(work),
    }[step]
    # Forward and backward at eight points; some sixty circuits; random ones beside them.
    times = {"edges": 3 * 8, "sizes": 120, "neutral": 6, "cut": 12, "heads": 2}
    times["tests"] = 4 * (work.config.circuit_random + 1) + 28 * (CURVE_RANDOM + 1)
    asked = requests_of(work, {"edges": "find", "sizes": "size"}.get(step, "test"))
    texts = [work.say(request, name) for couple in users for name in couple for request in asked]
    return Passes(prompts=texts * times.get(step, 1))


def _users(core: Core) -> list[tuple[str, list[str]]]:
    """Held-out users, then those that the circuit was found on."""
    outline = core.plan.outline
    kinds = (("held out", held_out(outline)), ("seen", found_on(outline)))
    return [(name, [named(couple) for couple in own]) for name, own in kinds if own]


def _table(contents: Contents, step: str) -> pd.DataFrame:
    ((_, found),) = contents.part("persona-circuit", step)
    return found


def _edges(
    contents: Contents, chosen: Mapping[bool, int], rng: np.random.Generator
) -> tuple[pd.DataFrame, int]:
    """Every edge with its score, and which of the two circuits it is in."""
    ((_, found),) = contents.part_tensors("persona-circuit", "edges")
    edges = [tuple(name.split(" -> ")) for name in found.about["edges"]]
    scores = found.tensors["values"].double().numpy()
    order = np.argsort(-np.abs(scores.mean(axis=0)), kind="stable")
    ranking = [edges[at] for at in order]
    inner = [edge for edge in ranking if edge[0] != "embed"]
    circuits = {
        "sufficient": set(ranking[: chosen[False]]),
        "necessary": set(inner[: chosen[True]]),
    }
    ids = found.about["prompt_ids"]
    return edge_rows(scores, ids, edges, circuits=circuits, rng=rng), len(edges)


def _heads(contents: Contents, edges: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    ((_, found),) = contents.part_tensors("persona-circuit", "heads")
    if "mass" not in found.tensors:
        return pd.DataFrame()
    mass, control, written = (
        found.tensors[name].double().numpy() for name in ("mass", "control_mass", "written")
    )
    table = head_rows(
        (mass, control),
        written,
        found.about["prompt_ids"],
        found.about["sides"],
        first=SIDES[0],
        rng=rng,
    )
    own = edges[edges["sufficient"]]["source"].value_counts()
    names = [f"head {row.layer}.{row.head}" for row in table.itertuples()]
    return table.assign(edges=[int(own.get(name, 0)) for name in names])


def _components(contents: Contents, rng: np.random.Generator) -> pd.DataFrame:
    ((_, found),) = contents.part_tensors("persona-circuit", "direct")
    if "values" not in found.tensors:
        return pd.DataFrame()
    values, rest = found.tensors["values"], found.tensors["rest"]
    parts = [(str(name), int(layer), int(head)) for name, layer, head in found.about["components"]]
    return component_rows(
        torch.cat([values, rest[:, None]], dim=1).double().numpy(),
        found.about["prompt_ids"],
        [*parts, (SPREAD, -1, -1)],
        rng=rng,
    )


PART = Part(
    name="persona-circuit",
    doing="running circuits of the persona's effect",
    cells=cells,
    evaluate=evaluate,
    assemble=assemble,
    claims=circuit_claims,
    passes=passes,
)
