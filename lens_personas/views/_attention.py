"""Where each head looks, block by block."""

import base64
import math
import zlib
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol, runtime_checkable

import plotly.graph_objects as go
import torch
from jaxtyping import Float
from plotly.subplots import make_subplots
from torch import Tensor

from lens_personas.models import visible
from lens_personas.views._page import asset, render
from lens_personas.views._scale import STEPS
from lens_personas.views._theme import Theme, escaped, finish
from lens_personas.views._view import Script, View

DrawnBy = Literal["canvas", "circuitsvis"]
"""What draws the patterns: this package on a canvas, or CircuitsVis' ``AttentionHeads``."""
MAX_BYTES: Final = 32 * 2**20
"""Bytes of all patterns before they are packed: a page of these has at most 45 MB."""
MAX_CIRCUITSVIS: Final = 40_000
"""Cells of a block that CircuitsVis draws in about two seconds: it makes an object of each."""


@runtime_checkable
class Patterns(Protocol):
    """What is shown: `readouts.AttentionPatterns` is one."""

    @property
    def tokens(self) -> Sequence[str]:
        """The prompt's tokens as text to show."""

    @property
    def layers(self) -> Sequence[int]:
        """Blocks, counted from 0."""

    @property
    def patterns(self) -> Float[Tensor, "layer head dest src"]:
        """Share of its attention that a head at ``dest`` pays to ``src``."""


class _Piece(NamedTuple):
    text: str
    ends_line: bool


def attention_heads(
    patterns: Patterns,
    *,
    layer: int | None = None,
    title: str = "Where each head looks",
    drawn_by: DrawnBy = "canvas",
) -> View:
    """Every head of a block in small, the chosen one in full, and the text in its colours.

    A share is kept as a byte, 255 times its square root, so that it is off by .004 at most and
    small ones are kept apart; only what a causal head can see is kept, compressed. A block is
    unpacked and drawn when it is asked for: 32 heads × 512 tokens are at most 5.7 MB.

    CircuitsVis (https://github.com/TransformerLensOrg/CircuitsVis), from its own bundle, is there
    for those who know it. It adds 1.3 MB to a page once, cannot be reached by keys, and makes an
    object of each cell of each head: 32 heads of 64 tokens take four seconds of a core, of 512
    tokens minutes, where the canvas takes half a second. So the canvas is the default.

    Args:
        patterns: The attention; `readouts.attention_patterns` reads it.
        layer: One block; None for all that there are, one at a time.
        title: What it shows.
        drawn_by: What draws the patterns. Keys and words work with both.

    Raises:
        ValueError: If the layer is not there, the shapes do not fit, a number is no share of
            attention, a head looks ahead, there is more than ``MAX_BYTES``, or more than
            ``MAX_CIRCUITSVIS`` cells for CircuitsVis.
    """
    _check_shape(patterns)
    layers, chosen = _chosen(patterns, layer)
    _check_size(chosen, drawn_by)
    _check_shares(chosen)
    tokens = [visible(token) or "∅" for token in patterns.tokens]
    own = Script(name="attention", source=asset("attention.js"))
    return View(
        title=title,
        body=render(
            "attention.html.jinja",
            layers=layers,
            tokens=[_Piece(token, token.endswith("↵")) for token in tokens],
            legend=[f"s{k}" for k in range(STEPS)],
        ),
        summary=_summary(chosen, layers, tokens),
        scripts=(own,) if drawn_by == "canvas" else (_circuitsvis(), own),
        data={
            "tokens": tokens,
            "heads": chosen.shape[1],
            "packed": [_packed(of_layer) for of_layer in chosen],
            "circuitsvis": drawn_by == "circuitsvis",
            "steps": STEPS,
        },
        height=820 if drawn_by == "canvas" else 1100,
        figure=lambda theme: _figure(theme, chosen[0], tokens, layers[0]),
    )


def _check_shape(patterns: Patterns) -> None:
    shape = tuple(patterns.patterns.shape)
    if shape[0] != len(patterns.layers) or shape[2:] != (len(patterns.tokens),) * 2 or 0 in shape:
        raise ValueError(
            "expected patterns of shape [layer head dest src] with "
            f"{len(patterns.layers)} layers and {len(patterns.tokens)} tokens, none of them 0; got "
            f"{list(shape)}"
        )


def _check_shares(chosen: Float[Tensor, "layer head dest src"]) -> None:
    low, high = float(chosen.amin()), float(chosen.amax())
    # One part in a thousand: patterns of half precision add up to no more.
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        raise ValueError(f"expected shares of attention from 0 to 1, got {low} to {high}")
    if float(chosen.triu(1).amax()) > 1e-3:
        raise ValueError(
            "expected heads that look at no later token, got one that does; a model that reads "
            "both ways is not shown here"
        )


def _chosen(
    patterns: Patterns, layer: int | None
) -> tuple[tuple[int, ...], Float[Tensor, "layer head dest src"]]:
    layers = tuple(patterns.layers)
    if layer is None:
        return layers, patterns.patterns
    if layer not in layers:
        raise ValueError(f"expected a layer among {list(layers)}, got {layer}")
    return (layer,), patterns.patterns[[layers.index(layer)]]


def _check_size(chosen: Float[Tensor, "layer head dest src"], drawn_by: DrawnBy) -> None:
    n_layers, n_heads, n_tokens, _ = chosen.shape
    kept = n_layers * n_heads * n_tokens * (n_tokens + 1) // 2
    if kept > MAX_BYTES:
        raise ValueError(
            f"expected at most {MAX_BYTES} bytes of attention, got {kept}: {n_layers} layers of "
            f"{n_heads} heads and {n_tokens} tokens; give layer=, or read fewer layers"
        )
    if drawn_by == "circuitsvis" and n_heads * n_tokens**2 > MAX_CIRCUITSVIS:
        raise ValueError(
            f"expected at most {MAX_CIRCUITSVIS} cells for CircuitsVis, got {n_heads} heads of "
            f"{n_tokens}² cells; leave it at drawn_by='canvas'"
        )


def _packed(pattern: Float[Tensor, "head dest src"]) -> str:
    """The lower triangles, a byte a share, compressed, as text."""
    lower = torch.tril_indices(*pattern.shape[1:])
    shares = pattern[:, lower[0], lower[1]].float().clamp(0, 1)
    quantised = (255 * shares.sqrt()).round().to(torch.uint8)
    return base64.b64encode(zlib.compress(quantised.numpy().tobytes(), 6)).decode("ascii")


@cache
def _circuitsvis() -> Script:
    """CircuitsVis' bundle, as it is installed."""
    found = find_spec("circuitsvis")
    if found is None or found.origin is None:
        raise ImportError("expected circuitsvis, found none; pip install circuitsvis")
    bundle = Path(found.origin).parent / "dist" / "cdn" / "iife.js"
    # The closing tag stands in a string; the map would be asked for by developer tools.
    source = bundle.read_text(encoding="utf-8").replace("</script", "<\\/script")
    return Script(name="circuitsvis", source=source.partition("//# sourceMappingURL")[0])


def _summary(
    chosen: Float[Tensor, "layer head dest src"], layers: Sequence[int], tokens: Sequence[str]
) -> str:
    last = chosen[:, :, -1].float()
    strongest = int(last.argmax())
    place, source = divmod(strongest, len(tokens))
    layer, head = divmod(place, chosen.shape[1])
    return (
        f"Attention over {len(tokens)} tokens: {chosen.shape[1]} heads in each of {len(layers)} "
        f"blocks. From the last token, “{tokens[-1]}”, the strongest look is that of "
        f"head {head} in block {layers[layer]} at “{tokens[source]}”: "
        f"{float(last[layer, head, source]):.2f}."
    )


def _figure(
    theme: Theme, pattern: Float[Tensor, "head dest src"], tokens: Sequence[str], layer: int
) -> go.Figure:
    """Every head of the first block shown, for print."""
    n_heads = pattern.shape[0]
    across = min(n_heads, 4)
    down = math.ceil(n_heads / across)
    figure = make_subplots(
        rows=down,
        cols=across,
        subplot_titles=[f"Block {layer}, head {head}" for head in range(n_heads)],
        horizontal_spacing=0.04,
        vertical_spacing=min(0.3 / down, 0.12),
        shared_xaxes=True,
        shared_yaxes=True,
    )
    seen = torch.ones(pattern.shape[1:]).tril().bool()
    for head in range(n_heads):
        shares = pattern[head].float().masked_fill(~seen, math.nan)
        drawn = go.Heatmap(
            z=[[None if math.isnan(each) else each for each in row] for row in shares.tolist()],
            zmin=0,
            zmax=1,
            colorscale=[list(stop) for stop in theme.sequential],
            showscale=head == 0,
            colorbar={"title": {"text": "share of attention"}, "thickness": 12},
        )
        figure.add_trace(drawn, row=head // across + 1, col=head % across + 1)
    finish(figure, theme, height=120 + 250 * down, width=140 + 250 * across)
    n = len(tokens)
    named = n <= 24
    figure.update_xaxes(
        showgrid=False,
        tickmode="array",
        tickvals=list(range(n)) if named else [0, n - 1],
        ticktext=[escaped(token) for token in tokens] if named else ["0", str(n - 1)],
        tickangle=-90 if named else 0,
    )
    return figure.update_yaxes(
        showgrid=False,
        range=[n - 0.5, -0.5],
        tickmode="array",
        tickvals=list(range(n)) if named else [0, n - 1],
        ticktext=[escaped(token) for token in tokens] if named else ["0", str(n - 1)],
    )
