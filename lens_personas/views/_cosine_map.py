"""Cosines of vectors with one another, as a map, with the largest that their data allow."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.views._grid import Extra, Grid, check_like, make_axis, told
from lens_personas.views._grid_view import grid_view
from lens_personas.views._view import View


def cosine_map(
    names: Sequence[str],
    cosines: Float[Tensor, "vector vector"],
    *,
    title: str = "Cosines of the vectors",
    ceilings: Float[Tensor, "vector vector"] | None = None,
) -> View:
    """Cosine of every vector with every other, on a scale from -1 to 1.

    Args:
        names: Of the vectors, in the order of ``cosines``.
        cosines: As `geometry.cosine_matrix` gives them.
        title: What it shows.
        ceilings: Largest cosine that two vectors of these reliabilities can be expected to reach
            (`geometry.cosine_ceiling`), shown beside each cosine.

    Raises:
        ValueError: If the names or ceilings do not fit the cosines, or a cosine is none.
    """
    values = cosines.detach().double().cpu()
    if values.shape != (len(names), len(names)):
        raise ValueError(
            f"expected cosines of {len(names)} vectors with one another, got {tuple(values.shape)}"
        )
    check_like("ceilings", ceilings, values)
    if bool((values.abs() > 1 + 1e-6).any()):
        most = float(values.abs().nan_to_num().max())
        raise ValueError(f"expected cosines from -1 to 1, got {most:.3g}; divide by the norms")
    # A vector's cosine with itself says nothing of the data.
    own = torch.eye(len(names), dtype=torch.bool)
    extra = None
    if ceilings is not None:
        shown = ceilings.double().cpu().masked_fill(own, torch.nan)
        extra = Extra(name="ceiling", digits=2, values=shown, is_shown=True)
    grid = Grid(
        values=values,
        rows=make_axis("", names),
        columns=make_axis("", names),
        unit="cosine, and its ceiling" if extra else "cosine",
        centre=0.0,
        limit=1.0,
        upward=False,
        extra=extra,
    )
    return grid_view(grid, title, summary=_summary(names, values.masked_fill(own, torch.nan)))


def _summary(names: Sequence[str], others: Float[Tensor, "vector vector"]) -> str:
    whole = f"Map of the cosines of {len(names)} vectors with one another."
    if not torch.isfinite(others).any():
        return whole
    ends = (others.nan_to_num(-2.0).argmax(), others.nan_to_num(2.0).argmin())
    high, low = (
        f"{told(float(others.flatten()[at]), 2)}, of {names[at // len(names)]} and "
        f"{names[at % len(names)]}"
        for at in map(int, ends)
    )
    return f"{whole} The highest between two is {high}; the lowest {low}."
