"""Figures of the divergence of sentences: its decay with length, and what it foretells."""

from typing import Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses._pair_figures_style import (
    SIDE_LOOKS,
    Look,
    Panels,
    behaviours_of,
    curve,
    mark,
    sides_of,
)
from lens_personas.views import LIGHT, Theme, escaped, finish, short

_COLUMNS: Final = 4
_BANDED: Final = ("misaligned", "filler")
_PREFIXES: Final = {
    "misaligned": Look(name="misaligned sentences", hue="anti", symbol="square", dash="solid"),
    "aligned": Look(name="aligned sentences", hue="pro", symbol="circle", dash="solid"),
    "filler": Look(name="neutral sentences", hue="control", symbol="diamond", dash="dash"),
}
"""What the sentences before the point of divergence are, in the order they are shown."""
_BEYOND: Final = 1.25
"""Where lengths that were not reached are put, in longest lengths."""


def divergence_curves(table: pd.DataFrame, *, theme: Theme = LIGHT) -> go.Figure:
    """Divergence of the next sentence by sentences before it, a panel a behaviour and side.

    Args:
        table: ``side, behaviour, half_of_prefix, n_sentences, kl, low, high`` and ``theory``, of
            one reference.
        theme: Colours.
    """
    keys = [
        (behaviour, side)
        for behaviour in behaviours_of(table)
        for side in sides_of(table[table["behaviour"] == behaviour])
    ]
    columns = min(max(len(keys), 1), _COLUMNS)
    n_rows = max(-(-len(keys) // columns), 1)
    figure = make_subplots(
        rows=n_rows,
        cols=columns,
        shared_xaxes=True,
        horizontal_spacing=0.045,
        vertical_spacing=0.2 / n_rows,
        subplot_titles=[f"{short(behaviour, 22)}, {side}" for behaviour, side in keys],
    )
    panels = Panels(figure, columns)
    for at, (behaviour, side) in enumerate(keys):
        rows = table[(table["behaviour"] == behaviour) & (table["side"] == side)]
        panels.add(at, _curves(rows, theme, legend=at == 0))
        panels.line(at, theme, y=0.0)
    figure = panels.draw()
    finish(figure, theme, height=110 + 200 * n_rows)
    figure.update_xaxes(title_text="Sentences before", row=n_rows)
    figure.update_yaxes(title_text="nats a sentence", col=1)
    figure.update_annotations(font_size=12)
    return figure


def predicted_lengths(table: pd.DataFrame, *, theme: Theme = LIGHT) -> go.Figure:
    """Predicted against observed misaligning length, a mark a behaviour.

    Args:
        table: ``side, behaviour, predicted, observed``, in sentences; infinite where not reached.
        theme: Colours.
    """
    longest = _longest(table)
    beyond = _BEYOND * longest
    figure = go.Figure(
        go.Scatter(
            x=[0, longest],
            y=[0, longest],
            mode="lines",
            line={"color": theme.muted, "width": 1, "dash": "dot"},
            hoverinfo="skip",
            name="as predicted",
            showlegend=True,
        )
    )
    for side in sides_of(table):
        figure.add_trace(_lengths(table[table["side"] == side], side, beyond, theme))
    finish(figure, theme, height=460)
    ticks = list(range(0, longest + 1, -(-longest // 5)))
    for update, title in (
        (figure.update_xaxes, "Predicted (sentences)"),
        (figure.update_yaxes, "Observed (sentences)"),
    ):
        update(
            title_text=title,
            range=[-0.05 * longest, 1.06 * beyond],
            tickvals=[*ticks, beyond],
            ticktext=[*map(str, ticks), "beyond"],
        )
    return figure


def _curves(rows: pd.DataFrame, theme: Theme, *, legend: bool) -> list[go.Scatter]:
    traces: list[go.Scatter] = []
    for half, look in _PREFIXES.items():
        here = rows[rows["half_of_prefix"] == half].rename(columns={"kl": "estimate"})
        if len(here):
            drawn = curve(here, look, theme, x="n_sentences", legend=legend)
            traces += drawn if half in _BANDED else drawn[-1:]
    theory = rows.dropna(subset=["theory"]).sort_values("n_sentences")
    if len(theory):
        traces.append(
            go.Scatter(
                x=theory["n_sentences"],
                y=theory["theory"],
                mode="lines",
                line={"color": theme.ink, "width": 1.4, "dash": "dot"},
                name="the theory’s curve",
                legendgroup="theory",
                showlegend=legend,
                hovertemplate="theory, %{x}: %{y:.2f}<extra></extra>",
            )
        )
    return traces


def _longest(table: pd.DataFrame) -> int:
    values = table[["predicted", "observed"]].to_numpy(np.float64).ravel()
    finite = values[np.isfinite(values)]
    # One behaviour with hardly any divergence must not push all others into a corner.
    return max(int(np.ceil(np.quantile(finite, 0.9))), 1) if finite.size else 1


def _lengths(rows: pd.DataFrame, side: str, beyond: float, theme: Theme) -> go.Scatter:
    look = SIDE_LOOKS[side]
    rows = rows.dropna(subset=["predicted", "observed"])
    return go.Scatter(
        x=rows["predicted"].clip(upper=beyond),
        y=rows["observed"].clip(upper=beyond),
        mode="markers",
        marker=mark(look, theme, size=9),
        name=side,
        hovertext=[
            f"<b>{escaped(str(row['behaviour']))}</b>, {side}<br>"
            f"predicted {_named(row['predicted'])}, observed {_named(row['observed'])}"
            for row in rows.to_dict(orient="records")
        ],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _named(length: float) -> str:
    return f"{length:.3g}" if np.isfinite(length) else "not reached"
