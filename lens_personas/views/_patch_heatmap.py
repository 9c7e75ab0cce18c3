"""Patching and attribution as heatmaps: which layers, positions and heads carry the difference."""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import Site
from lens_personas.views._grid import (
    Axis,
    Extra,
    Grid,
    check_like,
    make_axis,
    not_below,
    scale_limit,
    token_axis,
)
from lens_personas.views._grid_view import grid_view
from lens_personas.views._view import View

What = Literal["effect", "values"]
"""``effect`` is the share of the way from the corrupted run (0) to the clean one (1); ``values``
are the metric itself, with that of the corrupted run in the middle of the scale."""
_UNITS = {"effect": "share of the way to the clean run", "values": "metric"}
_SITES = {
    Site.RESID_PRE: "residual stream",
    Site.ATTN_OUT: "attention output",
    Site.MLP_OUT: "MLP output",
}


@runtime_checkable
class LayerPositions(Protocol):
    """A metric by layer and position: `PatchGrid`, `AttributionGrid`."""

    @property
    def site(self) -> Site:
        """What is patched."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Blocks."""

    @property
    def positions(self) -> tuple[int, ...]:
        """Positions."""

    @property
    def values(self) -> Float[Tensor, "prompt layer pos"]:
        """Metric of the patched run."""

    @property
    def clean(self) -> Float[Tensor, " prompt"]:
        """Metric of the clean run."""

    @property
    def corrupted(self) -> Float[Tensor, " prompt"]:
        """Metric of the corrupted run."""


@runtime_checkable
class LayerHeads(Protocol):
    """A metric by layer and head: `HeadGrid`, `HeadAttribution`."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Blocks."""

    @property
    def positions(self) -> tuple[int, ...] | None:
        """Positions patched one at a time; None for all at once."""

    @property
    def values(self) -> Float[Tensor, "prompt layer head pos"]:
        """Metric of the patched run."""

    @property
    def clean(self) -> Float[Tensor, " prompt"]:
        """Metric of the clean run."""

    @property
    def corrupted(self) -> Float[Tensor, " prompt"]:
        """Metric of the corrupted run."""


def patch_heatmap(
    grid: LayerPositions,
    tokens: Sequence[str],
    *,
    title: str,
    what: What = "effect",
    prompt: int | Literal["mean"] = "mean",
    p: Float[Tensor, "layer pos"] | None = None,
    alpha: float = 0.05,
    limit: float | None = None,
) -> View:
    """Layers upwards, positions to the right; the middle of the scale is the corrupted run.

    Args:
        grid: What patching, or attribution, found.
        tokens: One a position of the grid, as `models.token_strings` gives them; for the mean
            over prompts whose tokens differ, what they stand for.
        title: What it shows.
        what: The share of the way, or the metric itself.
        prompt: Number of one prompt, or ``mean`` of all: the share is then the ratio of means,
            so that a pair whose runs hardly differ has no say.
        p: p of every cell; what does not fall below ``alpha`` gets a hollow mark.
        alpha: Level of the marks.
        limit: Distance from the middle at which the colour ends; None for the largest.

    Raises:
        ValueError: If tokens or ``p`` do not fit the grid, there is no such prompt, or a level is
            out of its range.
    """
    if len(tokens) != len(grid.positions):
        raise ValueError(
            f"expected a token for each of the {len(grid.positions)} positions of the grid, got "
            f"{len(tokens)}; select those at grid.positions"
        )
    values, centre = _shown(grid.values, grid.clean, grid.corrupted, what, prompt)
    site = _SITES.get(grid.site, grid.site.value)
    return _view(
        values,
        rows=make_axis("layer", list(map(str, grid.layers))),
        columns=token_axis(tokens, grid.positions),
        title=title,
        unit=f"{_UNITS[what]}, {site}",
        centre=centre,
        limit=limit,
        p=p,
        alpha=alpha,
    )


def head_heatmap(
    heads: LayerHeads | Float[Tensor, "layer head"],
    *,
    title: str,
    what: What = "effect",
    prompt: int | Literal["mean"] = "mean",
    position: int | None = None,
    layers: Sequence[int] | None = None,
    unit: str | None = None,
    p: Float[Tensor, "layer head"] | None = None,
    alpha: float = 0.05,
    limit: float | None = None,
) -> View:
    """Layers upwards, heads to the right.

    Args:
        heads: What patching, or attribution, found; or any number of each head, 0 in the middle.
        title: What it shows.
        what: The share of the way, or the metric itself; of no matter for plain numbers.
        prompt: Number of one prompt, or ``mean`` of all (the ratio of means); ditto.
        position: One of the positions that were patched one at a time; ditto.
        layers: Blocks of plain numbers; None for all from 0.
        unit: What plain numbers are.
        p: p of every head; what does not fall below ``alpha`` gets a hollow mark.
        alpha: Level of the marks.
        limit: Distance from the middle at which the colour ends; None for the largest.

    Raises:
        ValueError: If ``p`` or ``layers`` do not fit the heads, there is no such prompt or
            position, or a level is out of its range.
    """
    if isinstance(heads, Tensor):
        values, centre = heads.detach().double().cpu(), 0.0
        chosen = tuple(range(len(heads))) if layers is None else tuple(layers)
        words = unit or "value"
    else:
        at = _position(heads.positions, position)
        picked = heads.values[..., at]
        values, centre = _shown(picked, heads.clean, heads.corrupted, what, prompt)
        chosen, words = heads.layers, f"{_UNITS[what]}, one head"
    if len(chosen) != len(values):
        raise ValueError(f"expected {len(values)} layers, one a row, got {len(chosen)}")
    return _view(
        values,
        rows=make_axis("layer", list(map(str, chosen))),
        columns=make_axis("head", list(map(str, range(values.shape[1])))),
        title=title,
        unit=words,
        centre=centre,
        limit=limit,
        p=p,
        alpha=alpha,
    )


def _view(
    values: Float[Tensor, "row column"],
    *,
    rows: Axis,
    columns: Axis,
    title: str,
    unit: str,
    centre: float,
    limit: float | None,
    p: Float[Tensor, "p_row p_column"] | None,
    alpha: float,
) -> View:
    check_like("p", p, values)
    grid = Grid(
        values=values,
        rows=rows,
        columns=columns,
        unit=unit,
        centre=centre,
        limit=scale_limit(values, centre, limit),
        upward=True,
        extra=None if p is None else Extra(name="p", digits=3, values=p.double().cpu()),
        hollow=None if p is None else not_below(p, alpha),
        hollow_means=f"p ≥ {alpha:g}",
    )
    return grid_view(grid, title)


def _shown(
    values: Float[Tensor, "prompt row column"],
    clean: Float[Tensor, " prompt"],
    corrupted: Float[Tensor, " prompt"],
    what: What,
    prompt: int | Literal["mean"],
) -> tuple[Float[Tensor, "row column"], float]:
    """Values to show, and the one in the middle of the scale."""
    chosen = _prompts(len(values), prompt)
    patched, ends = values.double().cpu()[chosen], torch.stack([clean, corrupted]).double().cpu()
    # Where a prompt has no such position, its two runs do not count either.
    known = torch.isfinite(patched)
    to, start = (
        torch.where(known, each[chosen, None, None], torch.nan).nanmean(dim=0) for each in ends
    )
    mean = patched.nanmean(dim=0)
    if what == "values":
        return mean, float(ends[1, chosen].mean())
    share = (mean - start) / (to - start)
    return torch.where(torch.isfinite(share), share, torch.nan), 0.0


def _prompts(n: int, prompt: int | Literal["mean"]) -> slice:
    if prompt == "mean":
        return slice(None)
    if not 0 <= prompt < n:
        raise ValueError(f"expected a prompt from 0 to {n - 1}, or 'mean', got {prompt}")
    return slice(prompt, prompt + 1)


def _position(known: tuple[int, ...] | None, asked: int | None) -> int:
    if known is None:
        if asked is not None:
            raise ValueError(
                f"expected no position, since all were patched at once, got {asked}; give "
                "head_grid positions to patch them one at a time"
            )
        return 0
    if asked not in known:
        raise ValueError(f"expected one of the positions {list(known)}, got {asked}")
    return known.index(asked)
