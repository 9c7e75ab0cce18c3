"""One pass over the prompts, in batches of like length, keeping one vector a prompt and place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.activations._read_at import mean_in_windows, norm_sum_in_windows
from lens_personas.hooks import Edit, Site
from lens_personas.models import LensModel, TokenBatch, run_batch

Place = tuple[Site, int]


@runtime_checkable
class Progress(Protocol):
    """Called after every batch."""

    def __call__(self, done: int, total: int, /) -> None:
        """Take the number of prompts read so far, and of all."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchRead:
    """What was read of one batch, on the CPU."""

    rows: tuple[int, ...]
    """Number of each row in the list of prompts."""
    values: dict[Site, Float[Tensor, "batch layer d_model"]]
    """The vector of each prompt."""
    norm_sums: dict[Site, Float[Tensor, "batch layer"]]
    """Sum of the norms over the positions whose norms are measured."""


def read_batches(
    model: LensModel,
    batches: Sequence[TokenBatch],
    *,
    sites: Sequence[Site],
    layers: Sequence[int],
    windows: Int[Tensor, "prompt 2"],
    norm_windows: Int[Tensor, "prompt 2"],
    edits: Sequence[Edit] = (),
    progress: Progress | None = None,
) -> Iterator[BatchRead]:
    """Read the batches one by one; blocks above the highest layer asked for do not run.

    Raises:
        ValueError: If a place does not exist in the model.
    """
    total, done = sum(len(batch.rows) for batch in batches), 0
    for batch in batches:
        yield _read(model, batch, sites, layers, _Windows(windows, norm_windows), edits)
        done += len(batch.rows)
        if progress is not None:
            progress(done, total)


@dataclass(frozen=True)
class _Windows:
    values: Int[Tensor, "prompt 2"]
    norms: Int[Tensor, "prompt 2"]


def _read(
    model: LensModel,
    batch: TokenBatch,
    sites: Sequence[Site],
    layers: Sequence[int],
    windows: _Windows,
    edits: Sequence[Edit],
) -> BatchRead:
    places = [(site, layer) for site in sites for layer in layers]
    run = run_batch(model, batch, edits=edits, reads=places, last_layer=max(layers))
    rows, positions = list(batch.rows), batch.layout.positions
    wanted = windows.values[rows].to(positions.device)
    measured = windows.norms[rows].to(positions.device)
    values: dict[Site, Tensor] = {}
    norms: dict[Site, Tensor] = {}
    for site in sites:
        seen = [run.reads[site, layer] for layer in layers]
        values[site] = torch.stack([mean_in_windows(a, positions, wanted) for a in seen], 1).cpu()
        norms[site] = torch.stack(
            [norm_sum_in_windows(a, positions, measured) for a in seen], 1
        ).cpu()
    return BatchRead(rows=batch.rows, values=values, norm_sums=norms)


def check_request(
    model: LensModel, prompts: Sequence[object], sites: Sequence[Site], layers: Sequence[int]
) -> None:
    """Refuse a request that asks for nothing, twice for the same, or for what is not there.

    Raises:
        ValueError: Naming what was expected.
    """
    if not prompts or not sites or not layers:
        raise ValueError(
            f"expected at least one prompt, site and layer, got {len(prompts)} prompts, "
            f"{len(sites)} sites, {len(layers)} layers"
        )
    if len(set(sites)) != len(sites) or len(set(layers)) != len(layers):
        raise ValueError(
            f"expected each site and layer once, got sites {[s.value for s in sites]}, "
            f"layers {list(layers)}"
        )
    for site in sites:
        if not site.has_d_model:
            raise ValueError(f"expected sites of width d_model, got {site.value!r}")
    wrong = [layer for layer in layers if not 0 <= layer < model.card.n_layers]
    if wrong:
        raise ValueError(
            f"expected layers from 0 to {model.card.n_layers - 1}, got {wrong}: "
            f"{model.card.model_id} has {model.card.n_layers} layers"
        )
