"""Vectors added and subtracted at many doses, and vectors of the same recipe without contrast."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from analyses._arms import Bench, arm_edits
from analyses._bench import bench
from analyses._cell_plan import random_names
from analyses._collect import contrast
from analyses._contents import Contents
from analyses._parts._dose_response_kl import kl_of_arms
from analyses._parts._dose_response_texts import MAX_HARMLESS
from analyses._shards import Tensors
from analyses._vectors import REFUSAL_NAMES
from analyses._workbench import Outline, Workbench
from analyses.dose_response import DoseKind
from lens_personas.hooks import Site
from lens_personas.interventions import Arm, sweep
from lens_personas.models import Prompt
from lens_personas.readouts import refusal_score
from lens_personas.vectors import Contrast, ContrastActivations, collect_contrast

DOSE_COLUMNS = ("persona", "group", "kind", "dose", "prompt_id", "harmful", "score", "kl")
"""Columns of what vectors do: ``dose`` in residual norms, below 0 where subtracted; ``score`` on
harmful requests, ``kl`` in nats on harmless ones; NaN where not measured."""


@dataclass(frozen=True, kw_only=True)
class DoseArm:
    """Whose vector is tried at many doses."""

    persona: str
    """Persona, refusal vector or null."""
    group: str
    """Side it is expected to take."""
    kind: DoseKind
    """What it stands for."""


def dose_arms(outline: Outline, shuffled: Sequence[str]) -> list[DoseArm]:
    """Personas, the control, refusal both ways, random directions, and exchanged labels."""
    control = outline.data.control.name
    return [
        *(
            DoseArm(
                persona=p.name, group=p.group, kind="control" if p.name == control else "persona"
            )
            for p in outline.data.personas
        ),
        *(DoseArm(persona=name, group="refusal", kind="refusal") for name in REFUSAL_NAMES),
        *(
            DoseArm(persona=name, group="null", kind="random")
            for name in random_names(outline.config.n_nulls)
        ),
        *(DoseArm(persona=name, group="null", kind="shuffled") for name in shuffled),
    ]


def shuffled_vectors(work: Workbench) -> Tensors:
    """Personas' vectors, fitted anew after half of the labels were exchanged, a row a layer.

    The same prompts, read in the same place: what is left is what the recipe does without its
    contrast. A persona with less than two pairs has no such vector.
    """
    rng = work.rng("shuffled labels")
    found: dict[str, Float[Tensor, "layer d_model"]] = {}
    sources: list[str] = []
    personas = [p.name for p in work.data.personas if p.name != work.data.control.name]
    for name in (personas[at] for at in rng.permutation(len(personas))):
        if len(found) == work.config.n_nulls:
            break
        pairs = contrast(work, name)
        if min(len(pairs.to), len(pairs.from_)) < 2:
            continue
        read = collect_contrast(
            work.model, pairs, layers=work.layers, token_budget=work.config.token_budget
        )
        vectors = exchanged(pairs, read, rng)
        if bool((vectors.norm(dim=1) > 0).all()):
            found[f"shuffled {len(found) + 1}"] = vectors
            sources.append(name)
    return Tensors(tensors=found, about={"sources": sources})


def exchanged(
    pairs: Contrast, read: ContrastActivations, rng: np.random.Generator
) -> Float[Tensor, "layer d_model"]:
    """Difference of means after half of the labels were exchanged, chosen at random.

    Exactly half (as near as whole numbers allow), so that what is contrasted cancels. Pairs are
    exchanged as pairs; of sides without pairs each new side holds its share of both.
    """
    to, from_ = (side.values[Site.RESID_POST].double() for side in (read.to, read.from_))
    if pairs.paired:
        signs = torch.ones(len(to), dtype=torch.float64)
        signs[rng.permutation(len(to))[: len(to) // 2].tolist()] = -1.0
        return (signs[:, None, None] * (to - from_)).mean(dim=0).float()
    everything = torch.cat([to, from_])
    n_to, n = len(to), len(to) + len(from_)
    stay = round(n_to * n_to / n)
    new = [
        *rng.choice(n_to, stay, replace=False).tolist(),
        *(n_to + rng.choice(n - n_to, n_to - stay, replace=False)).tolist(),
    ]
    chosen = torch.zeros(n, dtype=torch.bool)
    chosen[new] = True
    return (everything[chosen].mean(dim=0) - everything[~chosen].mean(dim=0)).float()


def dose_bench(work: Workbench, inputs: Contents) -> tuple[Bench, list[DoseArm]]:
    """The bench with vectors of exchanged labels, and all whose doses are tried."""
    ((_, shuffled),) = inputs.part_tensors("dose-response", "shuffled")
    plain = bench(work, inputs)
    both = replace(plain, vectors={**plain.vectors, **shuffled.tensors})
    # A file of tensors keeps no order.
    names = sorted(shuffled.tensors, key=lambda name: (len(name), name))
    return both, dose_arms(work, names)


def dose_rows(work: Workbench, inputs: Contents, layer: int, dose: float) -> pd.DataFrame:
    """What every vector does, added and subtracted at one dose; columns :data:`DOSE_COLUMNS`."""
    at, arms = dose_bench(work, inputs)
    tables = []
    for harmful, requests in ((True, work.studied), (False, work.harmless[:MAX_HARMLESS])):
        rows = [(arm, request.prompt_id) for arm in arms for request in requests]
        if not rows:
            continue
        put = [
            Arm(
                prompts=tuple(range(len(requests))) * len(arms),
                edits=arm_edits(
                    at, treatment, layer, [(arm.persona, i) for arm, i in rows], dose=dose
                ),
            )
            for treatment in ("plus", "minus")
        ]
        prompts = [at.plain[request.prompt_id] for request in requests]
        measured = _scores(at, prompts, put) if harmful else kl_of_arms(at, prompts, put)
        for sign, values in zip((1.0, -1.0), measured, strict=True):
            tables.append(_table(rows, sign * dose, harmful, values))
    return pd.concat(tables, ignore_index=True)


def _scores(
    at: Bench, prompts: Sequence[Prompt], arms: Sequence[Arm]
) -> tuple[Float[Tensor, " row"], ...]:
    if at.tokens is None:
        return tuple(torch.full((len(arm.prompts),), torch.nan) for arm in arms)
    token_ids = torch.tensor(at.tokens.token_ids)

    def score(logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, "batch 1"]:
        return refusal_score(logits, token_ids)[:, None]

    found = sweep(at.model, prompts, arms, score, token_budget=at.token_budget)
    return tuple(each[:, 0] for each in found)


def _table(
    rows: Sequence[tuple[DoseArm, str]], dose: float, harmful: bool, values: Float[Tensor, " row"]
) -> pd.DataFrame:
    measured = values.double().numpy()
    missing = np.full(len(rows), np.nan)
    columns = {
        "persona": [arm.persona for arm, _ in rows],
        "group": [arm.group for arm, _ in rows],
        "kind": [arm.kind for arm, _ in rows],
        "dose": dose,
        "prompt_id": [prompt_id for _, prompt_id in rows],
        "harmful": harmful,
        "score": measured if harmful else missing,
        "kl": missing if harmful else measured,
    }
    return pd.DataFrame(columns, columns=list(DOSE_COLUMNS))
