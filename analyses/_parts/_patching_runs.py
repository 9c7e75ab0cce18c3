"""Grids of patches between the prompts of two users, and the places that they hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from analyses._bench import bench
from analyses._contents import Contents
from analyses._parts._patching_pairs import (
    SlotColumns,
    StudyPairs,
    shown_slots,
    study_pairs,
)
from analyses._patching_types import Metric, PatchedGrid, PatchKind, Place, Slot, Way
from analyses._shards import Tensors
from analyses._workbench import Outline, Workbench
from lens_personas.hooks import Site
from lens_personas.interventions import (
    HeadGrid,
    Reduce,
    answer_metric,
    clean_kl_metric,
    head_grid,
    margin_metric,
    patch_grid,
    refusal_metric,
)
from lens_personas.models import Prompt


class _Scored(NamedTuple):
    """Scores of one grid."""

    places: list[Place]
    values: Float[Tensor, "prompt place"]
    clean: Float[Tensor, " prompt"]
    corrupted: Float[Tensor, " prompt"]


SITES: dict[PatchKind, Site] = {
    "resid_pre": Site.RESID_PRE,
    "attn_out": Site.ATTN_OUT,
    "mlp_out": Site.MLP_OUT,
}
"""Sites that are patched position by position."""

OTHER_METRICS: tuple[Metric, ...] = ("answer", "margin", "kl")
"""Metrics beside the refusal score."""


def kinds_of(outline: Outline) -> tuple[PatchKind, ...]:
    """What can be patched: where components are not what is added, the residual alone."""
    if not outline.card.residual_identity_holds:
        return ("resid_pre",)
    return ("resid_pre", "attn_out", "mlp_out", "head")


def patched(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> Tensors:
    """Scores of one grid, couple by request by place, with those of the runs without a patch.

    Denoised refusal grids hold the pairs of neutral users too. No tensor where there is no pair,
    no token tells a refusal, or the metric needs an answer that is not known.
    """
    put = bench(work, inputs)
    made = None if put.tokens is None else study_pairs(work, put)
    if made is None or put.tokens is None:
        return Tensors(tensors={}, about={})
    refusal = put.tokens.token_ids
    whole = with_nulls(spec)
    pairs = slice(0, None if whole else made.n_persona_pairs)
    sides = (made.first[pairs], made.second[pairs])
    clean, corrupted = sides if spec["way"] == "denoise" else sides[::-1]
    metric = metric_of(work, spec["metric"], refusal, made, clean)
    if metric is None:
        return Tensors(tensors={}, about={})
    runs = _Runs(
        work=work,
        columns=made.columns(len(clean)),
        clean=clean,
        corrupted=corrupted,
        metric=metric,
    )
    if spec["kind"] == "head_at":
        scored = runs.heads_at(top_heads(work, inputs))
    else:
        scored = runs.heads() if spec["kind"] == "head" else runs.positions(SITES[spec["kind"]])
    by_couple = "(couple r) ... -> couple r ..."
    n = len(made.requests)
    return Tensors(
        tensors={
            "values": rearrange(scored.values, by_couple, r=n),
            "clean": rearrange(scored.clean, by_couple, r=n),
            "corrupted": rearrange(scored.corrupted, by_couple, r=n),
        },
        about=about_pairs(work, made, scored.places),
    )


def about_pairs(work: Workbench, made: StudyPairs, places: Sequence[Place]) -> dict[str, Any]:
    """What the cells of a grid are, as plain values."""
    return {
        "couples": [list(couple) for couple in made.couples],
        "prompt_ids": [request.prompt_id for request in made.requests],
        "places": [list(place) for place in places],
        "slots": [[s.role, s.offset, s.varies, s.token] for s in shown_slots(work, made)],
        "left_out": list(made.left_out),
    }


def with_nulls(spec: Mapping[str, Any]) -> bool:
    """Whether a grid holds the pairs of neutral users too."""
    return (spec["metric"], spec["way"]) == ("refusal", "denoise") and spec["kind"] != "head_at"


def metric_of(
    work: Workbench,
    name: Metric,
    refusal: Sequence[int],
    made: StudyPairs,
    clean: Sequence[Prompt],
) -> Reduce | None:
    """The metric of that name; None where a request has no known answer that it needs."""
    if name == "refusal":
        return refusal_metric(refusal)
    if name == "kl":
        return clean_kl_metric(work.model, clean)
    known = [_answer(work, request.target or "") for request in made.requests]
    answers = [token for token in known if token is not None] * (len(clean) // len(known))
    if len(answers) != len(clean):
        return None
    return answer_metric(answers) if name == "answer" else margin_metric(answers, refusal[0])


def top_heads(outline: Outline, inputs: Contents) -> tuple[tuple[int, int], ...]:
    """Heads that move most when denoised, the first one most: layer and head."""
    for spec, found in inputs.part_tensors("patching", "grid"):
        if (spec["kind"], spec["way"]) == ("head", "denoise") and found.tensors:
            n = len(found.about["couples"])
            moved = found.tensors["values"][:n] - found.tensors["corrupted"][:n, :, None]
            order = moved.mean(dim=(0, 1)).abs().argsort(descending=True)
            chosen = order[: outline.config.patch_heads].tolist()
            return tuple(tuple(found.about["places"][at][:2]) for at in chosen)
    return ()


def grids_of(contents: Contents) -> tuple[list[PatchedGrid], list[Tensors]]:
    """Every grid that was computed, and the tensors it is made of."""
    read = [
        (spec, found)
        for step in ("grid", "head_at")
        for spec, found in contents.part_tensors("patching", step)
        if found.tensors
    ]
    return [_as_grid(spec, found) for spec, found in read], [found for _, found in read]


def slots_of(found: Tensors) -> tuple[Slot, ...]:
    """Positions that the grids of a study name."""
    return tuple(
        Slot(role=role, offset=offset, varies=varies, token=token)
        for role, offset, varies, token in found.about["slots"]
    )


def _as_grid(spec: Mapping[str, Any], found: Tensors) -> PatchedGrid:
    n = len(found.about["couples"])
    kept = {key: each.double().numpy() for key, each in found.tensors.items()}
    way: Way = spec["way"]
    first, second = ("clean", "corrupted") if way == "denoise" else ("corrupted", "clean")
    null = kept["values"][n:] - kept["corrupted"][n:, :, None]
    null_whole = kept["clean"][n:] - kept["corrupted"][n:]
    return PatchedGrid(
        kind=spec["kind"],
        way=way,
        metric=spec["metric"],
        places=tuple(Place(*place) for place in found.about["places"]),
        values=kept["values"][:n],
        first=kept[first][:n],
        second=kept[second][:n],
        null=np.asarray(null.mean(axis=1)),
        null_whole=np.asarray(null_whole.mean(axis=1)),
    )


def head_places(work: Outline) -> list[Place]:
    """Cells of a grid of heads, layer by layer."""
    return [Place(layer, head, -1) for layer in work.layers for head in range(work.card.n_heads)]


def slot_places(work: Outline, n_slots: int) -> list[Place]:
    """Cells of a grid of positions, layer by layer."""
    return [Place(layer, -1, slot) for layer in work.layers for slot in range(n_slots)]


@dataclass(frozen=True, kw_only=True)
class _Runs:
    """Grids of some pairs, by place."""

    work: Workbench
    columns: SlotColumns
    clean: Sequence[Prompt]
    corrupted: Sequence[Prompt]
    metric: Reduce

    def heads(self) -> _Scored:
        """Every head at all positions at once."""
        grid = self._head_grid(self.work.layers, None)
        flat = rearrange(grid.values, "n layer head 1 -> n (layer head)")
        return _Scored(head_places(self.work), flat, grid.clean, grid.corrupted)

    def positions(self, site: Site) -> _Scored:
        """Every position at every layer."""
        grid = patch_grid(
            self.work.model,
            self.clean,
            self.corrupted,
            self.metric,
            site=site,
            layers=self.work.layers,
            positions=self.columns.positions,
            token_budget=self.work.config.token_budget,
        )
        flat = rearrange(self.columns.take(grid.values), "n layer slot -> n (layer slot)")
        places = slot_places(self.work, self.columns.index.shape[1])
        return _Scored(places, flat, grid.clean, grid.corrupted)

    def heads_at(self, chosen: Sequence[tuple[int, int]]) -> _Scored:
        """Some heads position by position."""
        layers = tuple(sorted({layer for layer, _ in chosen}))
        grid = self._head_grid(layers, self.columns.positions, only=chosen)
        rows = [
            self.columns.take(grid.values[:, [layers.index(layer)], head])[:, 0]
            for layer, head in chosen
        ]
        places = [
            Place(*head, slot) for head in chosen for slot in range(self.columns.index.shape[1])
        ]
        return _Scored(places, torch.cat(rows, dim=1), grid.clean, grid.corrupted)

    def _head_grid(
        self,
        layers: Sequence[int],
        positions: Sequence[int] | None,
        *,
        only: Sequence[tuple[int, int]] | None = None,
    ) -> HeadGrid:
        return head_grid(
            self.work.model,
            self.clean,
            self.corrupted,
            self.metric,
            layers=layers,
            positions=positions,
            only=None if only is None else set(only),
            token_budget=self.work.config.token_budget,
        )


def _answer(work: Workbench, target: str) -> int | None:
    """First token of the known answer, as `analyses._evaluate` reads it."""
    ids = work.model.tokenizer.encode(target, add_special_tokens=False)
    return int(ids[0]) if ids and ids[0] != work.model.tokenizer.unk_token_id else None
