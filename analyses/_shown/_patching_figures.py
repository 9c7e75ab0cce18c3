"""Figures of patches: grids of layers and positions, heads, and the way from words to answer."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses._patching_types import PatchKind, PersonaPatching, Slot
from analyses._shown._records import records
from analyses._words import number, p_value, percent, span
from lens_personas.views import LIGHT, Theme, escaped, finish, layer_band, short

ALPHA = 0.05
"""Level at which a cell is marked."""

KIND_NAMES: dict[PatchKind, str] = {
    "resid_pre": "residual before the block",
    "attn_out": "what attention adds",
    "mlp_out": "what the MLP adds",
    "head": "what a head adds",
    "head_at": "what a head adds, at one position",
}
"""What is patched, in words."""

ROLE_NAMES = {
    "before": "before the persona",
    "persona": "the words on the user",
    "between": "between them and the request",
    "request": "the request",
    "after": "after the request",
}
"""Parts of a prompt in words."""

_WAYS = {"denoise": "first user's state put in", "noise": "first user's state taken out"}
_SIDES = {"persona": "anti", "between": "other", "request": "pro", "after": "refusal"}
_DASHES = {"persona": "solid", "between": "dash", "request": "dot", "after": "dashdot"}


def position_grids(found: PersonaPatching, *, theme: Theme = LIGHT) -> go.Figure:
    """Share of the difference by layer and position, a row a kind; a dot where it is no chance."""
    table = found.by_cell
    by_position: tuple[PatchKind, ...] = ("resid_pre", "attn_out", "mlp_out")
    shown = [kind for kind in by_position if (table["kind"] == kind).any()]
    figure = make_subplots(
        rows=len(shown),
        vertical_spacing=0.36 / max(len(shown), 1),
        subplot_titles=[KIND_NAMES[kind] for kind in shown],
    )
    for row, kind in enumerate(shown, 1):
        cells = _cells(table, kind, "both")
        cells = cells if len(cells) else _cells(table, kind, "denoise")
        for trace in _heat(cells, "slot", theme):
            figure.add_trace(trace, row=row, col=1)
    finish(figure, theme, height=90 + 320 * len(shown), coloraxis=_scale(theme))
    figure.update_yaxes(title_text="Layer", dtick=_tick(table), showgrid=False)
    _name_slots(figure, found.slots)
    figure.update_xaxes(title_text="Position", row=len(shown), col=1)
    return figure


def head_grids(found: PersonaPatching, *, theme: Theme = LIGHT) -> go.Figure:
    """Share of the difference by head, either way, and of the strongest heads by position."""
    table = found.by_cell
    at = _cells(table, "head_at", "denoise")
    figure = make_subplots(
        rows=2,
        cols=2,
        specs=[[{}, {}], [{"colspan": 2}, None]],
        row_heights=[0.62, 0.38],
        vertical_spacing=0.2,
        horizontal_spacing=0.08,
        subplot_titles=[*_WAYS.values(), "the strongest heads by position, put in"],
    )
    for column, way in enumerate(_WAYS, 1):
        for trace in _heat(_cells(table, "head", way), "head", theme):
            figure.add_trace(trace, row=1, col=column)
    at = at.assign(row=[f"{r.layer}.{r.head}" for r in records(at)])
    for trace in _heat(at, "slot", theme, across="row"):
        figure.add_trace(trace, row=2, col=1)
    finish(figure, theme, height=620, coloraxis=_scale(theme))
    n_heads = int(table["head"].max()) + 1
    figure.update_xaxes(
        title_text="Head",
        dtick=1 if n_heads <= 16 else 4,
        range=[-0.5, n_heads - 0.5],
        showgrid=False,
        row=1,
    )
    figure.update_yaxes(title_text="Layer", dtick=_tick(table), showgrid=False, row=1, col=1)
    figure.update_yaxes(dtick=_tick(table), showgrid=False, row=1, col=2)
    figure.update_yaxes(title_text="Layer.head", type="category", showgrid=False, row=2, col=1)
    _name_slots(figure, found.slots, row=2, col=1)
    return figure


def way_through(found: PersonaPatching, *, theme: Theme = LIGHT) -> go.Figure:
    """The strongest position of each part of the prompt by layer, residual, beside the nulls."""
    table = _cells(found.by_cell, "resid_pre", "denoise")
    figure = go.Figure()
    null = table.groupby("layer", as_index=False)[["null_low", "null_high"]].agg(
        {"null_low": "min", "null_high": "max"}
    )
    figure.add_trace(layer_band(null, theme.null, 1.0, low="null_low", high="null_high"))
    for role, side in _SIDES.items():
        here = table[table["role"] == role]
        if here.empty:
            continue
        best = here.loc[here.groupby("layer")["estimate"].apply(lambda each: each.abs().idxmax())]
        figure.add_trace(layer_band(best, theme.side(side), 0.2))
        figure.add_trace(_role_line(best, role, theme))
    finish(figure, theme, height=400)
    figure.update_layout(legend={"orientation": "h", "y": -0.2}, margin_b=90)
    figure.update_xaxes(title_text="Layer", dtick=_tick(found.by_cell))
    figure.update_yaxes(title_text="Moved towards the first user (nats)")
    figure.add_hline(
        y=found.total.estimate, line={"color": theme.muted, "width": 1, "dash": "dash"}
    )
    return figure


def _cells(table: pd.DataFrame, kind: str, way: str) -> pd.DataFrame:
    wanted = (table["kind"] == kind) & (table["way"] == way) & (table["metric"] == "refusal")
    return table[wanted]


def _heat(
    cells: pd.DataFrame, x: str, theme: Theme, *, across: str = "layer"
) -> tuple[go.Heatmap, go.Scatter]:
    """A heatmap of shares, and dots on its cells that are beyond chance and the nulls."""
    columns = sorted(cells[x].unique())
    # The strongest head on top; layers upwards.
    rows = list(dict.fromkeys(cells[across]))[:: -1 if across == "row" else 1]
    cell = {(each[across], each[x]): each for each in cells.to_dict(orient="records")}
    told = [[_told(cell[row, column]) for column in columns] for row in rows]
    heat = go.Heatmap(
        z=[[cell[row, column]["share"] for column in columns] for row in rows],
        x=columns,
        y=rows,
        coloraxis="coloraxis",
        xgap=1,
        ygap=1,
        text=told,
        hovertemplate="%{text}<extra></extra>",
    )
    marked = [each for each in cell.values() if _is_beyond(each)]
    dots = go.Scatter(
        x=[each[x] for each in marked],
        y=[each[across] for each in marked],
        mode="markers",
        marker={"size": 6, "color": theme.ink, "symbol": "circle"},
        hoverinfo="skip",
        showlegend=False,
    )
    return heat, dots


def _is_beyond(cell: dict[Any, Any]) -> bool:
    beyond = cell["p"] < ALPHA
    if pd.notna(cell["null_low"]):
        beyond = beyond and not cell["null_low"] <= cell["estimate"] <= cell["null_high"]
    return bool(beyond)


def _told(cell: dict[Any, Any]) -> str:
    what = f"layer {cell['layer']}"
    if cell["head"] >= 0:
        what += f", head {cell['head']}"
    if cell["place"]:
        token = f" “{escaped(str(cell['token']))}”" if cell["token"] else ""
        what += f", {cell['place']}{token}"
    return (
        f"{what}<br>{number(cell['estimate'], signed=True)} {span(cell['low'], cell['high'])} nats"
        f"<br>{percent(cell['share'])} of the difference, p {p_value(cell['p'])}"
    )


def _role_line(best: pd.DataFrame, role: str, theme: Theme) -> go.Scatter:
    name = ROLE_NAMES[role]
    return go.Scatter(
        x=best["layer"],
        y=best["estimate"],
        mode="lines+markers",
        line={"color": theme.side(_SIDES[role]), "width": 2.2, "dash": _DASHES[role]},
        marker={"size": 6},
        name=name,
        hovertext=[
            f"{name}: {each.place}, layer {each.layer}<br>{number(each.estimate, signed=True)} "
            f"{span(each.low, each.high)} nats"
            for each in records(best)
        ],
        hoverinfo="text",
    )


def _scale(theme: Theme) -> dict[str, Any]:
    return {
        "colorscale": [list(stop) for stop in theme.diverging],
        "cmin": -1,
        "cmax": 1,
        "colorbar": {"title": {"text": "share"}, "thickness": 12, "outlinewidth": 0, "len": 0.6},
    }


def _name_slots(figure: go.Figure, slots: Sequence[Slot], **place: int) -> None:
    figure.update_xaxes(
        tickvals=list(range(len(slots))),
        ticktext=[short(slot.label, 14) for slot in slots],
        tickangle=-40,
        # The dots on cells would widen it.
        range=[-0.5, len(slots) - 0.5],
        showgrid=False,
        showticklabels=True,
        **place,
    )


def _tick(table: pd.DataFrame) -> int:
    return 1 if not len(table) or table["layer"].max() <= 16 else 4
