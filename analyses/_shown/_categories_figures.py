"""Figure of what each persona does by what is asked for."""

from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses._category_rows import HARMLESS
from analyses._shown._records import records
from analyses._words import TREATMENTS, number, span
from analyses.request_categories import RequestCategories
from lens_personas.views import LIGHT, Theme, escaped, finish, short


def category_heatmap(result: RequestCategories, *, theme: Theme = LIGHT) -> go.Figure:
    """Mean change of refusal by persona and category, a column of panels a treatment."""
    table = result.by_category
    treatments = [name for name in TREATMENTS if (table["treatment"] == name).any()]
    personas = list(dict.fromkeys(table["persona"]))
    rows = [name for name in (*result.categories, HARMLESS) if (table["category"] == name).any()]
    figure = make_subplots(
        cols=max(len(treatments), 1),
        shared_yaxes=True,
        horizontal_spacing=0.02,
        subplot_titles=[TREATMENTS[name] for name in treatments],
    )
    largest = float(table["change"].abs().max()) if len(table) else 1.0
    for column, treatment in enumerate(treatments, start=1):
        found = {
            (row.category, row.persona): row
            for row in records(table[table["treatment"] == treatment])
        }
        grid = [[found.get((category, persona)) for category in rows] for persona in personas]
        figure.add_trace(_heatmap(grid, personas, rows, theme), row=1, col=column)
    finish(figure, theme, height=180 + 24 * len(personas))
    figure.update_layout(
        coloraxis={
            "colorscale": [list(stop) for stop in theme.diverging],
            "cmin": -largest,
            "cmax": largest,
            "colorbar": {"title": {"text": "nats"}, "thickness": 12, "outlinewidth": 0},
        },
        margin_t=48,
    )
    figure.update_xaxes(
        type="category",
        tickmode="array",
        tickvals=[escaped(name) for name in rows],
        ticktext=[short(name, 20) for name in rows],
        showgrid=False,
    )
    figure.update_yaxes(
        type="category",
        autorange="reversed",
        tickmode="array",
        tickvals=[escaped(name) for name in personas],
        ticktext=[short(name) for name in personas],
        showgrid=False,
    )
    return figure


def _heatmap(
    grid: list[list[Any]], personas: list[str], rows: list[str], theme: Theme
) -> go.Heatmap:
    return go.Heatmap(
        z=[[None if cell is None else cell.change for cell in line] for line in grid],
        x=[escaped(name) for name in rows],
        y=[escaped(name) for name in personas],
        coloraxis="coloraxis",
        xgap=1,
        ygap=1,
        hoverongaps=False,
        hovertext=[["" if cell is None else _hover(cell) for cell in line] for line in grid],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _hover(cell: Any) -> str:
    return (
        f"<b>{escaped(cell.persona)}</b>, {escaped(cell.category)}, n = {cell.n}<br>"
        f"change {number(cell.change)} {span(cell.low, cell.high)}, control "
        f"{number(cell.control)}<br>less the control {number(cell.difference)} "
        f"{span(cell.difference_low, cell.difference_high)}"
    )
