"""Figures of the direct measure: answers by layer and lens, the lens itself, personas."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses._words import SIDES, TREATMENTS
from analyses.known_answers import KnownAnswers, LensFit
from lens_personas.views import LIGHT, Theme, escaped, finish, layer_band

_LENSES = {"logit": "solid", "tuned": "dash"}
_GROUPS = ("pro", "anti", "other", "control", "null")


def answer_curves(found: KnownAnswers, *, theme: Theme = LIGHT) -> go.Figure:
    """Known answers by layer: top token, and the whole answer beside wrong ones."""
    figure = make_subplots(
        cols=2,
        horizontal_spacing=0.09,
        subplot_titles=["First token on top", "Whole answer, nats a token"],
    )
    shares = (
        ("top1", "the known answer", theme.side("pro")),
        ("refusal_top1", "a refusal", theme.side("refusal")),
        ("other_top1", "another request's answer", theme.side("control")),
    )
    values = (
        ("per_token", "the known answer", theme.side("pro")),
        ("other_per_token", "another request's answer", theme.side("control")),
    )
    for column, curves in ((1, shares), (2, values)):
        for lens, dash in _LENSES.items():
            table = _lens_rows(found.by_layer, lens)
            for name, what, colour in curves:
                if table[name].notna().any():
                    label = f"{what}, {lens} lens"
                    line = _line(table, name, label, colour, dash)
                    line.showlegend = column == 1
                    figure.add_trace(line, row=1, col=column)
    finish(figure, theme, height=420)
    figure.update_layout(legend={"orientation": "h", "y": -0.22}, margin_b=120)
    figure.update_xaxes(title_text="Layer", dtick=_tick(found.by_layer))
    figure.update_yaxes(
        title_text="Share of requests", range=[-0.03, 1.03], tickformat=".0%", col=1
    )
    figure.update_yaxes(title_text="Log-probability (nats a token)", col=2)
    return figure


def difference_curves(found: KnownAnswers, *, theme: Theme = LIGHT) -> go.Figure:
    """The known answer less another request's, with interval and what wrong answers differ by."""
    figure = go.Figure()
    colours = {"logit": theme.side("pro"), "tuned": theme.side("other")}
    for lens, dash in _LENSES.items():
        table = _lens_rows(found.by_layer, lens)
        if table.empty:
            continue
        if table["null_low"].notna().any():
            figure.add_trace(layer_band(table, theme.null, 0.7, low="null_low", high="null_high"))
        figure.add_trace(
            layer_band(table, colours[lens], 0.18, low="difference_low", high="difference_high")
        )
        figure.add_trace(_line(table, "difference", f"{lens} lens", colours[lens], dash))
    figure.add_hline(y=0, line={"color": theme.muted, "width": 1})
    finish(figure, theme, height=380)
    figure.update_layout(legend={"orientation": "h", "y": -0.22}, margin_b=90)
    figure.update_xaxes(title_text="Layer", dtick=_tick(found.by_layer))
    figure.update_yaxes(title_text="Known less another answer (nats a token)")
    return figure


def lens_fit(fit: LensFit, *, theme: Theme = LIGHT) -> go.Figure:
    """Divergence of the output from both lenses, on prompts that were held out."""
    figure = go.Figure()
    for lens, colour in (("logit", theme.side("pro")), ("tuned", theme.side("other"))):
        table = fit.by_layer
        figure.add_trace(_line(table, f"kl_{lens}", f"{lens} lens", colour, _LENSES[lens]))
    finish(figure, theme, height=340)
    figure.update_layout(legend={"orientation": "h", "y": -0.24}, margin_b=90)
    figure.update_xaxes(title_text="Layer", dtick=_tick(fit.by_layer))
    figure.update_yaxes(title_text="KL(output ‖ lens), nats", rangemode="tozero")
    return figure


def persona_curves(table: pd.DataFrame, *, theme: Theme = LIGHT) -> go.Figure:
    """Change of the known answer's first token under personas, by layer, lens by row."""
    lenses = [lens for lens in _LENSES if (table["lens"] == lens).any()]
    treatments = [each for each in TREATMENTS if (table["treatment"] == each).any()]
    figure = make_subplots(
        rows=len(lenses),
        cols=len(treatments),
        shared_xaxes=True,
        shared_yaxes=True,
        horizontal_spacing=0.03,
        vertical_spacing=0.1,
        subplot_titles=[f"{TREATMENTS[t]}, {lens} lens" for lens in lenses for t in treatments],
    )
    for row, lens in enumerate(lenses, start=1):
        for column, treatment in enumerate(treatments, start=1):
            here = table[(table["lens"] == lens) & (table["treatment"] == treatment)]
            for trace in _group_traces(here, theme, legend=row == column == 1):
                figure.add_trace(trace, row=row, col=column)
    finish(figure, theme, height=140 + 230 * len(lenses))
    figure.update_layout(legend={"orientation": "h", "y": -0.14}, margin_b=90)
    figure.update_xaxes(dtick=_tick(table))
    figure.update_xaxes(title_text="Layer", row=len(lenses))
    figure.update_yaxes(title_text="Change (nats)", col=1)
    return figure


def _group_traces(table: pd.DataFrame, theme: Theme, *, legend: bool) -> list[go.Scatter]:
    traces = []
    for group in [*_GROUPS, *sorted({*table["group"]} - {*_GROUPS})]:
        rows = table[table["group"] == group].sort_values("layer")
        if rows.empty:
            continue
        colour = theme.muted if group == "null" else theme.side(group)
        dash = "dot" if group in ("control", "null") else "solid"
        name = SIDES.get(group, "neutral texts, random directions" if group == "null" else group)
        line = _line(rows, "change", name, colour, dash)
        line.showlegend = legend
        traces += [layer_band(rows, colour, 0.12, low="change_low", high="change_high"), line]
    return traces


def _lens_rows(table: pd.DataFrame, lens: str) -> pd.DataFrame:
    return table[table["lens"] == lens].sort_values("layer")


def _line(table: pd.DataFrame, column: str, name: str, colour: str, dash: str) -> go.Scatter:
    label = escaped(name)
    return go.Scatter(
        x=table["layer"],
        y=table[column],
        mode="lines+markers",
        line={"color": colour, "width": 2.2, "dash": dash},
        marker={"size": 6},
        name=label,
        legendgroup=label,
        hovertemplate=f"{label}, layer %{{x}}: %{{y:.2f}}<extra></extra>",
    )


def _tick(table: pd.DataFrame) -> int:
    return 1 if table["layer"].max() <= 16 else 4
