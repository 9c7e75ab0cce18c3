"""A heatmap as a view: drawn, read cell by cell with pointer or keys, tabulated, for print."""

from functools import partial
from typing import Any

import plotly.graph_objects as go
import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.views._grid import Axis, Grid, grid_summary, told
from lens_personas.views._grid_picture import Layout, grid_layout, grid_svg
from lens_personas.views._looks import MONO
from lens_personas.views._plot import plot_view
from lens_personas.views._svg import cut
from lens_personas.views._theme import LIGHT, Theme, escaped, finish
from lens_personas.views._view import View


def grid_view(grid: Grid, title: str, *, summary: str | None = None) -> View:
    """The view of a heatmap; without a summary, where it is strongest."""
    layout = grid_layout(grid)
    return plot_view(
        title=title,
        summary=summary or grid_summary(grid),
        svg=grid_svg(grid, layout, title),
        keys="arrow keys read the cells",
        hint="Point at a cell, or choose one with the arrow keys, to read it.",
        data=_data(grid, layout),
        figure=partial(grid_figure, grid),
        height=layout.size[1],
    )


def grid_figure(grid: Grid, theme: Theme = LIGHT) -> go.Figure:
    """The same for print."""
    layout = grid_layout(grid)
    figure = go.Figure(_heat(grid, theme))
    if grid.hollow is not None:
        figure.add_trace(_rings(grid, theme))
    if layout.numbers:
        figure.update_traces(
            text=[
                [told(value, min(grid.digits, 2)) for value in row] for row in grid.values.tolist()
            ],
            texttemplate="%{text}",
            selector={"type": "heatmap"},
        )
    n_rows, n_columns = grid.values.shape
    height = n_rows * layout.cell[1] + layout.below + 90
    finish(figure, theme, height=height, width=n_columns * layout.cell[0] + layout.left + 170)
    figure.update_layout(
        margin={"l": layout.left, "b": layout.below + 12},
        showlegend=grid.hollow is not None,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    figure.update_xaxes(**_ticks(grid.columns), tickangle=-55 if layout.tilted else 0)
    ends = [-0.5, n_rows - 0.5]
    figure.update_yaxes(**_ticks(grid.rows), range=ends if grid.upward else ends[::-1])
    figure.update_xaxes(range=[-0.5, n_columns - 0.5])
    return figure


def _heat(grid: Grid, theme: Theme) -> go.Heatmap:
    n_rows, n_columns = grid.values.shape
    names = [[f"{r} · {c}" for c in grid.columns.names] for r in grid.rows.names]
    return go.Heatmap(
        z=[[None if value != value else value for value in row] for row in grid.values.tolist()],
        x=list(range(n_columns)),
        y=list(range(n_rows)),
        customdata=[[escaped(each) for each in row] for row in names],
        colorscale=[list(stop) for stop in theme.diverging],
        zmin=grid.centre - grid.limit,
        zmax=grid.centre + grid.limit,
        xgap=1,
        ygap=1,
        hovertemplate=f"%{{customdata}}<br>%{{z:.{grid.digits}f}}<extra></extra>",
        colorbar={
            "title": {"text": escaped(grid.unit), "font": {"size": 12, "color": theme.muted}},
            "tickfont": {"color": theme.muted},
            "thickness": 12,
            "outlinewidth": 0,
        },
    )


def _rings(grid: Grid, theme: Theme) -> go.Scatter:
    rows, columns = torch.nonzero(grid.marked, as_tuple=True)
    return go.Scatter(
        x=columns.tolist(),
        y=rows.tolist(),
        mode="markers",
        marker={
            "symbol": "circle",
            "size": 5,
            "color": theme.paper,
            "line": {"color": theme.muted, "width": 1},
        },
        name=escaped(grid.hollow_means),
        hoverinfo="skip",
    )


def _ticks(axis: Axis) -> dict[str, Any]:
    step = max(len(axis.labels) // 60, 1)
    places = list(range(0, len(axis.labels), step))
    font = {"tickfont_family": MONO} if axis.is_tokens else {}
    return {
        "title_text": escaped(axis.name[:1].upper() + axis.name[1:]),
        "tickvals": places,
        "ticktext": [escaped(cut(axis.labels[at], 30)) for at in places],
        "showgrid": False,
        **font,
    }


def _data(grid: Grid, layout: Layout) -> dict[str, Any]:
    n_rows = len(grid.rows.labels)
    second = grid.extra
    extra = second and {
        "name": second.name,
        "values": _numbers(second.values, second.digits),
        "digits": second.digits,
    }
    return {
        "kind": "grid",
        "rows": grid.rows.names,
        "columns": grid.columns.names,
        # Where the rows stand, from the top.
        "order": sorted(range(n_rows), key=grid.at),
        "values": _numbers(grid.values, grid.digits),
        "digits": grid.digits,
        "unit": grid.unit,
        "left": layout.left,
        "top": layout.top,
        "cell": layout.cell,
        "extra": extra,
    }


def _numbers(values: Float[Tensor, "row column"], digits: int) -> list[list[float | None]]:
    return [
        [round(value, digits) + 0.0 if abs(value) < float("inf") else None for value in row]
        for row in values.tolist()
    ]
