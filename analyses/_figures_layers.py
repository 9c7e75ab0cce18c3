"""Figure of what steering does, layer by layer."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses._words import CHANGE_OF, SIDES, TREATMENTS, number
from analyses.persona_effects import PersonaEffects
from lens_personas.views import LIGHT, SYMBOLS, Theme, band, escaped, faded, finish, short

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
"""Lines of one side, told apart beyond the five by the hover alone."""


def layer_curves(effects: PersonaEffects, *, theme: Theme = LIGHT) -> go.Figure:
    """Change of refusal log-odds by the layer steered, by persona, with the control's band."""
    table = effects.layer_means
    table = table[table["layer"] >= 0] if len(table) else table
    treatments = [t for t in ("plus", "minus") if len(table) and (table["treatment"] == t).any()]
    figure = make_subplots(
        cols=max(len(treatments), 1),
        shared_yaxes=True,
        horizontal_spacing=0.04,
        subplot_titles=[TREATMENTS[t] for t in treatments],
    )
    for at, treatment in enumerate(treatments):
        here = table[table["treatment"] == treatment]
        for trace in _curve_traces(here, theme, legend=at == 0):
            figure.add_trace(trace, row=1, col=at + 1)
    rows = sum(trace.showlegend for trace in figure.data)
    # High enough for the legend not to scroll.
    finish(figure, theme, height=max(460, 150 + 29 * rows), hovermode="closest")
    figure.update_xaxes(title_text="Layer steered", dtick=_tick(table))
    figure.update_yaxes(title_text=CHANGE_OF["refusal_score"], col=1)
    figure.add_hline(y=0, line={"color": theme.muted, "width": 1, "dash": "dot"})
    return figure


def _curve_traces(table: pd.DataFrame, theme: Theme, *, legend: bool) -> list[go.Scatter]:
    traces = []
    nulls = table[table["kind"] == "null"]
    if len(nulls):
        ends = nulls.groupby("layer")["estimate"].agg(["min", "max"]).reset_index()
        traces.append(
            band(
                ends["layer"],
                ends["min"],
                ends["max"],
                theme.null,
                name="nulls (range)",
                legend=legend,
            )
        )
    for _, rows in table[table["kind"] == "control"].groupby("persona", sort=False):
        grey = faded(theme.side("control"), 0.28)
        traces.append(
            band(
                rows["layer"], rows["low"], rows["high"], grey, name="control (95 %)", legend=legend
            )
        )
    people = table[table["kind"].isin(["persona", "control"])]
    for _, side in people.groupby("group", sort=False):
        for at, (name, rows) in enumerate(side.groupby("persona", sort=False)):
            dash = _DASHES[at % len(_DASHES)]
            traces.append(_curve(str(name), rows.sort_values("layer"), dash, theme, legend=legend))
    return traces


def _curve(name: str, rows: pd.DataFrame, dash: str, theme: Theme, *, legend: bool) -> go.Scatter:
    group = str(rows["group"].iloc[0])
    control = rows["kind"].iloc[0] == "control"
    return go.Scatter(
        x=rows["layer"],
        y=rows["estimate"],
        mode="lines+markers",
        line={"color": theme.side(group), "width": 3 if control else 1.6, "dash": dash},
        marker={"symbol": SYMBOLS.get(group, SYMBOLS["other"]), "size": 7},
        name=short(name),
        legendgroup=escaped(name),
        legendrank=list(SIDES).index(group) if group in SIDES else len(SIDES),
        showlegend=legend,
        customdata=rows[["low", "high"]].map(number),
        hovertemplate=f"<b>{escaped(name)}</b>, layer %{{x}}<br>%{{y:.2f}} "
        "[%{customdata[0]}, %{customdata[1]}]<extra></extra>",
    )


def _tick(table: pd.DataFrame) -> int:
    return 1 if not len(table) or table["layer"].max() <= 16 else 4
