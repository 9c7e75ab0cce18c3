"""What the model would say after every block and token, as a table."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

import plotly.graph_objects as go
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.models import visible
from lens_personas.views._looks import ink_on
from lens_personas.views._page import asset, render
from lens_personas.views._scale import STEPS, share_class, step_colour
from lens_personas.views._theme import Theme, escaped, finish, short
from lens_personas.views._view import Script, View

MAX_CELLS: Final = 50_000
"""Cells of a grid: a browser lays out this many in about three seconds."""
_PRINTED: Final = 12
"""Columns of the figure for print in which tokens can be read."""


@runtime_checkable
class Lens(Protocol):
    """What is shown: `readouts.LensTable` is one."""

    @property
    def tokens(self) -> Sequence[str]:
        """The prompt's tokens as text to show."""

    @property
    def layers(self) -> Sequence[int]:
        """Blocks, counted from 0, from below."""

    @property
    def ids(self) -> Int[Tensor, "layer pos k"]:
        """The likeliest next tokens, the first one first."""

    @property
    def tokens_of(self) -> Mapping[int, str]:
        """Text to show of every id."""

    @property
    def log_probs(self) -> Float[Tensor, "layer pos k"]:
        """Their log-probabilities in nats."""

    @property
    def is_exact(self) -> bool:
        """Whether the last block's row is the model's own output."""


class _Cell(NamedTuple):
    text: str
    look: str


class _Row(NamedTuple):
    layer: int
    cells: list[_Cell]


def lens_grid(table: Lens, *, title: str = "What the model would say next") -> View:
    """Layer by token: the most likely next token, the others on hover and on focus.

    Args:
        table: The lens; `readouts.lens_table` makes one.
        title: What it shows.

    Raises:
        ValueError: If the shapes do not fit, or there are more than ``MAX_CELLS`` cells.
    """
    _check(table)
    tokens = [visible(token) or "∅" for token in table.tokens]
    texts = {each: visible(text) or "∅" for each, text in table.tokens_of.items()}
    ids = table.ids.flip(0).tolist()
    probabilities = table.log_probs.double().exp().flip(0)
    rows = [
        _Row(
            layer,
            [
                _cell(texts[top[0]], share, same=top[0] == last[0])
                for top, share, last in zip(of_layer, shares, ids[0], strict=True)
            ],
        )
        for layer, of_layer, shares in zip(
            reversed(table.layers), ids, probabilities[:, :, 0].tolist(), strict=True
        )
    ]
    place = {each: at for at, each in enumerate(texts)}
    return View(
        title=title,
        body=render(
            "lens_grid.html.jinja",
            title=title,
            tokens=tokens,
            rows=rows,
            legend=[f"s{k}" for k in range(STEPS)],
            exact="The top row is the model’s own output." if table.is_exact else "",
        ),
        summary=_summary(rows, tokens),
        scripts=(Script(name="lens-grid", source=asset("lens_grid.js")),),
        data={
            "layers": [row.layer for row in rows],
            "tokens": tokens,
            "texts": list(texts.values()),
            "top": [place[each] for each in table.ids.flip(0).flatten().tolist()],
            "percent": [round(100 * each, 2) for each in probabilities.flatten().tolist()],
            "k": table.ids.shape[2],
        },
        height=230 + 24 * len(rows),
        figure=lambda theme: _figure(theme, table, tokens, texts),
    )


def _check(table: Lens) -> None:
    shape = tuple(table.ids.shape)
    expected = (len(table.layers), len(table.tokens))
    if 0 in shape or shape[:2] != expected or table.log_probs.shape != table.ids.shape:
        raise ValueError(
            f"expected ids and log_probs of shape [layer pos k] = {[*expected, 'k']}, none of them "
            f"0; got {list(shape)} and {list(table.log_probs.shape)}"
        )
    if shape[0] * shape[1] > MAX_CELLS:
        raise ValueError(
            f"expected at most {MAX_CELLS} cells, got {shape[0]} layers of {shape[1]} tokens; "
            "read fewer layers, or a part of the prompt"
        )


def _cell(text: str, share: float, *, same: bool) -> _Cell:
    return _Cell(text, f"{share_class(share)} same" if same else share_class(share))


def _summary(rows: Sequence[_Row], tokens: Sequence[str]) -> str:
    # From above: the last block whose token is another one.
    other = next((row.layer for row in rows if not row.cells[-1].look.endswith("same")), None)
    settled = "as after every block shown" if other is None else f"up to block {other} another"
    return (
        f"The most likely next token after {len(rows)} blocks at {len(tokens)} tokens. At the last "
        f"token, after the last block, it is “{rows[0].cells[-1].text}”, {settled}."
    )


def _figure(
    theme: Theme, table: Lens, tokens: Sequence[str], texts: Mapping[int, str]
) -> go.Figure:
    """The same for print: tokens are written in where there is room, the last ones of many."""
    shown = slice(-_PRINTED, None)
    across = list(range(len(tokens)))[shown]
    layers = list(table.layers)
    words = [[texts[top[0]] for top in row] for row in table.ids[:, shown].tolist()]
    shares = table.log_probs[:, shown, 0].double().exp().tolist()
    figure = go.Figure(
        go.Heatmap(
            x=across,
            y=list(range(len(layers))),
            z=shares,
            zmin=0,
            zmax=1,
            xgap=1,
            ygap=1,
            colorscale=[list(stop) for stop in theme.sequential],
            colorbar={"title": {"text": "probability"}, "thickness": 12},
        )
    )
    figure.add_traces(_words(theme, across, words, shares))
    finish(figure, theme, height=140 + 26 * len(layers), width=240 + 84 * len(across))
    figure.update_xaxes(
        tickmode="array",
        tickvals=across,
        ticktext=[escaped(tokens[at]) for at in across],
        showgrid=False,
    )
    return figure.update_yaxes(
        title={"text": "after block"},
        tickmode="array",
        tickvals=list(range(len(layers))),
        ticktext=list(map(str, layers)),
        showgrid=False,
    )


def _words(
    theme: Theme,
    across: Sequence[int],
    words: Sequence[Sequence[str]],
    shares: Sequence[Sequence[float]],
) -> list[go.Scatter]:
    """The tokens in their cells, those on dark ground and those on light ground."""
    cells = [
        (ink_on(step_colour(theme, share)), x, y, short(word, 12))
        for y, (row, of_row) in enumerate(zip(words, shares, strict=True))
        for x, word, share in zip(across, row, of_row, strict=True)
    ]
    return [
        go.Scatter(
            x=[cell[1] for cell in cells if cell[0] == ink],
            y=[cell[2] for cell in cells if cell[0] == ink],
            text=[cell[3] for cell in cells if cell[0] == ink],
            mode="text",
            textfont={"color": ink, "size": 11},
            hoverinfo="skip",
            showlegend=False,
        )
        for ink in sorted({cell[0] for cell in cells})
    ]
