"""Figures of how far words steer: the misaligned share by the length of the persona prompt."""

from typing import Final

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses._pair_figures_style import (
    ARM_LOOKS,
    SIDE_LOOKS,
    Panels,
    behaviours_of,
    curve,
    legend_below,
    sides_of,
)
from lens_personas.views import LIGHT, Theme, escaped, finish, short

_COLUMNS: Final = 4
_SHARES: Final = {"range": [-0.03, 1.03], "tickformat": ".0%"}
_BANDED: Final = ("misaligned", "filler")


def length_curves(table: pd.DataFrame, *, theme: Theme = LIGHT) -> go.Figure:
    """Misaligned share by number of sentences, a line an arm, a panel a side.

    Args:
        table: ``side, arm, n_sentences, estimate, low, high``, over all behaviours; the arm
            ``none`` is the question alone.
        theme: Colours.
    """
    sides = sides_of(table)
    figure = make_subplots(
        cols=max(len(sides), 1), shared_yaxes=True, horizontal_spacing=0.03, subplot_titles=sides
    )
    for at, side in enumerate(sides):
        here = table[table["side"] == side]
        for arm, look in ARM_LOOKS.items():
            rows = here[here["arm"] == arm]
            if len(rows):
                # The question alone is where every kind of prompt starts.
                rows = pd.concat([here[here["arm"] == "none"], rows])
                # Bands of five arms would hide one another; the others' are in the hovers.
                shown = curve(rows, look, theme, x="n_sentences", legend=at == 0)
                for trace in shown if arm in _BANDED else shown[-1:]:
                    figure.add_trace(trace, row=1, col=at + 1)
    finish(figure, theme, height=470)
    figure.update_xaxes(title_text="Sentences of the persona prompt")
    figure.update_yaxes(**_SHARES)
    figure.update_yaxes(title_text="Misaligned share", col=1)
    figure.add_hline(y=0.5, line={"color": theme.muted, "width": 1, "dash": "dot"})
    figure.update_layout(margin_b=110)
    return legend_below(figure, y=-0.2)


def length_curves_by_behaviour(table: pd.DataFrame, *, theme: Theme = LIGHT) -> go.Figure:
    """Misaligned share under the misaligned persona, base and tuned, a small panel a behaviour.

    Args:
        table: ``side, behaviour, arm, n_sentences, estimate, low, high``; the arm ``none`` is the
            question alone.
        theme: Colours.
    """
    table = table[table["arm"].isin(["none", "misaligned"])]
    names = behaviours_of(table)
    columns = min(max(len(names), 1), _COLUMNS)
    n_rows = max(-(-len(names) // columns), 1)
    figure = make_subplots(
        rows=n_rows,
        cols=columns,
        shared_yaxes=True,
        shared_xaxes=True,
        horizontal_spacing=0.02,
        vertical_spacing=0.2 / n_rows,
        subplot_titles=[short(name) for name in names],
    )
    panels = Panels(figure, columns)
    for at, name in enumerate(names):
        for side in sides_of(table):
            rows = table[(table["behaviour"] == name) & (table["side"] == side)]
            look, hover = SIDE_LOOKS[side], f", {escaped(name)}"
            panels.add(at, curve(rows, look, theme, x="n_sentences", legend=at == 0, hover=hover))
        panels.line(at, theme, y=0.5)
    figure = panels.draw()
    finish(figure, theme, height=110 + 190 * n_rows)
    figure.update_yaxes(**_SHARES)
    figure.update_xaxes(title_text="Sentences", row=n_rows)
    figure.update_annotations(font_size=12)
    return figure
