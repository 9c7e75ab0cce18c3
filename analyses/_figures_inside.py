"""Figures of what is inside: refused answers by layer, and how well vectors are determined."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses.hidden_answers import HiddenAnswers
from analyses.whos_asking import VectorQuality
from lens_personas.views import LIGHT, Theme, escaped, finish, layer_band, short

_DASHES = ("solid", "dash", "dot", "dashdot")
_HUES = ("pro", "anti", "other", "refusal", "control")


def hidden_answer_curves(hidden: HiddenAnswers, *, theme: Theme = LIGHT) -> go.Figure:
    """How often, and how surely, the refused answer is read at each layer, with the control."""
    table = hidden.by_layer
    figure = make_subplots(
        cols=2,
        horizontal_spacing=0.09,
        subplot_titles=["Top token of the lens", "Mean log-probability"],
    )
    own, other = theme.side("pro"), theme.side("control")
    for column, what in ((1, "top1"), (2, "log_prob")):
        traces = (
            layer_band(table, own, 0.18, low=f"{what}_low", high=f"{what}_high"),
            _line(table, what, "the request's own answer", own, "solid", legend=column == 1),
            _line(table, f"control_{what}", "another request's answer", other, "dash", column == 1),
        )
        for trace in traces:
            figure.add_trace(trace, row=1, col=column)
    finish(figure, theme, height=380)
    figure.update_layout(legend={"orientation": "h", "y": -0.22}, margin_b=90)
    figure.update_xaxes(title_text="Layer", dtick=_tick(table["layer"]))
    figure.update_yaxes(
        title_text="Share of requests", range=[-0.03, 1.03], tickformat=".0%", col=1
    )
    figure.update_yaxes(title_text="nats", col=2)
    return figure


def hidden_answer_heatmap(hidden: HiddenAnswers, *, theme: Theme = LIGHT) -> go.Figure:
    """Log-probability of each request's known answer by layer, the most readable on top."""
    table = hidden.by_request
    order = table.groupby("prompt_id")["log_prob"].mean().sort_values().index
    values = table.pivot(index="prompt_id", columns="layer", values="log_prob").loc[order]
    ranks = table.pivot(index="prompt_id", columns="layer", values="rank").loc[order]
    figure = go.Figure(
        go.Heatmap(
            z=values.to_numpy(float),
            x=[str(layer) for layer in values.columns],
            y=[escaped(short(str(name))) for name in values.index],
            customdata=ranks.to_numpy(int),
            colorscale=[list(stop) for stop in theme.sequential],
            zmax=0,
            xgap=1,
            ygap=1,
            colorbar={"title": {"text": "nats"}, "thickness": 12, "outlinewidth": 0},
            hovertemplate="%{y}, layer %{x}: %{z:.2f} nats, rank %{customdata}<extra></extra>",
        )
    )
    finish(figure, theme, height=min(900, 120 + 14 * len(values)))
    figure.update_layout(margin_t=16)
    figure.update_xaxes(title_text="Layer", type="category", showgrid=False)
    figure.update_yaxes(type="category", showgrid=False, showticklabels=len(values) <= 60)
    return figure


def vector_quality(vectors: Sequence[VectorQuality], *, theme: Theme = LIGHT) -> go.Figure:
    """Agreement of two halves of the data and relative length of each vector, by layer."""
    figure = make_subplots(
        cols=2,
        horizontal_spacing=0.09,
        subplot_titles=["Agreement of two halves of the data", "Length"],
    )
    for at, vector in enumerate(vectors):
        table = vector.by_layer
        relative = table["norm"] / table["resid_norm"]
        for column, values in ((1, table["split_half"]), (2, relative)):
            trace = _quality_line(vector, table["layer"], values, at, theme, legend=column == 1)
            figure.add_trace(trace, row=1, col=column)
    # High enough for the legend not to scroll.
    finish(figure, theme, height=max(440, 130 + 27 * len(vectors)))
    layers = pd.concat([v.by_layer["layer"] for v in vectors]) if vectors else pd.Series([0])
    figure.update_xaxes(title_text="Layer", dtick=_tick(layers))
    figure.update_yaxes(title_text="Cosine, Spearman-Brown corrected", range=[-1.05, 1.05], col=1)
    figure.update_yaxes(title_text="Norm / residual norm", rangemode="tozero", col=2)
    return figure


def _quality_line(
    vector: VectorQuality,
    layers: pd.Series,
    values: pd.Series,
    at: int,
    theme: Theme,
    *,
    legend: bool,
) -> go.Scatter:
    return go.Scatter(
        x=layers,
        y=values,
        mode="lines+markers",
        line={
            "color": theme.side(_HUES[at % len(_HUES)]),
            "dash": _DASHES[at // len(_HUES) % len(_DASHES)],
            "width": 1.8,
        },
        marker={"size": 5},
        name=short(vector.name),
        legendgroup=f"{at}",
        showlegend=legend,
        hovertemplate=f"<b>{escaped(vector.name)}</b> ({escaped(vector.method)}, n = {vector.n})"
        "<br>layer %{x}: %{y:.2f}<extra></extra>",
    )


def _line(
    table: pd.DataFrame, column: str, name: str, colour: str, dash: str, legend: bool
) -> go.Scatter:
    return go.Scatter(
        x=table["layer"],
        y=table[column],
        mode="lines+markers",
        line={"color": colour, "width": 2.4, "dash": dash},
        marker={"size": 6},
        name=name,
        legendgroup=name,
        showlegend=legend,
        hovertemplate=f"{name}, layer %{{x}}: %{{y:.2f}}<extra></extra>",
    )


def _tick(layers: pd.Series) -> int:
    return 1 if layers.max() <= 16 else 4
