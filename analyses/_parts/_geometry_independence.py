"""Whether persona and refusal are independent in use: one is removed, the other looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor

from analyses._bench import bench
from analyses._contents import Contents
from analyses._shards import Tensors
from analyses._vectors import REFUSAL_NAMES
from analyses._workbench import Outline, Workbench
from lens_personas.activations import ReadAt, collect
from lens_personas.hooks import Edit, Site, ablate_row_directions
from lens_personas.interventions import ablate_everywhere, compile_plan
from lens_personas.models import Prompt
from lens_personas.personas import Request
from lens_personas.statistics import paired_bootstrap, prediction_interval

LAST = ReadAt(span="prompt", take="last")
"""Where a request is read: its last prompt token."""

WAYS = ("persona removed", "refusal removed")
"""What is removed; the other one's cosine is looked at."""

_MOST_REQUESTS = 32


def independence_requests(outline: Outline) -> tuple[Request, ...]:
    """Harmful test requests behind RepInd."""
    return outline.studied[:_MOST_REQUESTS]


def shifts(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> Tensors:
    """Absolute changes of cosine at the last prompt token, one direction removed everywhere.

    The direction of a vector at the part's layer is removed at every layer; the cosine is with
    the other vector's own direction at each layer.
    """
    vectors = bench(work, inputs).vectors
    names = [persona.name for persona in work.data.personas]
    random = [name for name in vectors if name.startswith("random ")]
    prompts = [work.plain[r.prompt_id] for r in independence_requests(work)]
    at = work.layers.index(spec["at"])
    removed = torch.stack([vectors[name][at] for name in (*names, REFUSAL_NAMES[1], *random)])
    clean = _states(work, prompts, ())
    ablated = _ablated(work, prompts, removed)
    refusal = vectors[REFUSAL_NAMES[1]]
    personas = torch.stack([vectors[name] for name in names])
    n = len(names)
    return Tensors(
        tensors={
            WAYS[0]: _shift(clean, ablated[:n], refusal[None])[:, 0],
            WAYS[1]: _shift(clean, ablated[n : n + 1], personas)[0],
            f"{WAYS[0]} null": _shift(clean, ablated[n + 1 :], refusal[None]).mean(2),
            f"{WAYS[1]} null": _shift(clean, ablated[n + 1 :], personas).mean(2),
        },
        about={"names": names, "n": len(prompts)},
    )


def independence_of(
    shifts: Float[np.ndarray, "persona request layer"],
    nulls: Float[np.ndarray, "null persona"],
    names: Sequence[str],
    groups: Mapping[str, str],
    *,
    way: str,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """RepInd of each persona with its interval; columns of :attr:`VectorGeometry.independence`.

    Args:
        shifts: Absolute change of cosine at each layer of each request.
        nulls: Mean of the same where random directions are removed instead, for each persona.
        names: The personas.
        groups: Side of each.
        way: What is removed.
        rng: Source of the bootstrap.
    """
    rows = []
    for at, name in enumerate(names):
        found = paired_bootstrap(shifts[at].mean(axis=1).astype(np.float64), rng=rng)
        more = prediction_interval(nulls[:, at].astype(np.float64))
        ends = [*nulls[:, at].tolist(), more.low, more.high]
        # All of it is NaN where nothing random was removed.
        known = [end for end in ends if np.isfinite(end)] or [np.nan]
        rows.append(
            {
                "way": way,
                "persona": name,
                "group": groups.get(name, "other"),
                "estimate": found.estimate,
                "low": found.low,
                "high": found.high,
                "null_low": max(min(known), 0.0),
                "null_high": max(known),
            }
        )
    return pd.DataFrame(rows)


def independence_layers(
    shifts: Float[np.ndarray, "persona request layer"],
    nulls: Float[np.ndarray, "null looked layer"],
    layers: Sequence[int],
    *,
    control: int | None,
    way: str,
) -> pd.DataFrame:
    """The same by layer; columns of :attr:`VectorGeometry.independence_by_layer`."""
    by_persona = shifts.mean(axis=1)
    lines = {"personas": np.delete(by_persona, [] if control is None else [control], axis=0)}
    if control is not None:
        lines["control"] = by_persona[control : control + 1]
    lines["random directions"] = nulls.reshape(-1, nulls.shape[-1])
    rows = [
        {"way": way, "who": who, "layer": layer, "shift": float(values[:, at].mean())}
        for who, values in lines.items()
        if len(values)
        for at, layer in enumerate(layers)
    ]
    return pd.DataFrame(rows, columns=["way", "who", "layer", "shift"])


def removal_edits(work: Workbench, directions: Float[Tensor, "row d_model"]) -> tuple[Edit, ...]:
    """Edits that remove row i's direction everywhere that is read, in one call for all rows."""
    hook = ablate_row_directions(directions)
    places = compile_plan(ablate_everywhere(directions[0], work.card), card=work.card)
    # Blocks above the last one that is read do not run.
    return tuple(
        replace(edit, hook=hook, per_row=True, per_pass=False)
        for edit in places
        if edit.layer <= max(work.layers)
    )


def _ablated(
    work: Workbench, prompts: Sequence[Prompt], removed: Float[Tensor, "arm d_model"]
) -> Float[Tensor, "arm request layer d_model"]:
    rows = repeat(removed, "arm d_model -> (arm request) d_model", request=len(prompts))
    states = _states(work, [*prompts] * len(removed), removal_edits(work, rows))
    return rearrange(states, "(arm request) ... -> arm request ...", arm=len(removed))


def _states(
    work: Workbench, prompts: Sequence[Prompt], edits: Sequence[Edit]
) -> Float[Tensor, "row layer d_model"]:
    read = collect(
        work.model,
        prompts,
        sites=[Site.RESID_POST],
        layers=work.layers,
        read_at=LAST,
        edits=edits,
        token_budget=work.config.token_budget,
    )
    return read.values[Site.RESID_POST]


def _shift(
    clean: Float[Tensor, "request layer d_model"],
    ablated: Float[Tensor, "arm request layer d_model"],
    directions: Float[Tensor, "direction layer d_model"],
) -> Float[Tensor, "arm direction request layer"]:
    """Absolute change of cosine with each direction by each removal."""
    units = torch.nn.functional.normalize(directions.double(), dim=-1, eps=1e-300)
    before, after = (
        torch.einsum(
            "arld,vld->avrl", torch.nn.functional.normalize(h.double(), dim=-1, eps=1e-300), units
        )
        for h in (clean[None], ablated)
    )
    return (after - before).abs()
