"""Figures of angles: between vectors, by layer, and against what the personas do."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses._words import CHANGE_OF, SIDES, TREATMENTS, number, p_value, span
from analyses.persona_geometry import GeometryFit, PersonaGeometry
from lens_personas.views import LIGHT, SYMBOLS, Theme, escaped, finish, short

_PANELS = 4
_ROW_HEIGHT, _ROW_GAP = 240, 116
# More names than this lie on top of each other; the hover has them all.
_MOST_NAMES = 12


def cosine_heatmaps(geometry: PersonaGeometry, *, theme: Theme = LIGHT) -> go.Figure:
    """Cosine of every vector with every other, at up to four layers from first to last."""
    layers = _spread(geometry)
    columns = min(len(layers), 2)
    rows = -(-len(layers) // columns)
    names = [escaped(name) for name in geometry.names]
    figure = make_subplots(
        rows=rows,
        cols=columns,
        shared_xaxes=True,
        shared_yaxes=True,
        horizontal_spacing=0.03,
        vertical_spacing=0.06,
        subplot_titles=[f"Layer {layer}" for layer in layers],
    )
    for at, layer in enumerate(layers):
        matrix = geometry.matrices[geometry.layers.index(layer)].double().numpy()
        heat = _heatmap(matrix, names, names, f"layer {layer}")
        figure.add_trace(heat, row=at // columns + 1, col=at % columns + 1)
    cell = max(11, min(24, 360 // max(len(names), 1)))
    finish(figure, theme, height=rows * (cell * len(names) + 70) + 120)
    labels = [short(name, 22) for name in geometry.names]
    figure.update_xaxes(
        showgrid=False, tickvals=list(range(len(names))), ticktext=labels, tickangle=-50
    )
    figure.update_yaxes(
        showgrid=False,
        tickvals=list(range(len(names))),
        ticktext=labels,
        range=[len(names) - 0.5, -0.5],
    )
    return _cosine_scale(figure, theme)


def reference_cosines(geometry: PersonaGeometry, *, theme: Theme = LIGHT) -> go.Figure:
    """Cosine of each persona with each refusal vector at every layer."""
    table = geometry.cosines
    references = list(dict.fromkeys(table["reference"]))
    figure = make_subplots(
        cols=len(references),
        shared_yaxes=True,
        horizontal_spacing=0.03,
        subplot_titles=[short(name, 40) for name in references],
    )
    personas = list(dict.fromkeys(table["persona"]))
    for at, reference in enumerate(references):
        here = table[table["reference"] == reference]
        wide = here.pivot(index="persona", columns="layer", values="cosine").loc[personas]
        heat = _heatmap(
            wide.to_numpy(float),
            [f"layer {layer}" for layer in wide.columns],
            [escaped(name) for name in personas],
            escaped(reference),
        )
        figure.add_trace(heat, row=1, col=at + 1)
    finish(figure, theme, height=130 + 24 * len(personas))
    layers = list(map(str, geometry.layers))
    step = 1 if len(layers) <= 16 else 4
    figure.update_xaxes(
        title_text="Layer",
        showgrid=False,
        tickvals=list(range(0, len(layers), step)),
        ticktext=layers[::step],
    )
    figure.update_yaxes(
        showgrid=False,
        tickvals=list(range(len(personas))),
        ticktext=[short(name) for name in personas],
        range=[len(personas) - 0.5, -0.5],
    )
    return _cosine_scale(figure, theme)


def cosine_scatter(geometry: PersonaGeometry, *, theme: Theme = LIGHT) -> go.Figure:
    """Cosine with refusal against effect, a point a persona, with the fitted line."""
    references = list(dict.fromkeys(fit.reference for fit in geometry.fits))
    treatments = [t for t in TREATMENTS if any(f.treatment == t for f in geometry.fits)]
    fits = {(fit.reference, fit.treatment): fit for fit in geometry.fits}
    rows = max(len(references), 1)
    inner = rows * _ROW_HEIGHT + (rows - 1) * _ROW_GAP
    figure = make_subplots(
        rows=rows,
        cols=max(len(treatments), 1),
        horizontal_spacing=0.06,
        vertical_spacing=_ROW_GAP / inner,
        subplot_titles=[_fit_title(fits.get((r, t)), t) for r in references for t in treatments],
    )
    shown: set[str] = set()
    for (reference, treatment), fit in fits.items():
        place = {
            "row": references.index(reference) + 1,
            "col": treatments.index(treatment) + 1,
        }
        for trace in _scatter_traces(fit, theme, shown):
            figure.add_trace(trace, **place)
    finish(figure, theme, height=inner + 150)
    figure.update_layout(
        margin={"t": 90, "b": 60},
        legend={"orientation": "h", "y": 1.0, "yref": "container", "yanchor": "top"},
    )
    for at, reference in enumerate(references):
        figure.update_xaxes(title_text=f"Cosine with {short(reference, 36)}", row=at + 1)
    figure.update_yaxes(title_text=CHANGE_OF["refusal_score"], col=1)
    return figure


def correlation_by_layer(geometry: PersonaGeometry, *, theme: Theme = LIGHT) -> go.Figure:
    """Correlation of cosine and effect at every layer, the layer chosen elsewhere marked."""
    table = geometry.by_layer
    references = list(dict.fromkeys(table["reference"]))
    treatments = [t for t in TREATMENTS if (table["treatment"] == t).any()]
    colours = dict(zip(TREATMENTS, ("control", "pro", "anti", "other"), strict=True))
    figure = make_subplots(
        cols=len(references),
        shared_yaxes=True,
        horizontal_spacing=0.04,
        subplot_titles=[short(name, 40) for name in references],
    )
    for at, reference in enumerate(references):
        for treatment in treatments:
            colour = theme.side(colours[treatment])
            here = table[(table["reference"] == reference) & (table["treatment"] == treatment)]
            chosen = [
                f for f in geometry.fits if (f.reference, f.treatment) == (reference, treatment)
            ]
            for trace in _correlation_traces(here, treatment, chosen, colour, legend=at == 0):
                figure.add_trace(trace, row=1, col=at + 1)
    finish(figure, theme, height=380)
    figure.update_xaxes(title_text="Layer", dtick=1 if len(geometry.layers) <= 16 else 4)
    figure.update_yaxes(range=[-1.05, 1.05])
    figure.update_yaxes(title_text="Correlation over personas", col=1)
    figure.add_hline(y=0, line={"color": theme.muted, "width": 1, "dash": "dot"})
    return figure


def _spread(geometry: PersonaGeometry) -> list[int]:
    """Up to four layers from first to last, the one most fits were taken at among them."""
    layers = list(geometry.layers)
    if len(layers) <= _PANELS:
        return layers
    places = np.linspace(0, len(layers) - 1, _PANELS).round().astype(int)
    spread = [layers[place] for place in places]
    chosen = pd.Series([fit.layer for fit in geometry.fits]).mode()
    if len(chosen) and int(chosen[0]) not in spread:
        nearest = min(range(1, _PANELS - 1), key=lambda at: abs(spread[at] - int(chosen[0])))
        spread[nearest] = int(chosen[0])
    return sorted(spread)


def _heatmap(matrix: np.ndarray, x: Sequence[str], y: Sequence[str], what: str) -> go.Heatmap:
    return go.Heatmap(
        z=matrix,
        customdata=[[f"{down} · {across}" for across in x] for down in y],
        coloraxis="coloraxis",
        hovertemplate=f"%{{customdata}}<br>{what}: cosine %{{z:.2f}}<extra></extra>",
        xgap=1,
        ygap=1,
    )


def _cosine_scale(figure: go.Figure, theme: Theme) -> go.Figure:
    figure.update_layout(
        coloraxis={
            "colorscale": [list(stop) for stop in theme.diverging],
            "cmin": -1,
            "cmax": 1,
            "colorbar": {
                "title": {"text": "cosine", "font": {"size": 12, "color": theme.muted}},
                "thickness": 10,
                "outlinewidth": 0,
                "len": 0.6,
                "tickfont": {"color": theme.muted},
            },
        }
    )
    return figure


def _fit_title(fit: GeometryFit | None, treatment: str) -> str:
    if fit is None:
        return ""
    return (
        f"<b>{TREATMENTS[treatment]}</b>, layer {fit.layer}, n = {fit.n}<br>"
        f"r = {number(fit.pearson.estimate)} {span(fit.pearson.low, fit.pearson.high)}, "
        f"p {escaped(p_value(fit.pearson.p))}"
    )


def _scatter_traces(fit: GeometryFit, theme: Theme, shown: set[str]) -> list[go.Scatter]:
    points, traces = fit.points, []
    x, y = points["cosine"].to_numpy(float), points["effect"].to_numpy(float)
    if len(points) >= 2 and np.ptp(x) > 0:
        slope, intercept = np.polyfit(x, y, 1)
        ends = np.array([x.min(), x.max()])
        traces.append(
            go.Scatter(
                x=ends,
                y=slope * ends + intercept,
                mode="lines",
                line={"color": theme.muted, "width": 1.5, "dash": "dash"},
                hoverinfo="skip",
                showlegend=False,
            )
        )
    named = points.assign(
        name=[short(name, 20) if len(points) <= _MOST_NAMES else "" for name in points["persona"]],
        # Names go inwards, where there is room for them.
        place=np.where(x > (x.min() + x.max()) / 2, "middle left", "middle right"),
    )
    for group, rows in named.groupby("group", sort=False):
        traces.append(_points(str(group), rows, theme, legend=str(group) not in shown))
        shown.add(str(group))
    return traces


def _points(group: str, rows: pd.DataFrame, theme: Theme, *, legend: bool) -> go.Scatter:
    return go.Scatter(
        x=rows["cosine"],
        y=rows["effect"],
        mode="markers+text",
        text=rows["name"],
        textposition=rows["place"],
        textfont={"size": 10, "color": theme.muted},
        marker={
            "color": theme.side(group),
            "symbol": SYMBOLS.get(group, SYMBOLS["other"]),
            "size": 10,
            "line": {"color": theme.paper, "width": 1},
        },
        name=escaped(SIDES.get(group, group)),
        legendgroup=escaped(group),
        showlegend=legend,
        customdata=[escaped(name) for name in rows["persona"]],
        hovertemplate="<b>%{customdata}</b><br>cosine %{x:.2f}, effect %{y:.2f}<extra></extra>",
    )


def _correlation_traces(
    table: pd.DataFrame,
    treatment: str,
    chosen: Sequence[GeometryFit],
    colour: str,
    *,
    legend: bool,
) -> list[go.Scatter]:
    name = TREATMENTS[treatment]
    traces = [
        go.Scatter(
            x=table["layer"],
            y=table[method],
            mode="lines+markers",
            line={"color": colour, "width": 2, "dash": dash},
            marker={"size": 5},
            name=f"{name}, {label}",
            legendgroup=f"{name} {method}",
            showlegend=legend,
            hovertemplate=f"{name}, {label}, layer %{{x}}: %{{y:.2f}}<extra></extra>",
        )
        for method, label, dash in (
            ("pearson", "Pearson", "solid"),
            ("spearman", "Spearman", "dot"),
        )
    ]
    traces += [
        go.Scatter(
            x=[fit.layer],
            y=[fit.pearson.estimate],
            mode="markers",
            marker={"symbol": "circle-open", "size": 15, "color": colour, "line": {"width": 2}},
            showlegend=False,
            hovertemplate=f"{name}: layer chosen on the layer split<extra></extra>",
        )
        for fit in chosen
    ]
    return traces
