"""One pass over the prompts, batch by batch, keeping one vector a prompt and place."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.activations._read_at import mean_in_windows, norm_sum_in_windows
from lens_personas.hooks import Edit, Site, TokenLayout
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
    """What was read of one batch, where the model left it."""

    rows: tuple[int, ...]
    """Number of each row in the list of prompts."""
    values: dict[Site, Float[Tensor, "batch layer d_model"]]
    """The vector of each prompt."""
    norm_sums: dict[Site, Float[Tensor, "batch layer"]]
    """Sum of the norms over the positions whose norms are measured; empty where none are."""


def read_batches(
    model: LensModel,
    batches: Sequence[TokenBatch],
    *,
    sites: Sequence[Site],
    layers: Sequence[int],
    windows: Int[Tensor, "prompt 2"],
    norm_windows: Int[Tensor, "prompt 2"] | None = None,
    edits: Sequence[Edit] = (),
    progress: Progress | None = None,
) -> Iterator[BatchRead]:
    """Read the batches one by one; blocks above the highest layer asked for do not run.

    An activation is reduced to what is kept as soon as it is there. Where one position of each
    prompt is read and no norms are, the last block runs at that position alone if it can.

    Raises:
        ValueError: If a place does not exist in the model.
    """
    total, done = sum(len(batch.rows) for batch in batches), 0
    for batch in batches:
        rows = list(batch.rows)
        norms = None if norm_windows is None else norm_windows[rows]
        yield _read(model, batch, sites, layers, _Windows(windows[rows], norms), edits)
        done += len(batch.rows)
        if progress is not None:
            progress(done, total)


@dataclass(frozen=True)
class _Windows:
    values: Int[Tensor, "row 2"]
    norms: Int[Tensor, "row 2"] | None

    def column(self, layout: TokenLayout) -> Int[Tensor, " row"] | None:
        """Column of the one position read in each row; None where more is."""
        start, stop = self.values.to(layout.positions.device).unbind(dim=1)
        if self.norms is not None or bool((stop - start != 1).any()):
            return None
        return (layout.positions == start[:, None]).int().argmax(dim=1)


def _read(
    model: LensModel,
    batch: TokenBatch,
    sites: Sequence[Site],
    layers: Sequence[int],
    windows: _Windows,
    edits: Sequence[Edit],
) -> BatchRead:
    norms: dict[Place, Tensor] = {}

    def take(
        place: Place, activation: Float[Tensor, "batch pos d_model"], layout: TokenLayout
    ) -> Float[Tensor, "batch d_model"]:
        positions = layout.positions.to(activation.device)
        if windows.norms is not None:
            measured = windows.norms.to(activation.device)
            norms[place] = norm_sum_in_windows(activation, positions, measured)
        return mean_in_windows(activation, positions, windows.values.to(activation.device))

    run = run_batch(
        model,
        batch,
        edits=edits,
        reads=[(site, layer) for site in sites for layer in layers],
        last_layer=max(layers),
        take=take,
        only=windows.column(batch.layout),
    )
    measured = [] if windows.norms is None else sites
    return BatchRead(
        rows=batch.rows,
        values={site: _stacked(run.reads, site, layers, model) for site in sites},
        norm_sums={site: _stacked(norms, site, layers, model) for site in measured},
    )


def _stacked(
    found: Mapping[Place, Tensor], site: Site, layers: Sequence[int], model: LensModel
) -> Float[Tensor, "batch layer ..."]:
    # The blocks of a large model can lie on several devices.
    return torch.stack([found[site, layer].to(model.device) for layer in layers], dim=1)


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
