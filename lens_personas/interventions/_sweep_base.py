"""Base runs: each prompt once, with what the rows of a sweep resume from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.hooks import Site
from lens_personas.interventions._sweep_plan import Part
from lens_personas.interventions._sweep_rows import INSIDE, LoneLayoutOf, Row, hook_for
from lens_personas.interventions._sweep_types import Arm, Cell
from lens_personas.models import BlockDriver, KeysValues, TokenBatch

# Columns of keys and values that are gathered at once, in calls' worth of columns.
_CALLS_GATHERED = 16
_WITHIN = (*INSIDE, Site.RESID_POST)


@dataclass(frozen=True, kw_only=True)
class Base:
    """What is kept of the base runs of one batch."""

    batch: TokenBatch
    """The prompts."""
    resid: dict[int, Tensor]
    """``resid_pre`` of the blocks where rows join; after the last block, its last column."""
    past: dict[int, KeysValues]
    """Keys and values of each block, where rows need them."""
    lone: dict[Cell, Tensor]
    """What became of the one column that a row ran by itself in the block before it joins."""
    last: Float[Tensor, "batch d_model"] | None
    """``resid_post`` of the last block at the last token, where it was needed."""


def run_base(driver: BlockDriver, part: Part, arms: Sequence[Arm], token_budget: int) -> Base:
    """Run the prompts of ``part`` once, as far up as its rows need it.

    Raises:
        ValueError: If an edit does not fit the model.
    """
    batch, n_layers = part.batch, driver.model.card.n_layers
    joins, past = {row.join for row in part.rows}, part.needs_past
    top = part.top(n_layers)
    base = Base(batch=batch, resid={}, past={}, lone={}, last=None)
    positions, width = batch.layout.positions, batch.tokens.shape[1]
    resid, frame = driver.embed(batch.tokens, positions), driver.frame(positions, width)
    for layer in range(top):
        if layer in joins:
            base.resid[layer] = resid
        before = resid
        keys_values: KeysValues | None
        if layer == n_layers - 1:
            keys_values = driver.keys_values(layer, resid, frame)
            end = torch.full((len(resid),), width - 1, device=resid.device)
            resid = driver.last(layer, resid[:, -1], keys_values, positions, end)[:, None]
        else:
            run = driver.block(layer, resid, frame, keep=past)
            resid, keys_values = run.resid, run.keys_values
        if past and keys_values is not None:
            base.past[layer] = keys_values
            alone = [r for r in part.rows if r.lone is not None and r.join == layer + 1]
            step = max(1, min(token_budget, _CALLS_GATHERED * token_budget // width))
            for first in range(0, len(alone), step):
                _run_lone(driver, base, before, layer, alone[first : first + step], arms)
    if top in joins:
        base.resid[top] = resid
    return replace(base, last=resid[:, -1]) if top == n_layers else base


def _run_lone(
    driver: BlockDriver,
    base: Base,
    resid: Float[Tensor, "batch pos d_model"],
    layer: int,
    rows: Sequence[Row],
    arms: Sequence[Arm],
) -> None:
    """Run block ``layer`` on one column a row, against the base's keys and values before it."""
    device = base.batch.tokens.device
    at = torch.tensor([row.at for row in rows], device=device)
    columns = torch.tensor([row.lone for row in rows], device=device)
    positions = _seen_from(base.batch.layout.positions[at], columns)
    layout = LoneLayoutOf(layout=base.batch.layout, start=0)
    hooks = {site: hook_for((site, layer), rows, arms, layout) for site in _WITHIN}
    run = driver.block(
        layer,
        resid[at, columns][:, None],
        driver.frame(positions, 1),
        past=base.past[layer].select(at),
        hooks={site: hook for site, hook in hooks.items() if hook is not None},
    )
    base.lone.update(zip((row.cell for row in rows), run.resid[:, 0], strict=True))


def _seen_from(
    positions: Int[Tensor, "batch pos"], columns: Int[Tensor, " batch"]
) -> Int[Tensor, "batch more"]:
    """Positions before each row's column, and then that column's own as the last one."""
    place = torch.arange(positions.shape[1], device=positions.device)
    before = torch.where(place < columns[:, None], positions, -1)
    return torch.cat([before, positions.gather(1, columns[:, None])], dim=1)
