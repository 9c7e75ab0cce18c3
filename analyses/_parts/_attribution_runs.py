"""Grids foretold from gradients, edges foretold, and the first edges run for real."""

from collections.abc import Mapping
from typing import Any, get_args

import pandas as pd
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from analyses._attribution_types import Foretold, ForetoldBy
from analyses._bench import bench
from analyses._contents import Contents
from analyses._parts._patching_pairs import StudyPairs, patch_requests, study_pairs
from analyses._parts._patching_runs import (
    SITES,
    about_pairs,
    grids_of,
    head_places,
    slot_places,
)
from analyses._patching_types import Place
from analyses._shards import Tensors
from analyses._workbench import Outline, Workbench
from lens_personas.interventions import (
    Reduce,
    attribution_grid,
    circuit_values,
    edge_attribution,
    head_attribution,
    model_graph,
    refusal_metric,
)
from lens_personas.models import reads_in_sequence
from lens_personas.personas import Request

METHODS: tuple[ForetoldBy, ...] = get_args(ForetoldBy)
"""Where gradients are taken."""

RANDOM_RANKINGS = 9
"""Random rankings beside the one that was foretold."""

_MOST_CURVE = 8
"""Requests that circuits are run on, at most."""

_FEWEST_CURVE = 4

_SIZES = (4, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048)
"""Numbers of edges that are run, as far as there are so many."""

_STEPS = 5
"""Points of a line on which gradients are taken (Gauss-Legendre)."""


def curve_requests(outline: Outline) -> tuple[tuple[Request, ...], bool]:
    """Requests that circuits are run on, and whether they are others than edges are ranked on."""
    others = outline.studied[len(patch_requests(outline)) :][:_MOST_CURVE]
    if len(others) >= _FEWEST_CURVE:
        return others, True
    return patch_requests(outline)[:_MOST_CURVE], False


def foretold(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> Tensors:
    """What each patch of a grid is foretold to move, couple by request by place."""
    found = _pairs_of(work, inputs)
    if found is None:
        return Tensors(tensors={}, about={})
    made, metric = found
    n = made.n_persona_pairs
    sides = (made.first[:n], made.second[:n])
    kind, method = spec["kind"], spec["method"]
    if kind == "head":
        heads = head_attribution(
            work.model, *sides, metric, layers=work.layers, method=method, steps=_STEPS
        )
        values, corrupted, places = heads.values.flatten(1), heads.corrupted, head_places(work)
    else:
        columns = made.columns(n)
        grid = attribution_grid(
            work.model,
            *sides,
            metric,
            site=SITES[kind],
            layers=work.layers,
            positions=columns.positions,
            method=method,
            steps=_STEPS,
        )
        values, corrupted = columns.take(grid.values).flatten(1), grid.corrupted
        places = slot_places(work, len(made.shared))
    return Tensors(
        tensors={"moved": _by_couple(values - corrupted[:, None], made)},
        about=about_pairs(work, made, places),
    )


def edges(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> Tensors:
    """What each edge is foretold to carry, couple by request by edge, by integrated gradients.

    No tensor where attention and MLP of a block read the same: edges are not defined there.
    """
    found = _pairs_of(work, inputs)
    if found is None or not reads_in_sequence(work.model):
        return Tensors(tensors={}, about={})
    made, metric = found
    n = made.n_persona_pairs
    scores = edge_attribution(
        work.model, made.first[:n], made.second[:n], metric, method="integrated"
    )
    return Tensors(
        tensors={
            "values": _by_couple(scores.values, made),
            "whole": _by_couple((scores.clean - scores.corrupted)[:, None], made)[..., 0],
        },
        about={
            "names": [[edge.source.name, edge.target.name] for edge in scores.edges],
            "ranking": [scores.edges.index(edge) for edge in scores.ranking],
        },
    )


def curve(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> pd.DataFrame:
    """Scores of circuits of the first edges and of random ones, on requests kept for that."""
    ((_, ranked),) = inputs.part_tensors("attribution", "edges")
    put = bench(work, inputs)
    requests, _ = curve_requests(work)
    made = None if put.tokens is None else study_pairs(work, put, requests)
    if made is None or put.tokens is None or not ranked.tensors:
        return pd.DataFrame()
    n = made.n_persona_pairs
    every = model_graph(work.model).edges
    order = [every[at] for at in ranked.about["ranking"]]
    return circuit_values(
        work.model,
        made.first[:n],
        made.second[:n],
        refusal_metric(put.tokens.token_ids),
        order,
        [size for size in _SIZES if size < len(order)],
        rng=work.rng("attribution curve"),
        n_random=RANDOM_RANKINGS,
        clusters=[prompt.prompt_id for prompt in made.first[:n]],
    )


def foretold_grids(contents: Contents) -> list[Foretold]:
    """Every grid that was both foretold and patched."""
    real, _ = grids_of(contents)
    patched = {g.kind: g for g in real if (g.way, g.metric) == ("denoise", "refusal")}
    return [
        Foretold(
            kind=spec["kind"],
            method=spec["method"],
            places=tuple(Place(*place) for place in found.about["places"]),
            predicted=found.tensors["moved"].double().numpy(),
            patched=patched[spec["kind"]].moved,
        )
        for spec, found in contents.part_tensors("attribution", "foretold")
        if found.tensors and spec["kind"] in patched
    ]


def _pairs_of(work: Workbench, inputs: Contents) -> tuple[StudyPairs, Reduce] | None:
    put = bench(work, inputs)
    made = None if put.tokens is None else study_pairs(work, put)
    if made is None or put.tokens is None:
        return None
    return made, refusal_metric(put.tokens.token_ids)


def _by_couple(
    values: Float[Tensor, "pair place"], made: StudyPairs
) -> Float[Tensor, "couple request place"]:
    by_couple = "(couple r) place -> couple r place"
    return rearrange(values.detach(), by_couple, r=len(made.requests)).to(torch.float32)
