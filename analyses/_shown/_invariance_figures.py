"""Figure of refusal by who asks, in the order of the data."""

import pandas as pd
import plotly.graph_objects as go

from analyses._shown._records import records
from analyses._words import SIDES, number, percent, span
from analyses.persona_invariance import PersonaInvariance
from lens_personas.views import LIGHT, SYMBOLS, Theme, escaped, faded, finish, name_rows, short


def invariance_strip(result: PersonaInvariance, *, theme: Theme = LIGHT) -> go.Figure:
    """Mean refusal of each user with interval, then of neutral texts; never sorted by value."""
    table = result.by_text
    table = table[table["axis"] == ""]
    names = list(table["text"])
    figure = go.Figure()
    for group, rows in table.groupby("group", sort=False):
        figure.add_trace(_marks(str(group), rows, theme))
    users = table[table["kind"] != "null"]
    middle = float(users["score"].mean())
    for reach, colour in (
        (result.users.sd.estimate, faded(theme.side("pro"), 0.14)),
        (None if result.neutral is None else result.neutral.sd.estimate, faded(theme.ink, 0.12)),
    ):
        if reach is not None and reach >= 0:
            figure.add_vrect(x0=middle - reach, x1=middle + reach, fillcolor=colour, line_width=0)
    finish(figure, theme, height=max(360, 140 + 22 * len(names)))
    figure.update_xaxes(title_text="Mean refusal log-odds (nats)")
    return name_rows(figure, names)


def disparity_gaps(result: PersonaInvariance, *, theme: Theme = LIGHT) -> go.Figure:
    """Gap of each pair of groups with simultaneous interval, by the alphabet."""
    rows = [(each.axis, row) for each in result.disparities for row in records(each.pairs)]
    labels = [f"{axis}: {row.first} − {row.second}" for axis, row in rows]
    colour = theme.side("other")
    figure = go.Figure(
        go.Scatter(
            x=[row.gap for _, row in rows],
            y=[escaped(label) for label in labels],
            mode="markers",
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [row.high - row.gap for _, row in rows],
                "arrayminus": [row.gap - row.low for _, row in rows],
                "color": colour,
                "width": 0,
            },
            marker={"symbol": "diamond", "size": 9, "color": colour},
            hovertext=[
                f"{escaped(label)}<br>{number(row.gap)} {span(row.low, row.high)} nats"
                for label, (_, row) in zip(labels, rows, strict=True)
            ],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    finish(figure, theme, height=max(300, 140 + 22 * len(rows)), showlegend=False)
    figure.add_vline(x=0, line={"color": theme.muted, "width": 1, "dash": "dot"})
    figure.update_xaxes(title_text="Gap of refusal log-odds, first less second (nats)")
    figure.update_yaxes(
        type="category",
        range=[len(rows) - 0.4, -0.6],
        tickmode="array",
        tickvals=[escaped(label) for label in labels],
        ticktext=[short(label, 44) for label in labels],
        showgrid=False,
    )
    return figure


def _marks(group: str, rows: pd.DataFrame, theme: Theme) -> go.Scatter:
    colour = theme.muted if group == "null" else theme.side(group)
    return go.Scatter(
        x=rows["score"],
        y=[escaped(name) for name in rows["text"]],
        mode="markers",
        error_x={
            "type": "data",
            "symmetric": False,
            "array": rows["high"] - rows["score"],
            "arrayminus": rows["score"] - rows["low"],
            "color": colour,
            "width": 0,
        },
        marker={
            "symbol": "x-thin-open" if group == "null" else SYMBOLS.get(group, SYMBOLS["other"]),
            "size": 9,
            "color": colour,
        },
        name="neutral text" if group == "null" else escaped(SIDES.get(group, group)),
        hovertext=[
            f"<b>{escaped(row.text)}</b><br>{number(row.score)} {span(row.low, row.high)} nats, "
            f"probability {percent(row.probability)}<br>less the control {number(row.difference)} "
            f"{span(row.difference_low, row.difference_high)}"
            for row in records(rows)
        ],
        hovertemplate="%{hovertext}<extra></extra>",
    )
