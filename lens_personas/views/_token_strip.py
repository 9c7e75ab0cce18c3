"""A value for every token: words on coloured ground."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go
from jaxtyping import Float
from torch import Tensor

from lens_personas.models import visible
from lens_personas.views._looks import LEVELS
from lens_personas.views._page import render
from lens_personas.views._scale import STEPS, centred_class, share_class
from lens_personas.views._theme import Theme, escaped, finish
from lens_personas.views._view import View


class _Piece(NamedTuple):
    text: str
    look: str
    number: str
    told: str
    ends_line: bool


class _Scale(NamedTuple):
    low: float
    high: float
    centre: float | None

    def look(self, value: float) -> str:
        if self.centre is not None:
            return centred_class(value, self.centre, self.high - self.centre)
        width = self.high - self.low
        return share_class((value - self.low) / width if width > 0 else 0.0 * value)


def token_strip(
    tokens: Sequence[str],
    values: Float[Tensor, " pos"],
    *,
    title: str,
    unit: str,
    centre: float | None = 0.0,
    limit: float | None = None,
) -> View:
    """Every token on a ground that says its value; the number shows on hover and on focus.

    The tokens are shown as they are: nothing in them is read as HTML, and what cannot be seen
    (a space, a line break, a direction mark) has a sign; see `models.token_strings`.

    Args:
        tokens: The text, token by token.
        values: A value for each; NaN where there is none.
        title: What it shows.
        unit: Of the values, as the legend calls it.
        centre: Where the two colours meet; None for one colour from the least value up.
        limit: Values this far from ``centre``, and those beyond, have the full colour (without
            ``centre``: this value); None for the farthest one.

    Raises:
        ValueError: If there is no token, not one value a token, an infinite value, or a ``limit``
            that leaves no room for a scale.
    """
    given = [float(value) for value in values]
    _check(tokens, given)
    scale = _scale([value for value in given if not math.isnan(value)], centre, limit)
    pieces = [
        _piece(at, token, value, scale, unit)
        for at, (token, value) in enumerate(zip(tokens, given, strict=True))
    ]

    def figure(theme: Theme) -> go.Figure:
        drawn = _figure(theme, [piece.text for piece in pieces], given, unit=unit, scale=scale)
        edge = 0.0 if centre is None else scale.low
        return drawn if limit is None else drawn.update_xaxes(range=[edge, scale.high])

    return View(
        title=title,
        body=render(
            "token_strip.html.jinja",
            title=title,
            tokens=pieces,
            unit=unit,
            low=("≤ " if any(each < scale.low for each in given) else "")
            + _number(scale.low, scale),
            high=("≥ " if any(each > scale.high for each in given) else "")
            + _number(scale.high, scale),
            legend=[f"c{k}" for k in range(LEVELS)]
            if centre is not None
            else [f"s{k}" for k in range(STEPS)],
            missing=any(map(math.isnan, given)),
        ),
        summary=_summary(pieces, given, unit),
        height=190 + 33 * (1 + sum(len(piece.text) + 1 for piece in pieces) // 100),
        figure=figure,
    )


def _check(tokens: Sequence[str], values: Sequence[float]) -> None:
    if not tokens or len(tokens) != len(values):
        raise ValueError(
            f"expected at least one token and a value for each, got {len(tokens)} tokens and "
            f"{len(values)} values"
        )
    if any(map(math.isinf, values)):
        at = next(at for at, value in enumerate(values) if math.isinf(value))
        raise ValueError(
            f"expected finite values, or NaN where there is none; got {values[at]} at token {at}"
        )


def _scale(values: Sequence[float], centre: float | None, limit: float | None) -> _Scale:
    if centre is None:
        low = min(values, default=0.0)
        scale = _Scale(low, max(values, default=1.0) if limit is None else limit, None)
        room = limit is None or limit > low
    else:
        far = max((abs(value - centre) for value in values), default=0.0) or 1.0
        reach = far if limit is None else limit
        scale = _Scale(centre - reach, centre + reach, centre)
        room = reach > 0
    if not room or not all(map(math.isfinite, scale[:2])):
        raise ValueError(
            f"expected a finite limit above {'the least value' if centre is None else 0}, got "
            f"limit={limit}; give None for the farthest value"
        )
    return scale


def _piece(at: int, token: str, value: float, scale: _Scale, unit: str) -> _Piece:
    text = visible(token) or "∅"
    number = _number(value, scale)
    told = f"{text}, token {at}: " + ("no value" if math.isnan(value) else f"{number} {unit}")
    return _Piece(text, scale.look(value), number, told, text.endswith("↵"))


def _number(value: float, scale: _Scale) -> str:
    if math.isnan(value):
        return "–"
    # Three digits of the widest number.
    widest = max(abs(scale.low), abs(scale.high), 1e-9)
    digits = min(max(2 - math.floor(math.log10(widest)), 0), 6)
    text = f"{value:+.{digits}f}" if scale.centre is not None else f"{value:.{digits}f}"
    return text.replace("-", "−")


def _summary(pieces: Sequence[_Piece], values: Sequence[float], unit: str) -> str:
    known = [at for at, value in enumerate(values) if not math.isnan(value)]
    if not known:
        return f"{len(pieces)} tokens, none with a value."
    low, high = min(known, key=values.__getitem__), max(known, key=values.__getitem__)
    return (
        f"{len(pieces)} tokens, each with a value ({unit}): the highest is {pieces[high].number} "
        f"at “{pieces[high].text}”, the lowest {pieces[low].number} at “{pieces[low].text}”."
    )


def _figure(
    theme: Theme, texts: Sequence[str], values: Sequence[float], *, unit: str, scale: _Scale
) -> go.Figure:
    """The same as bars, the first token on top."""
    rows = list(range(len(texts)))
    colour = theme.side("pro")
    figure = go.Figure(
        go.Bar(x=list(values), y=rows, orientation="h", marker={"color": colour}, showlegend=False)
    )
    figure.update_layout(bargap=0.25)
    finish(figure, theme, height=90 + 20 * len(rows))
    if scale.centre is not None:
        figure.add_vline(x=scale.centre, line={"color": theme.muted, "width": 1})
    figure.update_xaxes(title={"text": escaped(unit)})
    return figure.update_yaxes(
        tickmode="array",
        tickvals=rows,
        ticktext=[escaped(text) for text in texts],
        range=[len(rows) - 0.4, -0.6],
        showgrid=False,
    )
