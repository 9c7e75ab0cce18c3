"""Figures of doses and lengths: curves beside control and nulls, and what else they cost."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses._words import GROUPS, SIDES
from analyses.dose_response import KL_BOUND, DoseResponse
from lens_personas.views import LIGHT, SYMBOLS, Theme, escaped, faded, finish, short

_KIND_DASH = {"control": "dash", "random": "dot", "shuffled": "dashdot", "refusal": "longdash"}
_EFFECTS = {
    "harmless": "Harmless requests answered",
    "known": "Harmful requests: whole known answer",
    "degenerate": "Answers that are no text",
}


def dose_curves(result: DoseResponse, *, theme: Theme = LIGHT) -> go.Figure:
    """Change of refusal by dose for every persona's vector, with the control and the nulls' band.

    Lines of one side share a colour and an entry of the legend; each is named where pointed at.
    """
    table = result.by_dose
    figure = go.Figure()
    figure.add_trace(_band(table, "dose", theme, "random directions and exchanged labels"))
    _add_lines(figure, table, "dose", "residual norms", theme)
    finish(figure, theme, height=460)
    figure.update_xaxes(title_text=f"Dose at layer {result.layer} (residual norms)")
    figure.update_yaxes(title_text="Change of refusal log-odds (nats)")
    for edge in (-result.study_dose, result.study_dose):
        figure.add_vline(x=edge, line={"color": theme.muted, "width": 1, "dash": "dot"})
    return figure


def length_curves(result: DoseResponse, *, theme: Theme = LIGHT) -> go.Figure:
    """Change of refusal by number of statements, with the control and fillers of as many tokens."""
    table = result.by_length
    figure = go.Figure()
    figure.add_trace(_band(table, "statements", theme, "neutral text of as many tokens"))
    _add_lines(figure, table, "statements", "statements", theme)
    finish(figure, theme, height=460)
    figure.update_xaxes(
        title_text="Statements before the request",
        type="log",
        tickvals=list(result.lengths),
        ticktext=[str(length) for length in result.lengths],
    )
    figure.update_yaxes(title_text="Change of refusal log-odds (nats)")
    return figure


def side_effects(result: DoseResponse, *, theme: Theme = LIGHT) -> go.Figure:
    """KL on harmless requests by dose for every vector, and what the sampled arms' answers are."""
    shares = {} if result.written is None else _EFFECTS
    titles = ["KL on harmless requests (nats)", *shares.values()]
    columns = min(2, len(titles))
    figure = make_subplots(
        rows=(len(titles) + 1) // 2,
        cols=columns,
        subplot_titles=titles,
        horizontal_spacing=0.1,
        vertical_spacing=0.16,
    )
    for trace in _kl_lines(result, theme):
        figure.add_trace(trace, row=1, col=1)
    for at, what in enumerate(shares, start=1):
        for trace in _share_lines(result, what, theme, legend=at == 1):
            figure.add_trace(trace, row=at // 2 + 1, col=at % 2 + 1)
        figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%", row=at // 2 + 1, col=at % 2 + 1)
    finish(figure, theme, height=380 if len(titles) == 1 else 640)
    # What a small dose does lies orders of magnitude below what a large one does.
    figure.update_yaxes(type="log", exponentformat="power", row=1, col=1)
    figure.add_hline(
        y=KL_BOUND, line={"color": theme.muted, "width": 1, "dash": "dot"}, row=1, col=1
    )
    figure.update_xaxes(title_text="Dose (residual norms)")
    return figure


def _band(table: pd.DataFrame, level: str, theme: Theme, name: str) -> go.Scatter:
    rows = table[[level, "null_low", "null_high"]].dropna().drop_duplicates(level)
    rows = rows.sort_values(level)
    at = rows[level]
    return go.Scatter(
        x=[*at, *at[::-1]],
        y=[*rows["null_low"], *rows["null_high"][::-1]],
        fill="toself",
        fillcolor=faded(theme.null, 0.6),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        name=name,
    )


def _add_lines(figure: go.Figure, table: pd.DataFrame, level: str, unit: str, theme: Theme) -> None:
    shown = table[table["kind"].isin(["persona", "control"])]
    told: set[str] = set()
    for side in [*GROUPS, *(g for g in shown["group"].unique() if g not in GROUPS)]:
        for name, rows in shown[shown["group"] == side].groupby("persona", sort=False):
            figure.add_trace(_line(str(name), side, rows, level, unit, theme, side not in told))
            told.add(side)


def _line(
    name: str, side: str, rows: pd.DataFrame, level: str, unit: str, theme: Theme, first: bool
) -> go.Scatter:
    is_control = side == "control"
    colour = theme.side(side)
    return go.Scatter(
        x=rows[level],
        y=rows["change"],
        mode="lines+markers",
        line={
            "color": colour if is_control else faded(colour, 0.7),
            "width": 3 if is_control else 1.5,
            "dash": "dash" if is_control else "solid",
        },
        marker={"symbol": SYMBOLS.get(side, SYMBOLS["other"]), "size": 8 if is_control else 5},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": rows["high"] - rows["change"],
            "arrayminus": rows["change"] - rows["low"],
            "width": 0,
            "thickness": 1,
            "color": faded(colour, 0.35),
        },
        name=escaped(SIDES.get(side, side)),
        legendgroup=side,
        showlegend=first,
        hovertemplate=f"<b>{escaped(name)}</b>, %{{x}} {unit}: %{{y:.2f}} nats<extra></extra>",
    )


def _kl_lines(result: DoseResponse, theme: Theme) -> list[go.Scatter]:
    traces = []
    for (name, group, kind), rows in result.by_dose.groupby(
        ["persona", "group", "kind"], sort=False
    ):
        # A logarithmic axis has no place for 0.
        known = rows[rows["kl"] > 0]
        colour = _colour(str(kind), str(group), theme)
        traces.append(
            go.Scatter(
                x=known["dose"],
                y=known["kl"],
                mode="lines",
                line={
                    "color": faded(colour, 0.75),
                    "width": 3 if kind == "control" else 1.2,
                    "dash": _KIND_DASH.get(str(kind), "solid"),
                },
                showlegend=False,
                hovertemplate=f"<b>{escaped(str(name))}</b>, %{{x}} norms: %{{y:.2g}} nats"
                "<extra></extra>",
            )
        )
    return traces


def _share_lines(
    result: DoseResponse, what: str, theme: Theme, *, legend: bool
) -> list[go.Scatter]:
    assert result.written is not None
    steered = result.written[result.written["treatment"] == "dose"]
    alone = result.written[result.written["treatment"] == "baseline"]
    column = "answered" if what == "harmless" else what
    traces = []
    for (name, group, kind), rows in steered.groupby(["persona", "group", "kind"], sort=False):
        points = pd.concat([rows, alone])
        if what != "degenerate":
            points = points[points["harmful"] == (what == "known")]
        curve = points.groupby("dose")[column].mean().sort_index()
        colour = _colour(str(kind), str(group), theme)
        traces.append(_share_line(str(name), str(kind), curve, colour, legend))
    return traces


def _share_line(name: str, kind: str, curve: pd.Series, colour: str, legend: bool) -> go.Scatter:
    return go.Scatter(
        x=_plain(curve.index),
        y=_plain(curve),
        mode="lines+markers",
        line={"color": colour, "width": 1.8, "dash": _KIND_DASH.get(kind, "solid")},
        marker={"size": 5},
        name=short(name),
        legendgroup=f"arm {escaped(name)}",
        showlegend=legend,
        hovertemplate=f"<b>{escaped(name)}</b>, %{{x}} norms: %{{y:.0%}}<extra></extra>",
    )


def _plain(values: "pd.Series | pd.Index") -> Sequence[float]:
    return [float(value) for value in values]


def _colour(kind: str, group: str, theme: Theme) -> str:
    return theme.muted if kind in ("random", "shuffled", "filler", "none") else theme.side(group)
