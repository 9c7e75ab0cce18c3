"""Figures of angles beyond what vectors share: bands, ceilings, independence, predictors."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses._words import SIDES, TREATMENTS, number, span
from analyses.vector_geometry import CosineSet, VectorGeometry
from lens_personas.views import LIGHT, Theme, escaped, finish, layer_band, note, short

YES = {"kept": "as they are", "removed": "without Yes"}
"""Vectors with the direction of saying yes and without it."""
_FAMILY = {"statements": "from statements", "questions": "from yes/no questions"}
_BARS = ("refusal", "pro", "other", "anti", "control")
_MOST_NAMES = 40


def refusal_and_fulfilment(
    found: VectorGeometry, first: str, second: str, *, theme: Theme = LIGHT
) -> go.Figure:
    """Cosine of the refusal with the fulfilment vector by layer, with band and ceiling."""
    figure = go.Figure()
    for each, side in zip(_sets(found, "questions"), ("refusal", "pro"), strict=False):
        rows = each.pairs[(each.pairs["first"] == first) & (each.pairs["second"] == second)]
        name = YES[each.yes]
        figure.add_trace(layer_band(rows, theme.side(side), 0.16))
        figure.add_trace(_line(rows, "cosine", f"vectors {name}", theme.side(side), "solid"))
        figure.add_trace(_line(rows, "ceiling", f"ceiling, {name}", theme.side(side), "dot"))
    return _by_layer(figure, theme, found.cosines, "Cosine", (-1.05, 1.05))


def cosines_without_yes(found: VectorGeometry, *, theme: Theme = LIGHT) -> go.Figure:
    """Cosine of every vector with every other, with the shared direction and without it."""
    families = list(dict.fromkeys(each.family for each in found.cosines))
    columns = list(dict.fromkeys(each.yes for each in found.cosines))
    figure = make_subplots(
        rows=max(len(families), 1),
        cols=max(len(columns), 1),
        horizontal_spacing=0.04,
        vertical_spacing=0.08,
        subplot_titles=[
            f"{_FAMILY[family]}, {YES[yes]}" if _known(found, family, yes) else ""
            for family in families
            for yes in columns
        ],
    )
    height = 140
    for row, family in enumerate(families, 1):
        named = [each for each in found.cosines if each.family == family]
        height += 90 + 22 * min(max(len(each.names) for each in named), _MOST_NAMES)
        for each in named:
            place = {"row": row, "col": columns.index(each.yes) + 1}
            figure.add_trace(_heatmap(each, found.layer), **place)
            _name_axes(figure, each, place)
    finish(figure, theme, height=height)
    figure.update_layout(
        coloraxis={
            "colorscale": [list(stop) for stop in theme.diverging],
            "cmin": -1,
            "cmax": 1,
            "colorbar": {"title": {"text": "cosine"}, "thickness": 10, "outlinewidth": 0},
        }
    )
    return figure


def refusal_cosines(
    found: VectorGeometry, groups: dict[str, str], *, theme: Theme = LIGHT
) -> go.Figure:
    """Cosine of each persona with refusal by layer, beside the band of exchanged labels."""
    figure = _panels([_title(each) for each in found.cosines])
    for column, each in enumerate(found.cosines, 1):
        rows = each.pairs[
            (each.pairs["second"] == found.reference)
            & each.pairs["first"].isin(each.names[: each.n_personas])
        ]
        middle = rows.groupby("layer")[["low", "high", "ceiling"]].median().reset_index()
        figure.add_trace(layer_band(middle, theme.null, 0.6), row=1, col=column)
        for name, own in rows.groupby("first", sort=False):
            group = groups.get(str(name), "other")
            line = _line(own, "cosine", str(name), theme.side(group), "solid", legend=False)
            figure.add_trace(line.update(line_width=1.4, marker_size=4), row=1, col=column)
        ceiling = _line(middle, "ceiling", "median ceiling", theme.muted, "dot", column == 1)
        figure.add_trace(ceiling, row=1, col=column)
    for group in dict.fromkeys(groups.values()):
        figure.add_trace(_key(SIDES.get(group, group), theme.side(group)), row=1, col=1)
    figure.add_trace(_key("median band of exchanged labels", theme.null), row=1, col=1)
    return _by_layer(figure, theme, found.cosines, "Cosine with refusal", (-1.05, 1.05))


def effective_ranks(found: VectorGeometry, *, theme: Theme = LIGHT) -> go.Figure:
    """Effective rank of the personas' vectors by layer, beside as many random ones."""
    table = found.by_layer
    keys = list(dict.fromkeys(zip(table["family"], table["yes"], strict=True)))
    figure = _panels([f"{_FAMILY[family]}, {YES[yes]}" for family, yes in keys])
    for column, (family, yes) in enumerate(keys, 1):
        rows = table[(table["family"] == family) & (table["yes"] == yes)]
        band = rows.rename(columns={"rank_low": "low", "rank_high": "high"})
        figure.add_trace(layer_band(band, theme.null, 0.8), row=1, col=column)
        line = _line(rows, "rank", "persona vectors", theme.side("pro"), "solid", column == 1)
        figure.add_trace(line, row=1, col=column)
    figure.add_trace(_key("as many random vectors", theme.null), row=1, col=1)
    most = float(table["rank_high"].max()) if len(table) else 1.0
    return _by_layer(figure, theme, found.cosines, "Effective rank", (0.0, 1.08 * most))


def independence(found: VectorGeometry, *, theme: Theme = LIGHT) -> go.Figure:
    """Change of the residual's cosine with one direction when another is removed, by layer."""
    table = found.independence_by_layer
    ways = list(dict.fromkeys(table["way"]))
    figure = _panels(ways)
    styles = {"personas": ("pro", "solid"), "control": ("control", "dash")}
    for column, way in enumerate(ways, 1):
        for who, rows in table[table["way"] == way].groupby("who", sort=False):
            side, dash = styles.get(str(who), ("other", "dot"))
            line = _line(rows, "shift", str(who), theme.side(side), dash, column == 1)
            figure.add_trace(line, row=1, col=column)
    most = float(table["shift"].max()) if len(table) else 1.0
    return _by_layer(figure, theme, found.cosines, "Mean |change of cosine|", (0.0, 1.08 * most))


def predictor_bars(found: VectorGeometry, *, theme: Theme = LIGHT) -> go.Figure:
    """Leave-one-out R² of each predictor and treatment, beside random directions."""
    names = list(dict.fromkeys(each.name for each in found.predictors))
    figure = go.Figure()
    for at, name in enumerate(names):
        fits = [each for each in found.predictors if each.name == name]
        r2 = np.array([[f.r2.estimate, f.r2.low, f.r2.high] for f in fits])
        figure.add_trace(
            go.Bar(
                x=[TREATMENTS[f.treatment] for f in fits],
                y=r2[:, 0],
                error_y=_whiskers(r2, theme),
                name=short(name, 40),
                marker={"color": theme.side(_BARS[at % len(_BARS)])},
                customdata=[
                    f"layer {f.layer}, n = {f.n}, {span(f.r2.low, f.r2.high)}" for f in fits
                ],
                hovertemplate=f"{escaped(name)}: %{{y:.2f}}<br>%{{customdata}}<extra></extra>",
            )
        )
    for row in found.random_references.to_dict(orient="records"):
        figure.add_trace(
            go.Scatter(
                x=[TREATMENTS[str(row["treatment"])]],
                y=[row["high"]],
                mode="markers",
                marker={"symbol": "line-ew-open", "size": 90, "color": theme.ink},
                name="95 % of random directions",
                legendgroup="random",
                showlegend=row["treatment"] == found.random_references["treatment"].iloc[0],
                hovertemplate=f"95 % of random directions: {number(row['high'])}<extra></extra>",
            )
        )
    finish(figure, theme, height=420, barmode="group")
    figure.update_layout(legend={"orientation": "h", "y": -0.15}, margin_b=110)
    # What is far below 0 predicts nothing; how far has no meaning.
    figure.update_yaxes(title_text="Leave-one-persona-out R²", range=[-1.0, 1.05])
    figure.add_hline(y=0, line={"color": theme.muted, "width": 1, "dash": "dot"})
    if not names:
        note(figure, theme, "no effects to predict", x=0.5, y=0.5, xref="paper", yref="paper")
    return figure


def _sets(found: VectorGeometry, family: str) -> list[CosineSet]:
    return [each for each in found.cosines if each.family == family]


def _known(found: VectorGeometry, family: str, yes: str) -> bool:
    return any((each.family, each.yes) == (family, yes) for each in found.cosines)


def _title(each: CosineSet) -> str:
    return f"{_FAMILY[each.family]}, {YES[each.yes]}"


def _panels(titles: Sequence[str]) -> go.Figure:
    return make_subplots(
        cols=max(len(titles), 1),
        shared_yaxes=True,
        horizontal_spacing=0.03,
        subplot_titles=list(titles) or None,
    )


def _heatmap(each: CosineSet, layer: int) -> go.Heatmap:
    names = [escaped(name) for name in each.names]
    at = each.layers.index(layer)
    return go.Heatmap(
        z=each.matrices[at].double().numpy(),
        customdata=[[f"{down} · {across}" for across in names] for down in names],
        coloraxis="coloraxis",
        hovertemplate="%{customdata}<br>cosine %{z:.2f}<extra></extra>",
        xgap=1,
        ygap=1,
    )


def _name_axes(figure: go.Figure, each: CosineSet, place: dict[str, int]) -> None:
    ticks = {
        "tickvals": list(range(len(each.names))),
        "ticktext": [short(name, 20) for name in each.names],
        "showgrid": False,
    }
    figure.update_xaxes(tickangle=-50, **ticks, **place)
    figure.update_yaxes(
        **ticks, range=[len(each.names) - 0.5, -0.5], showticklabels=place["col"] == 1, **place
    )


def _line(
    rows: pd.DataFrame, column: str, name: str, colour: str, dash: str, legend: bool = True
) -> go.Scatter:
    return go.Scatter(
        x=rows["layer"],
        y=rows[column],
        mode="lines+markers",
        line={"color": colour, "width": 2.2, "dash": dash},
        marker={"size": 5},
        name=short(name, 40),
        legendgroup=escaped(name),
        showlegend=legend,
        hovertemplate=f"{escaped(name)}, layer %{{x}}: %{{y:.2f}}<extra></extra>",
    )


def _key(name: str, colour: str) -> go.Scatter:
    return go.Scatter(
        x=[None], y=[None], mode="lines", line={"color": colour, "width": 6}, name=escaped(name)
    )


def _whiskers(values: np.ndarray, theme: Theme) -> dict[str, object]:
    estimate, low, high = values.T
    return {
        "type": "data",
        "array": np.nan_to_num(high - estimate),
        "arrayminus": np.nan_to_num(estimate - low),
        "color": theme.muted,
        "thickness": 1.2,
    }


def _by_layer(
    figure: go.Figure,
    theme: Theme,
    sets: Sequence[CosineSet],
    label: str,
    limits: tuple[float, float],
) -> go.Figure:
    layers = [layer for each in sets for layer in each.layers]
    finish(figure, theme, height=400)
    figure.update_layout(legend={"orientation": "h", "y": -0.2}, margin_b=100)
    figure.update_xaxes(title_text="Layer", dtick=1 if max(layers, default=0) <= 16 else 4)
    figure.update_yaxes(range=list(limits))
    figure.update_yaxes(title_text=label, col=1) if figure._has_subplots() else (
        figure.update_yaxes(title_text=label)
    )
    return figure
