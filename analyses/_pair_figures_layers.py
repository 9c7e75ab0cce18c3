"""Figures of what states inside tell apart, layer by layer, in the base and the tuned model."""

from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses._pair_figures_metrics import metric_forest
from analyses._pair_figures_style import (
    COMPARED_LOOKS,
    SIDE_LOOKS,
    Look,
    curve,
    legend_below,
    sides_of,
)
from analyses._words import number, p_value
from analyses.internal_distinguishability import InternalDistinguishability
from lens_personas.views import LIGHT, Theme, escaped, faded, finish

_MEASURES: Final = {
    "auroc": "AUROC of a probe",
    "d_prime": "d′ along the difference of means",
    "answer_auroc": "AUROC of “Yes” read off the layer",
}
"""What is drawn by layer, with its heading."""
_PEAKS: Final = {
    "auroc": "AUROC at the best layer",
    "auroc_mean": "AUROC, mean over layers",
    "d_prime": "d′ at that layer",
}
"""What is drawn of each behaviour, with its heading."""
_CHANCE: Final = {"auroc": 0.5, "auroc_mean": 0.5, "answer_auroc": 0.5, "d_prime": 0.0}
_SHIFTS: Final = {
    "auroc": COMPARED_LOOKS["change"],
    "answer_auroc": Look(name="“Yes” read off the layer", hue="anti", symbol="square", dash="dash"),
}
"""What changes from the base to the tuned model, by measure."""
_TICKS: Final = 16
"""Layers up to which each has its number."""


def internal_curves(found: InternalDistinguishability, *, theme: Theme = LIGHT) -> go.Figure:
    """Every measure by layer: mean over behaviours with its band, every behaviour faintly."""
    drawn = [each for each in _MEASURES if found.curves[each].notna().any()]
    figure = make_subplots(
        cols=max(len(drawn), 1),
        horizontal_spacing=0.07,
        subplot_titles=[escaped(_MEASURES[each]) for each in drawn],
    )
    for at, measure in enumerate(drawn):
        where = {"row": 1, "col": at + 1}
        for side in sides_of(found.curves):
            for trace in _side_traces(found, side, measure, theme):
                figure.add_trace(trace, **where)
        line = {"color": theme.muted, "width": 1, "dash": "dot"}
        figure.add_hline(y=_CHANCE[measure], line=line, **where)
    finish(figure, theme, height=430, margin_b=110)
    figure.update_xaxes(title_text="Layer", dtick=_tick(found.by_layer))
    return legend_below(figure, y=-0.22)


def internal_shift(found: InternalDistinguishability, *, theme: Theme = LIGHT) -> go.Figure:
    """Both AUROCs of the tuned less the base model by layer, mean over behaviours with bands."""
    figure = go.Figure()
    for measure, look in _SHIFTS.items():
        rows = found.shift_by_layer[found.shift_by_layer["measure"] == measure]
        if len(rows):
            figure.add_traces(_shift_traces(rows, measure, look, found.alpha, theme))
    finish(figure, theme, height=370, margin_b=100)
    figure.add_hline(y=0, line={"color": theme.muted, "width": 1, "dash": "dot"})
    figure.update_xaxes(title_text="Layer", dtick=_tick(found.by_layer))
    figure.update_yaxes(title_text="AUROC, tuned less base")
    return legend_below(figure, y=-0.25)


def internal_forest(found: InternalDistinguishability, *, theme: Theme = LIGHT) -> go.Figure:
    """Every behaviour at its best layer, with its interval and what labels dealt anew reach."""
    rows = [
        {
            "side": row["side"],
            "behaviour": row["behaviour"],
            "metric": metric,
            "estimate": row[metric],
            "low": row.get(f"{metric}_low", float("nan")),
            "high": row.get(f"{metric}_high", float("nan")),
            "p": row["p"],
            "p_bh": row["p_bh"],
            "null_low": 0.5 if metric == "auroc" else float("nan"),
            "null_high": row["null_auroc_95"] if metric == "auroc" else float("nan"),
        }
        for row in found.peaks.to_dict(orient="records")
        for metric in _PEAKS
    ]
    return metric_forest(
        pd.DataFrame(rows), names=_PEAKS, chance=_CHANCE, alpha=found.alpha, theme=theme
    )


def _side_traces(
    found: InternalDistinguishability, side: str, measure: str, theme: Theme
) -> list[go.Scatter]:
    look, legend = SIDE_LOOKS[side], measure == "auroc"
    rows = found.curves[found.curves["side"] == side]
    low, high = f"{measure}_low", f"{measure}_high"
    mean = rows.rename(columns={measure: "estimate", low: "low", high: "high"})
    drawn = [_faint(found.by_layer[found.by_layer["side"] == side], side, measure, theme)]
    drawn += curve(mean, look, theme, x="layer", legend=legend, hover=", layer")
    if measure == "auroc" and rows["null_auroc_95"].notna().any():
        drawn.append(_null(rows.sort_values("layer"), side, theme))
    return drawn


def _faint(rows: pd.DataFrame, side: str, measure: str, theme: Theme) -> go.Scatter:
    """All behaviours of a side in one trace; None lifts the pen between them."""
    points: dict[str, list[Any]] = {"x": [], "y": [], "text": []}
    for name, each in rows.dropna(subset=[measure]).groupby("behaviour", sort=False):
        each = each.sort_values("layer")
        points["x"] += [*map(int, each["layer"]), None]
        points["y"] += [*map(float, each[measure]), None]
        points["text"] += [*[f"{escaped(str(name))}, {side}"] * len(each), None]
    return go.Scatter(
        x=points["x"],
        y=points["y"],
        mode="lines",
        line={"color": faded(theme.side(SIDE_LOOKS[side].hue), 0.28), "width": 1},
        hovertext=points["text"],
        hovertemplate="%{hovertext}, layer %{x}: %{y:.2f}<extra></extra>",
        legendgroup=SIDE_LOOKS[side].name,
        showlegend=False,
    )


def _null(rows: pd.DataFrame, side: str, theme: Theme) -> go.Scatter:
    name = f"{side}: labels dealt anew, 95 %"
    return go.Scatter(
        x=rows["layer"],
        y=rows["null_auroc_95"],
        mode="lines",
        line={"color": theme.muted, "width": 1.4, "dash": SIDE_LOOKS[side].dash},
        name=name,
        hovertemplate=f"{name}: %{{y:.2f}}<extra></extra>",
    )


def _shift_traces(
    rows: pd.DataFrame, measure: str, look: Look, alpha: float, theme: Theme
) -> list[go.Scatter]:
    rows = rows.rename(columns={"shift": "estimate"}).sort_values("layer")
    traces = curve(rows, look, theme, x="layer", legend=True)
    colour, line = theme.side(look.hue), traces[-1]
    line.name = escaped(_MEASURES[measure])
    line.marker.color = [colour if p < alpha else theme.paper for p in rows["p"]]
    line.hovertext = [_shift_hover(row) for row in rows.to_dict(orient="records")]
    line.hovertemplate = "%{hovertext}<extra></extra>"
    return traces


def _shift_hover(row: dict[Any, Any]) -> str:
    return (
        f"layer {row['layer']}: {number(row['estimate'], signed=True)}<br>"
        f"p over layers {escaped(p_value(row['p']))}, {row['n_behaviours']} behaviours"
    )


def _tick(table: pd.DataFrame) -> int:
    return 1 if table["layer"].max() <= _TICKS else 4
