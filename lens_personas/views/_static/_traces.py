"""The traces of a plotly figure, drawn by matplotlib."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from lens_personas.views._static._axes import Plot
from lens_personas.views._static._read import (
    POINTS,
    Colour,
    colour,
    dash,
    mark,
    numbers,
    scale,
    text,
)


def draw_trace(figure: Any, canvas: Figure, plot: Plot, trace: Any) -> None:
    """Draw one trace.

    Raises:
        ValueError: If it is of a kind that is not drawn here.
    """
    if trace.visible in (False, "legendonly"):
        return
    if trace.type not in _DRAW:
        raise ValueError(f"expected a trace among {', '.join(_DRAW)}, got {trace.type!r}")
    _DRAW[trace.type](figure, canvas, plot, trace)


def _scatter(figure: Any, canvas: Figure, plot: Plot, trace: Any) -> None:
    x, y = plot.x.places(trace.x), plot.y.places(trace.y)
    mode = trace.mode or "lines+markers"
    shown = _shown(figure, trace)
    if trace.fill and trace.fill != "none":
        _fill(plot, trace, x, y)
    _errors(plot, trace, x, y)
    if "lines" in mode and (trace.line.width is None or trace.line.width > 0):
        plot.axes.plot(
            x,
            y,
            color=colour(trace.line.color or _mark_colour(trace), opacity=trace.opacity),
            linewidth=(trace.line.width or 2) * POINTS,
            linestyle=dash(trace.line.dash),
            solid_capstyle="butt",
            label=shown if "markers" not in mode else None,
        )
    if "markers" in mode:
        _marks(plot, trace, x, y, shown)
    if "text" in mode and trace.text is not None:
        where = trace.textposition
        wheres = [where] * len(x) if where is None or isinstance(where, str) else where
        for across, up, each, place in zip(x, y, trace.text, wheres, strict=True):
            _write(plot, trace, text(each), (across, up), str(place or "middle center"))
    plot.last = (x, y)


def _write(plot: Plot, trace: Any, words: str, at: tuple[float, float], place: str) -> None:
    up, _, across = place.partition(" ")
    shift = {"top": 6, "bottom": -6}.get(up, 0)
    plot.axes.annotate(
        words,
        at,
        xytext=({"left": -6, "right": 6}.get(across, 0), shift),
        textcoords="offset points",
        fontsize=(trace.textfont.size or 11) * POINTS,
        color=colour(trace.textfont.color or "black"),
        ha={"left": "right", "right": "left"}.get(across, "center"),
        va={"top": "bottom", "bottom": "top"}.get(up, "center"),
    )


def _marks(plot: Plot, trace: Any, x: Any, y: Any, shown: str | None) -> None:
    many = isinstance(trace.marker.symbol, (list, tuple, np.ndarray))
    symbols = list(trace.marker.symbol) if many else [trace.marker.symbol] * len(x)
    fills = _mark_colours(trace, len(x))
    edges = trace.marker.line.color
    sizes = np.broadcast_to(numbers(np.atleast_1d(_or(trace.marker.size, 6))), (len(x),))
    for symbol in dict.fromkeys(symbols):
        here = [at for at, each in enumerate(symbols) if each == symbol]
        shape, hollow = mark(symbol)
        faces = [fills[at] for at in here]
        line = [colour(edges)] * len(here) if isinstance(edges, str) else faces
        plot.axes.scatter(
            x[here],
            y[here],
            marker=shape,
            s=(sizes[here] * POINTS) ** 2,
            **_paint(shape, hollow, faces, line),
            linewidths=max(float(_or(trace.marker.line.width, 0)), 1.2 * hollow) * POINTS,
            label=shown if symbol == symbols[0] else None,
            zorder=3,
        )


def _paint(shape: str, hollow: bool, faces: list[Colour], line: list[Colour]) -> dict[str, Any]:
    if shape in "|_x":
        # Strokes have no inside.
        return {"c": faces}
    return {"c": "none" if hollow else faces, "edgecolors": line}


def _fill(plot: Plot, trace: Any, x: Any, y: Any) -> None:
    paint = colour(trace.fillcolor or trace.line.color or "gray")
    label = text(trace.name) if trace.showlegend else None
    if trace.fill == "toself":
        for across, up in _pieces(x, y):
            plot.axes.fill(across, up, facecolor=paint, edgecolor="none", label=label)
            label = None
    elif trace.fill == "tonexty" and plot.last is not None:
        below = np.interp(x, *plot.last)
        plot.axes.fill_between(x, y, below, facecolor=paint, edgecolor="none", label=label)
    else:
        plot.axes.fill_between(x, y, 0.0, facecolor=paint, edgecolor="none", label=label)


def _pieces(x: Any, y: Any) -> list[tuple[Any, Any]]:
    """Each shape of a line whose pen is lifted between shapes."""
    gaps = np.flatnonzero(np.isnan(x) | np.isnan(y))
    parts = zip(np.split(x, gaps), np.split(y, gaps), strict=True)
    whole = [(a[~np.isnan(a + b)], b[~np.isnan(a + b)]) for a, b in parts]
    return [(a, b) for a, b in whole if a.size]


def _errors(plot: Plot, trace: Any, x: Any, y: Any) -> None:
    bars = {}
    for name, error in (("xerr", trace.error_x), ("yerr", trace.error_y)):
        if error.array is not None and error.visible is not False:
            above = numbers(error.array)
            below = above if error.arrayminus is None else numbers(error.arrayminus)
            # Rounding may leave an end a hair on the wrong side.
            bars[name] = np.clip(np.stack([below, above]), 0, None)
    if not bars:
        return
    look = trace.error_x if "xerr" in bars else trace.error_y
    plot.axes.errorbar(
        x,
        y,
        **bars,
        fmt="none",
        ecolor=colour(look.color or _mark_colour(trace)),
        elinewidth=float(_or(look.thickness, 2)) * POINTS,
        capsize=float(_or(look.width, 0)) * POINTS,
        zorder=2,
    )


def _bar(figure: Any, canvas: Figure, plot: Plot, trace: Any) -> None:
    across = trace.orientation == "h"
    place = plot.y.places(trace.y) if across else plot.x.places(trace.x)
    value = numbers(trace.x if across else trace.y)
    stacked = figure.layout.barmode in ("stack", "relative", "overlay")
    n = 1 if stacked else max(plot.n_bars, 1)
    width = 0.8 / n
    offset = 0.0 if stacked else (plot.bars_drawn - (n - 1) / 2) * width
    plot.bars_drawn += 1
    base = 0.0 if trace.base is None else numbers(np.atleast_1d(trace.base))
    paint = _mark_colours(trace, len(place))
    draw = plot.axes.barh if across else plot.axes.bar
    draw(place + offset, value, width * 0.92, base, color=paint, label=_shown(figure, trace))
    ends, middle = value + base, place + offset
    _errors(plot, trace, *((ends, middle) if across else (middle, ends)))


def _heatmap(figure: Any, canvas: Figure, plot: Plot, trace: Any) -> None:
    values = np.array([[np.nan if v is None else v for v in row] for row in trace.z], dtype=float)
    look = figure.layout[trace.coloraxis] if trace.coloraxis else trace
    low, high = (look.cmin, look.cmax) if trace.coloraxis else (trace.zmin, trace.zmax)
    ends = _ends(figure, trace, values, low, high)
    x = np.arange(values.shape[1]) if trace.x is None else plot.x.places(trace.x)
    y = np.arange(values.shape[0]) if trace.y is None else plot.y.places(trace.y)
    mesh = plot.axes.pcolormesh(
        x,
        y,
        values,
        cmap=scale(look.colorscale),
        norm=Normalize(*ends),
        shading="nearest",
        edgecolors=colour(figure.layout.plot_bgcolor or "white") if trace.xgap else "none",
        linewidth=float(trace.xgap or 0) * POINTS,
    )
    if trace.texttemplate and trace.text is not None:
        inks = np.where(_is_dark(mesh.to_rgba(values)), "white", "black")
        for up, row, line in zip(y, trace.text, inks, strict=True):
            for at, each, ink in zip(x, row, line, strict=True):
                plot.axes.annotate(
                    text(each), (at, up), ha="center", va="center", fontsize=7.5, color=str(ink)
                )
    name = f"scale of {trace.coloraxis or id(trace)}"
    labels = [str(axes.get_label()) for axes in canvas.axes]
    known = [label for label in labels if label.startswith("scale of ")]
    if look.showscale is not False and name not in known:
        place = (1.02 + 0.1 * len(known), 0.2, 0.015, 0.6)
        bar = canvas.colorbar(mesh, cax=canvas.add_axes(place, label=name))
        bar.outline.set_visible(False)
        ink = figure.layout.font.color or "black"
        title = colour(look.colorbar.title.font.color or ink)
        bar.set_label(text(look.colorbar.title.text), fontsize=9, color=title)
        ticks = colour(look.colorbar.tickfont.color or ink)
        bar.ax.tick_params(labelsize=8, colors=ticks)


def _is_dark(ground: Any) -> Any:
    """Whether white is read better on a colour than black (WCAG 2)."""
    shares = np.asarray(ground)[..., :3]
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722]) < 0.179


def _ends(figure: Any, trace: Any, values: Any, low: Any, high: Any) -> tuple[float, float]:
    if trace.coloraxis and (low is None or high is None):
        values = np.concatenate(
            [
                np.array(t.z, dtype=float).ravel()
                for t in figure.data
                if t.type == "heatmap" and t.coloraxis == trace.coloraxis
            ]
        )
    finite = values[np.isfinite(values)]
    least, most = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    return float(_or(low, least)), float(_or(high, most))


def _mark_colours(trace: Any, n: int) -> list[Colour]:
    found = trace.marker.color
    opacity = trace.marker.opacity if isinstance(trace.marker.opacity, float) else trace.opacity
    if isinstance(found, (list, tuple, np.ndarray)):
        if len(found) and not isinstance(found[0], str):
            span = Normalize(trace.marker.cmin, trace.marker.cmax)
            shades = scale(trace.marker.colorscale)(span(numbers(found)))
            return [(float(r), float(g), float(b), float(a)) for r, g, b, a in shades]
        return [colour(each, opacity=opacity) for each in found]
    return [colour(_mark_colour(trace), opacity=opacity)] * n


def _mark_colour(trace: Any) -> Any:
    found = trace.marker.color
    plain = found if isinstance(found, str) else None
    line = trace.line.color if trace.type == "scatter" else None
    return plain or line or "#444444"


def _shown(figure: Any, trace: Any) -> str | None:
    """Name in the legend; None where it has no place there."""
    if figure.layout.showlegend is False or trace.showlegend is False or not trace.name:
        return None
    return text(trace.name)


def _or(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


_DRAW: Final[Mapping[str, Callable[[Any, Figure, Plot, Any], None]]] = {
    "scatter": _scatter,
    "bar": _bar,
    "heatmap": _heatmap,
}
