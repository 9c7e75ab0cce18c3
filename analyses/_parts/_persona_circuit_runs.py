"""Circuits of the persona's effect: found by attribution, then run for real."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from einops import repeat
from jaxtyping import Float
from torch import Tensor

from analyses._circuit_tables import CUT, CUT_COLUMNS, RANDOM_CUT, WHOLE
from analyses._contents import Contents
from analyses._parts._persona_circuit_edges import edges_named, inner_edges, random_circuit
from analyses._parts._persona_circuit_pairs import (
    SIDES,
    Swaps,
    control_couples,
    found_on,
    held_out,
    metric_of,
    neutral_couples,
    requests_of,
    swaps,
    tested_couples,
)
from analyses._shards import Tensors
from analyses._workbench import Workbench
from analyses.persona_circuit import FOUND, RUN_COLUMNS, chosen_size
from lens_personas.interventions import (
    Edge,
    complement_of,
    edge_attribution,
    model_graph,
    run_circuits,
)

Spec = Mapping[str, Any]

CURVE_RANDOM = 2
"""Random circuits, at most, of sizes that were not chosen."""
_STEPS, _CUT_RANDOM = 8, 2


def found_edges(work: Workbench, spec: Spec, inputs: Contents) -> Tensors:
    """Score of every edge for the difference between two users, by integrated gradients.

    ``values`` [pair, edge]; the edges in ``about``, in the order of the graph. No tensor where no
    token tells a refusal, no two texts match, or the model is no sum of heads and MLPs.
    """
    metric = metric_of(inputs)
    if metric is None:
        return Tensors(tensors={}, about={"why": "no token tells a refusal", "left_out": []})
    pairs = swaps(work, inputs, found_on(work), requests_of(work, "find"))
    about: dict[str, Any] = {"left_out": list(pairs.left_out)}
    if not len(pairs):
        return Tensors(tensors={}, about=about | {"why": "no two texts are equally long"})
    try:
        found = edge_attribution(
            work.model, pairs.clean, pairs.corrupted, metric, method="integrated", steps=_STEPS
        )
    except ValueError as error:
        return Tensors(tensors={}, about=about | {"why": str(error)})
    return Tensors(
        tensors={"values": found.values},
        about=about
        | {
            "edges": [edge.name for edge in found.edges],
            "pairs": list(pairs.pairs),
            "prompt_ids": list(pairs.prompt_ids),
        },
    )


def sized_runs(work: Workbench, spec: Spec, inputs: Contents) -> pd.DataFrame:
    """Circuits of many sizes, alone and cut, on the requests that sizes are chosen on."""
    arms = [
        _Arm(FOUND, size, cut, ranking[:size])
        for cut, ranking in _rankings(work, inputs).items()
        for size in _sizes(len(ranking), 1.25)
    ]
    return _runs(work, inputs, swaps(work, inputs, found_on(work), requests_of(work, "size")), arms)


def tested_runs(work: Workbench, spec: Spec, inputs: Contents) -> pd.DataFrame:
    """The chosen circuits and random ones on the test requests; on held-out users other sizes too.

    Where no user is held out, on those that the circuit was found on.
    """
    chosen, rankings = chosen_sizes(inputs), _rankings(work, inputs)
    n_random = work.config.circuit_random
    arms, more = [], []
    for cut, size in chosen.items():
        arms += _arms(work, rankings[cut], size, cut, n_random)
        for other in sorted({*_sizes(len(rankings[cut]), 3.0)} - {size}):
            more += _arms(work, rankings[cut], other, cut, CURVE_RANDOM)
    asked = requests_of(work, "test")
    kinds = [(tested_couples(work), [*arms, *more])]
    if held_out(work):
        kinds.append((found_on(work), arms))
    tables = [_runs(work, inputs, swaps(work, inputs, own, asked), each) for own, each in kinds]
    return pd.concat([each for each in tables if len(each)] or tables[:1], ignore_index=True)


def neutral_runs(work: Workbench, spec: Spec, inputs: Contents) -> pd.DataFrame:
    """The sufficient circuit alone, between neutral texts."""
    chosen, rankings = chosen_sizes(inputs), _rankings(work, inputs)
    arms = [_Arm(FOUND, chosen[False], False, rankings[False][: chosen[False]])] if chosen else []
    pairs = swaps(work, inputs, neutral_couples(work), requests_of(work, "test"))
    return _runs(work, inputs, pairs, arms)


def cut_runs(work: Workbench, spec: Spec, inputs: Contents) -> pd.DataFrame:
    """Scores with the necessary circuit cut: it carries what it does under the control's text.

    :data:`CUT_COLUMNS`, one row a request, user and circuit; random circuits are averaged.
    """
    chosen = chosen_sizes(inputs)
    if not chosen:
        return pd.DataFrame(columns=list(CUT_COLUMNS))
    found, *drawn = _arms(work, _rankings(work, inputs)[True], chosen[True], True, _CUT_RANDOM)
    arms = [
        _Arm(WHOLE, 0, True, ()),
        found._replace(circuit=CUT),
        *(each._replace(circuit=RANDOM_CUT) for each in drawn),
    ]
    tables = [
        _runs(work, inputs, pairs, arms).assign(side=side, harmful=use == "test")
        for at, side in enumerate(SIDES)
        for use in ("test", "harmless")
        for pairs in [swaps(work, inputs, control_couples(work, at), requests_of(work, use))]
    ]
    *keys, value = CUT_COLUMNS
    known = [each for each in tables if len(each)] or tables[:1]
    return pd.concat(known).groupby(keys, sort=False)[[value]].mean().reset_index()


def chosen_sizes(inputs: Contents) -> dict[bool, int]:
    """Edges of the sufficient circuit and, under True, of the one that is cut; empty for none."""
    ((_, runs),) = inputs.part("persona-circuit", "sizes")
    return {cut: chosen_size(runs, cut=cut) for cut in (False, True)} if len(runs) else {}


class _Arm(NamedTuple):
    """A circuit to be run."""

    circuit: str
    size: int
    cut: bool
    edges: Sequence[Edge]


def _runs(work: Workbench, inputs: Contents, pairs: Swaps, arms: Sequence[_Arm]) -> pd.DataFrame:
    """One row a pair and arm; columns of the runs of circuits."""
    metric = metric_of(inputs)
    if metric is None or not arms or not len(pairs):
        return pd.DataFrame(columns=list(RUN_COLUMNS))
    graph = model_graph(work.model)
    ran = [complement_of(graph, arm.edges) if arm.cut else tuple(arm.edges) for arm in arms]
    values = run_circuits(
        work.model,
        pairs.clean,
        pairs.corrupted,
        # The whole model gives the clean run, the empty circuit the corrupted one.
        [graph.edges, (), *ran],
        metric,
        token_budget=work.config.token_budget,
    ).double()
    n = len(pairs)
    return pd.DataFrame(
        {
            "circuit": np.repeat([arm.circuit for arm in arms], n),
            "size": np.repeat([arm.size for arm in arms], n),
            "cut": np.repeat([arm.cut for arm in arms], n),
            "pair": list(pairs.pairs) * len(arms),
            "prompt_id": list(pairs.prompt_ids) * len(arms),
            "clean": _over(values[0], len(arms)),
            "corrupted": _over(values[1], len(arms)),
            "value": values[2:].flatten().numpy(),
        }
    )


def _over(values: Float[Tensor, " prompt"], n: int) -> Float[np.ndarray, " row"]:
    return np.asarray(repeat(values, "prompt -> (arm prompt)", arm=n))


def _rankings(work: Workbench, inputs: Contents) -> dict[bool, tuple[Edge, ...]]:
    """Edges by the size of their mean score, largest first; under True those that may be cut."""
    ((_, found),) = inputs.part_tensors("persona-circuit", "edges")
    if "values" not in found.tensors:
        return {}
    order = found.tensors["values"].double().mean(dim=0).abs().argsort(descending=True, stable=True)
    names = [found.about["edges"][at] for at in order.tolist()]
    ranking = edges_named(model_graph(work.model), names)
    return {False: ranking, True: inner_edges(ranking)}


def _arms(
    work: Workbench, ranking: Sequence[Edge], size: int, cut: bool, n_random: int
) -> list[_Arm]:
    """The circuit of that size, and random ones."""
    rng, graph = work.rng(f"random circuits of {size}, cut {cut}"), model_graph(work.model)
    drawn = [random_circuit(graph, size, rng, inner=cut) for _ in range(n_random)]
    random = [_Arm(f"random {at + 1}", size, cut, each) for at, each in enumerate(drawn)]
    return [_Arm(FOUND, size, cut, ranking[:size]), *random]


def _sizes(n_edges: int, factor: float) -> list[int]:
    """Sizes up to all edges, each about ``factor`` times the one before."""
    n = int(np.ceil(np.log(max(n_edges, 2)) / np.log(factor)))
    return sorted({min(round(factor**at), n_edges) for at in range(n + 1)} | {n_edges})
