"""Reading activations from a model."""

from collections.abc import Sequence
from dataclasses import asdict

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.activations._cached import CachedActivations
from lens_personas.activations._provenance import (
    ActivationProvenance,
    package_version,
    prompt_hash,
)
from lens_personas.activations._read_at import ReadAt, windows_of
from lens_personas.activations._stream import Progress, check_request, read_batches
from lens_personas.hooks import Edit, Site
from lens_personas.models import (
    DEFAULT_TOKEN_BUDGET,
    LensModel,
    Prompt,
    TokenBatch,
    may_share,
    model_batches,
)

_LAST_TOKEN = ReadAt(span="prompt", take="last")


def collect(
    model: LensModel,
    prompts: Sequence[Prompt],
    *,
    sites: Sequence[Site],
    layers: Sequence[int],
    read_at: ReadAt,
    norms: bool = False,
    edits: Sequence[Edit] = (),
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    progress: Progress | None = None,
) -> CachedActivations:
    """One float32 vector for each prompt, layer and site, in prompt order.

    Prompts run in batches of like length, or of a common beginning, which then runs once;
    one place's activations of one batch exist at a time. Neither blocks above the highest
    layer nor the unembedding run, and the last block only at the position read where it can.

    Args:
        model: The model.
        prompts: Rendered prompts.
        sites: Points of a block, of width ``d_model``.
        layers: Blocks, counted from 0.
        read_at: Position read in each prompt.
        norms: Whether to measure the norms over all positions too, in which doses of a vector
            are given; every position then runs through the last block.
        edits: Edits in force while reading; a place is read after its own edits.
        token_budget: Most tokens in a batch, padding included.
        progress: Called with the number of prompts read and of all.

    Raises:
        ValueError: If nothing is asked for, a place does not exist, or a prompt lacks the part.
    """
    check_request(model, prompts, sites, layers)
    return collect_batches(
        model,
        prompts,
        model_batches(model, prompts, token_budget, share=may_share(edits)),
        sites=sites,
        layers=layers,
        read_at=read_at,
        norms=norms,
        edits=edits,
        progress=progress,
    )


def collect_batches(
    model: LensModel,
    prompts: Sequence[Prompt],
    batches: Sequence[TokenBatch],
    *,
    sites: Sequence[Site],
    layers: Sequence[int],
    read_at: ReadAt,
    norms: bool = False,
    edits: Sequence[Edit] = (),
    progress: Progress | None = None,
) -> CachedActivations:
    """The same, over batches that are given.

    Raises:
        ValueError: If a place does not exist, or a prompt lacks the part.
    """
    norm_windows = norm_windows_of(prompts)
    n_positions = norm_windows[:, 1] - norm_windows[:, 0]
    shape = (len(prompts), len(layers))
    values = {site: torch.empty(*shape, model.card.d_model) for site in sites}
    prompt_norms = {site: torch.empty(shape) for site in (sites if norms else ())}
    for read in read_batches(
        model,
        batches,
        sites=sites,
        layers=layers,
        windows=windows_of(read_at, prompts),
        norm_windows=norm_windows if norms else None,
        edits=edits,
        progress=progress,
    ):
        rows = list(read.rows)
        for site in sites:
            values[site][rows] = read.values[site].cpu().float()
        for site, sums in read.norm_sums.items():
            per_prompt = sums.cpu() / n_positions[rows].clamp_min(1)[:, None]
            prompt_norms[site][rows] = per_prompt.float()
    return CachedActivations(
        values=values,
        prompt_norms=prompt_norms,
        n_positions=n_positions,
        prompt_ids=tuple(prompt.prompt_id for prompt in prompts),
        prompt_hashes=tuple(prompt_hash(prompt) for prompt in prompts),
        layers=tuple(layers),
        read_at=read_at,
        provenance=ActivationProvenance(
            card=asdict(model.card), n_edits=len(edits), package_version=package_version()
        ),
    )


def residual_norms(
    model: LensModel,
    prompts: Sequence[Prompt],
    *,
    layers: Sequence[int],
    site: Site = Site.RESID_POST,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    progress: Progress | None = None,
) -> Float[Tensor, " layer"]:
    """Mean norm at each layer over all prompt positions: the unit in which doses are given.

    Position 0, whose norm can dwarf all others, and any answer are left out.

    Raises:
        ValueError: If nothing is asked for, a layer does not exist, or no prompt has a
            second position.
    """
    longest = max((prompt.prompt_length for prompt in prompts), default=0)
    if longest < 2:
        raise ValueError(
            "expected a prompt of at least two tokens, since the first one's norm is left out, "
            f"got {len(prompts)} prompts, the longest of {longest}"
        )
    return collect(
        model,
        prompts,
        sites=[site],
        layers=layers,
        read_at=_LAST_TOKEN,
        norms=True,
        token_budget=token_budget,
        progress=progress,
    ).residual_norms(site)


def norm_windows_of(prompts: Sequence[Prompt]) -> Int[Tensor, "prompt 2"]:
    """Window over which each prompt's norms are averaged: the prompt without its first token."""
    return torch.tensor([(1, max(prompt.prompt_length, 1)) for prompt in prompts])
