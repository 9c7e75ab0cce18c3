"""How far along a direction a conversation is, token by token, turns shaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import Site
from lens_personas.views._grid import decimals, shown_tokens, told
from lens_personas.views._looks import TURNS
from lens_personas.views._plot import plot_view
from lens_personas.views._projection_figure import projection_figure
from lens_personas.views._projection_picture import (
    Projection,
    Stretch,
    projection_layout,
    projection_svg,
)
from lens_personas.views._view import View

_FAR: Final = 3.0
"""How many times further out than all others the first token is that the scale leaves out."""


@runtime_checkable
class TokenTrace(Protocol):
    """A number a token: `readouts.ProjectionTrace`."""

    @property
    def tokens(self) -> tuple[str, ...]:
        """Tokens as text to show."""

    @property
    def roles(self) -> tuple[str, ...]:
        """Whose turn each token is in: ``system``, ``user``, ``assistant``, ``template``."""

    @property
    def turns(self) -> tuple[int, ...]:
        """Number of that turn; -1 between turns."""

    @property
    def layer(self) -> int:
        """Block."""

    @property
    def site(self) -> Site:
        """Point of the block."""

    @property
    def values(self) -> Float[Tensor, " pos"]:
        """Length along the direction."""


@dataclass(frozen=True, kw_only=True)
class ProjectionBand:
    """What the line is held against, token by token."""

    low: Float[Tensor, " pos"]
    """Lower end."""
    high: Float[Tensor, " pos"]
    """Upper end."""
    name: str
    """What it is, such as ``range of the control personas``."""


def projection_line(
    trace: TokenTrace,
    band: ProjectionBand | None = None,
    *,
    title: str = "Projection over the conversation",
    direction: str = "the direction",
) -> View:
    """Value over the tokens of a conversation; above 0 is where the direction points to.

    Where the residual of the first token is more than three times as far out as that of any
    other (a massive activation), the scale leaves it out and a mark at the edge tells it.

    Args:
        trace: Values by token.
        band: What they are held against.
        title: What it shows.
        direction: Name of the direction.

    Raises:
        ValueError: If the trace is empty, or the band does not fit it.
    """
    n = len(trace.tokens)
    values = trace.values.detach().double().cpu()
    ends = [] if band is None else [each.double().cpu() for each in (band.low, band.high)]
    if not n or any(len(each) != n for each in (values, *ends)):
        raise ValueError(
            f"expected a value, and ends of the band, for each of at least one token, got {n} "
            f"tokens, {[len(each) for each in (values, *ends)]} numbers"
        )
    shown = Projection(
        tokens=shown_tokens(trace.tokens),
        values=tuple(values.tolist()),
        stretches=_stretches(trace.roles, trace.turns),
        unit=f"projection on {direction}, layer {trace.layer}, {trace.site.value}",
        band=(tuple(ends[0].tolist()), tuple(ends[1].tolist())) if ends else None,
        band_name="" if band is None else band.name,
        limits=_limits(values, *ends),
    )
    layout = projection_layout(shown)
    return plot_view(
        title=title,
        summary=_summary(shown),
        svg=projection_svg(shown, layout, title),
        keys="left and right arrow keys read the tokens",
        hint="Point at a token, or choose one with the arrow keys, to read it.",
        data=_data(shown, trace, layout.left, layout.step),
        figure=partial(projection_figure, shown),
        height=layout.size[1],
    )


def _stretches(roles: Sequence[str], turns: Sequence[int]) -> tuple[Stretch, ...]:
    """Tokens of one turn after another."""
    found: list[Stretch] = []
    for at, (role, turn) in enumerate(zip(roles, turns, strict=True)):
        if found and turn == turns[at - 1]:
            found[-1] = Stretch(role, found[-1].start, at + 1)
        else:
            found.append(Stretch(role, at, at + 1))
    return tuple(each for each in found if each.role in TURNS)


def _limits(values: Tensor, *ends: Tensor) -> tuple[float, float]:
    rest = values[1:] if len(values) > 1 else values
    finite = rest[torch.isfinite(rest)]
    most = float(finite.abs().max()) if len(finite) else 1.0
    is_far = len(values) > 1 and abs(float(values[0])) > _FAR * most
    kept = torch.cat([values[1 if is_far else 0 :], *(end[1 if is_far else 0 :] for end in ends)])
    known = kept[torch.isfinite(kept)].tolist()
    low, high = min([0.0, *known]), max([0.0, *known])
    room = 0.06 * ((high - low) or 1.0)
    return low - room, high + room


def _summary(shown: Projection) -> str:
    digits = decimals(max(map(abs, shown.limits)))
    whole = f"Line of the {shown.unit}, over {len(shown.values)} tokens"
    inside = [at for at in range(len(shown.values)) if not shown.is_beyond(at)]
    if not inside:
        return f"{whole}."
    top, bottom = (pick(inside, key=shown.values.__getitem__) for pick in (max, min))
    high, low = (f"“{shown.tokens[at]}” ({told(shown.values[at], digits)})" for at in (top, bottom))
    return f"{whole}: highest at {high}, lowest at {low}."


def _data(shown: Projection, trace: TokenTrace, left: float, step: float) -> dict[str, object]:
    digits = decimals(max(map(abs, shown.limits)))
    names = [
        f"“{token}” at {at}" if role == "template" else f"“{token}” at {at}, {role}"
        for at, (token, role) in enumerate(zip(shown.tokens, trace.roles, strict=True))
    ]
    band = (
        {}
        if shown.band is None
        else {"band": [_rounded(e, digits) for e in shown.band], "band_name": shown.band_name}
    )
    return {
        "kind": "line",
        "columns": names,
        "values": _rounded(shown.values, digits),
        "digits": digits,
        "unit": shown.unit,
        "left": left,
        "step": step,
        **band,
    }


def _rounded(values: Sequence[float], digits: int) -> list[float | None]:
    return [round(v, digits) + 0.0 if abs(v) < float("inf") else None for v in values]
