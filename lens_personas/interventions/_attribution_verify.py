"""Attributions held against the patches that they foretell."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import Align
from lens_personas.interventions._attribution_edges import EdgeScores
from lens_personas.interventions._attribution_grid import AttributionGrid
from lens_personas.interventions._attribution_heads import HeadAttribution
from lens_personas.interventions._edge_patch import patch_edges
from lens_personas.interventions._head_grid import HeadGrid, head_grid
from lens_personas.interventions._patch_grid import PatchGrid, patch_grid
from lens_personas.interventions._sweep_types import Reduce
from lens_personas.models import LensModel, Prompt
from lens_personas.statistics import rank_correlation

Attribution = AttributionGrid | HeadAttribution | EdgeScores
"""What gradients foretell."""

Patched = PatchGrid | HeadGrid | EdgeScores
"""What patching gives."""


class VerifiedCell(NamedTuple):
    """A cell that was both foretold and patched; means over prompts, in the metric's units."""

    name: str
    """Place, such as ``resid_pre 3 at 5``, ``head 2.1`` or ``embed -> mlp 0``."""
    at: tuple[int, ...]
    """Where it lies in ``values``, after the prompt."""
    predicted: float
    """Change of the corrupted run's metric, as foretold."""
    patched: float
    """Its change when patched."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """How well attributions foretell patches."""

    n_cells: int
    """Cells compared: those that were patched and in which any prompt can change."""
    spearman: float
    """Rank correlation over them of the mean changes, foretold and real; NaN with fewer than 3."""
    spearman_top: float
    """The same over the ``top`` cells alone, among which it is lower: their range is narrow."""
    by_prompt: Float[Tensor, " prompt"]
    """Rank correlation over each prompt's own cells; NaN with fewer than 3."""
    top: tuple[VerifiedCell, ...]
    """Cells foretold to change the metric most, the largest first."""


def patch_top(
    model: LensModel,
    clean: Sequence[Prompt],
    corrupted: Sequence[Prompt],
    metric: Reduce,
    attribution: Attribution,
    *,
    k: int = 10,
    align: Align = "start",
) -> Patched:
    """Patch for real the ``k`` cells that are foretold to change the metric most.

    Gives the grid that `patch_grid` or `head_grid` gives, NaN where nothing was patched; heads at
    one position are patched at all positions of the top cells. For edges gives those alone.

    Raises:
        ValueError: If ``k`` is less than 1, or the attribution is not of these prompts or not of
            this model.
    """
    if k < 1:
        raise ValueError(f"expected at least one cell to patch, got k={k}")
    if len(attribution.corrupted) != len(corrupted):
        raise ValueError(
            f"expected the {len(attribution.corrupted)} pairs of the attribution, got "
            f"{len(corrupted)}; give the prompts that it was made from"
        )
    top = [_cell_index(attribution, at) for at in _order(attribution)[:k]]
    if isinstance(attribution, EdgeScores):
        edges = [attribution.edges[at] for (at,) in top]
        return patch_edges(model, clean, corrupted, metric, edges)
    if isinstance(attribution, AttributionGrid):
        return patch_grid(
            model,
            clean,
            corrupted,
            metric,
            site=attribution.site,
            layers=attribution.layers,
            positions=attribution.positions,
            align=align,
            only={(attribution.layers[at], attribution.positions[p]) for at, p in top},
        )
    return head_grid(
        model,
        clean,
        corrupted,
        metric,
        layers=attribution.layers,
        positions=attribution.positions,
        only={(attribution.layers[at], head) for at, head, _ in top},
    )


def verify_top(attribution: Attribution, patched: Patched, *, k: int = 10) -> Verification:
    """Hold an attribution against patches of all its cells, or of some (`patch_top`).

    Cells in which no prompt of a pair can change, such as those before the first token that
    differs, would agree whatever was foretold; they are left out.

    Raises:
        ValueError: If the two are not of the same cells and pairs, or no cell was patched.
    """
    predicted, real = _paired(attribution, patched)
    known = ~(real.isnan() | predicted.isnan())
    # Cells that cannot change are equal to the corrupted run to the bit in both.
    alive = known & ~((predicted == 0) & (real == 0))
    cells = alive.any(dim=0)
    if not cells.any():
        raise ValueError(
            "expected cells that were patched and can change, got none; patch cells at or after "
            "the first token in which a pair differs"
        )
    means = [
        torch.where(known, each, torch.nan).nanmean(dim=0)[cells] for each in (predicted, real)
    ]
    order = means[0].abs().argsort(descending=True, stable=True)[:k]
    numbers = cells.nonzero()[:, 0]
    top = tuple(
        VerifiedCell(
            name=_name(attribution, index),
            at=index,
            predicted=float(means[0][cell]),
            patched=float(means[1][cell]),
        )
        for cell in order.tolist()
        for index in [_cell_index(attribution, int(numbers[cell]))]
    )
    return Verification(
        n_cells=int(cells.sum()),
        spearman=_spearman(*means),
        spearman_top=_spearman(*(mean[order] for mean in means)),
        by_prompt=torch.tensor(
            [_spearman(predicted[at][own], real[at][own]) for at, own in enumerate(alive)]
        ),
        top=top,
    )


def _paired(
    attribution: Attribution, patched: Patched
) -> tuple[Float[Tensor, "prompt cell"], Float[Tensor, "prompt cell"]]:
    """Changes foretold and real, by cell of the attribution; NaN where nothing was patched."""
    predicted, real = _changes(attribution), _changes(patched)
    if isinstance(attribution, EdgeScores) and isinstance(patched, EdgeScores):
        columns = {edge: at for at, edge in enumerate(attribution.edges)}
        if set(patched.edges) <= set(columns) and len(real) == len(predicted):
            whole = torch.full_like(predicted, torch.nan)
            whole[:, [columns[edge] for edge in patched.edges]] = real
            return predicted, whole
    elif _axes(attribution) == _axes(patched) and predicted.shape == real.shape:
        return predicted, real
    raise ValueError(
        f"expected patches of the same pairs, site, layers and positions as the attribution's "
        f"{_axes(attribution)}, got {_axes(patched)}; make both with the same arguments"
    )


def _axes(values: Attribution | Patched) -> tuple[object, ...]:
    if isinstance(values, EdgeScores):
        return ("edges", len(values.corrupted), values.graph)
    site = values.site if isinstance(values, AttributionGrid | PatchGrid) else "heads"
    return (site, len(values.corrupted), values.layers, values.positions)


def _changes(values: Attribution | Patched) -> Float[Tensor, "prompt cell"]:
    if isinstance(values, EdgeScores):
        return values.values
    return values.values.flatten(1) - values.corrupted[:, None]


def _order(attribution: Attribution) -> list[int]:
    """Cells by the size of the mean change that is foretold, those that no prompt has left out."""
    mean = _changes(attribution).nanmean(dim=0)
    order = mean.abs().nan_to_num(-1.0).argsort(descending=True, stable=True)
    return [at for at in order.tolist() if not mean[at].isnan()]


def _cell_index(attribution: Attribution, cell: int) -> tuple[int, ...]:
    shape = attribution.values.shape[1:]
    return tuple(int(at) for at in torch.unravel_index(torch.tensor(cell), shape))


def _name(attribution: Attribution, index: tuple[int, ...]) -> str:
    if isinstance(attribution, EdgeScores):
        return attribution.edges[index[0]].name
    layer = attribution.layers[index[0]]
    if isinstance(attribution, AttributionGrid):
        return f"{attribution.site.value} {layer} at {attribution.positions[index[1]]}"
    name = f"head {layer}.{index[1]}"
    if attribution.positions is None:
        return name
    return f"{name} at {attribution.positions[index[2]]}"


def _spearman(predicted: Float[Tensor, " cell"], real: Float[Tensor, " cell"]) -> float:
    return rank_correlation(predicted.double().numpy(), real.double().numpy())
