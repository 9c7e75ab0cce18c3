"""Grids of patches on pairs of prompts: what they read, run and give."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import HookFn, PassHooks, Site, TokenLayout
from lens_personas.interventions._pairs import Pairs
from lens_personas.interventions._sweep import sweep
from lens_personas.interventions._sweep_types import Arm, Reduce
from lens_personas.models import LensModel, Prompt, model_batches, run_batch


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One number of each run."""

    clean: Float[Tensor, " prompt"]
    """Clean runs."""
    corrupted: Float[Tensor, " prompt"]
    """Corrupted runs."""
    arms: tuple[Float[Tensor, " _"], ...]
    """Rows of each arm."""


def score_pairs(
    model: LensModel,
    pairs: Pairs,
    arms: Sequence[Arm],
    metric: Reduce,
    *,
    token_budget: int,
    resume: bool,
    explain: bool,
) -> Scores:
    """The metric of all pairs without edits, and of the arms, which number corrupted prompts.

    Raises:
        ValueError: If the metric gives more than one number, or an edit does not fit.
    """
    everyone = (*pairs.corrupted, *pairs.clean)
    bare = Arm(prompts=tuple(range(len(everyone))), edits=(), name="no edit")
    values = sweep(
        model,
        everyone,
        (bare, *arms),
        metric,
        token_budget=token_budget,
        resume=resume,
        explain=explain,
    )
    if values[0].shape[1] != 1:
        raise ValueError(
            f"expected a metric of one number a row, got {values[0].shape[1]}; "
            "give LastTokens weights, or reduce to one column"
        )
    n_pairs = len(pairs.clean)
    return Scores(
        clean=values[0][n_pairs:, 0],
        corrupted=values[0][:n_pairs, 0],
        arms=tuple(value[:, 0] for value in values[1:]),
    )


def read_site(
    model: LensModel, prompts: Sequence[Prompt], site: Site, layers: Sequence[int]
) -> dict[int, Float[Tensor, "prompt pos *width"]]:
    """Activations of all prompts at ``site`` by layer, padded with zeros on the right."""
    longest = max(len(prompt.ids) for prompt in prompts)
    out: dict[int, Tensor] = {}
    for batch in model_batches(model, prompts):
        reads = run_batch(
            model, batch, reads=[(site, layer) for layer in layers], last_layer=max(layers)
        ).reads
        for layer in layers:
            found = reads[site, layer]
            if layer not in out:
                out[layer] = found.new_zeros(len(prompts), longest, *found.shape[2:])
            for at, row in enumerate(batch.rows):
                n_tokens = len(prompts[row].ids)
                out[layer][row, :n_tokens] = found[at, -n_tokens:]
    return out


def filled(
    scores: Scores, arms: Sequence[Arm], cells: Sequence[tuple[int, ...]], shape: tuple[int, ...]
) -> Float[Tensor, "prompt ..."]:
    """Grid of the arms' numbers at their ``cells``; the corrupted run's where no arm has one."""
    values = scores.corrupted.reshape(-1, *[1] * len(shape)).repeat(1, *shape)
    for arm, cell, found in zip(arms, cells, scores.arms, strict=True):
        values.movedim(0, -1)[cell][list(arm.prompts)] = found
    return values


def of_pairs(maker: PassHooks, members: Sequence[int]) -> PassHooks:
    """The maker for an arm whose rows are these pairs."""

    def make(rows: Sequence[int], layout: TokenLayout, /) -> HookFn:
        return maker([members[row] for row in rows], layout)

    return make


def share_of_way(
    values: Float[Tensor, "prompt *cells"],
    clean: Float[Tensor, " prompt"],
    corrupted: Float[Tensor, " prompt"],
) -> Float[Tensor, "prompt *cells"]:
    """Share of the way from corrupted (0) to clean (1); NaN where those two are equal."""
    shape = (-1, *[1] * (values.ndim - 1))
    way = torch.where(clean == corrupted, torch.nan, clean - corrupted)
    return (values - corrupted.reshape(shape)) / way.reshape(shape)
