"""A plotly figure as one of matplotlib: its axes, traces, shapes, notes and legend."""

from contextlib import AbstractContextManager
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import blended_transform_factory, offset_copy

from lens_personas.views._static._axes import Plot, finish_plot, match_ranges, plots_of
from lens_personas.views._static._read import POINTS, Colour, colour, dash, text
from lens_personas.views._static._traces import draw_trace

WIDTH: Final = 960
"""Pixels across, where a figure does not say."""
DPI: Final = 96
"""Pixels in an inch."""


def repeatable() -> AbstractContextManager[None]:
    """Settings under which the same figure gives the same bytes, and letters stay letters."""
    return rc_context({"svg.hashsalt": "lens_personas", "svg.fonttype": "none"})


def drawn(figure: Any) -> Figure:
    """The figure in matplotlib.

    Raises:
        ValueError: If it holds a kind of trace that is not drawn here.
    """
    height = figure.layout.height or 450
    canvas = Figure(figsize=((figure.layout.width or WIDTH) / DPI, height / DPI), dpi=DPI)
    canvas.set_facecolor(colour(figure.layout.paper_bgcolor or "white"))
    plots = plots_of(figure, canvas)
    for trace in figure.data:
        draw_trace(figure, canvas, plots[trace.xaxis or "x", trace.yaxis or "y"], trace)
    for plot in plots.values():
        finish_plot(figure, plot)
    match_ranges(plots)
    for shape in figure.layout.shapes:
        _shape(plots, shape)
    for note in figure.layout.annotations:
        _note(figure, canvas, plots, note)
    _legend(canvas, plots, colour(figure.layout.font.color or "black"))
    return canvas


def _shape(plots: dict[tuple[str, str], Plot], shape: Any) -> None:
    plot = _plot(plots, shape.xref, shape.yref)
    if plot is None:
        return
    x = _ends(plot.x, shape.xref, shape.x0, shape.x1)
    y = _ends(plot.y, shape.yref, shape.y0, shape.y1)
    place = plot.axes.transData
    if "domain" in str(shape.yref) or shape.yref == "paper":
        place = plot.axes.get_xaxis_transform()
    if "domain" in str(shape.xref) or shape.xref == "paper":
        place = plot.axes.get_yaxis_transform()
    width = (1 if shape.line.width is None else shape.line.width) * POINTS
    line = colour(shape.line.color or "gray")
    # Limits stay those of the traces.
    limits = plot.axes.axis()
    if shape.type == "line":
        style = dash(shape.line.dash)
        plot.axes.plot(x, y, transform=place, color=line, linewidth=width, linestyle=style)
    else:
        plot.axes.add_patch(
            Rectangle(
                (min(x), min(y)),
                abs(x[1] - x[0]),
                abs(y[1] - y[0]),
                transform=place,
                facecolor=colour(shape.fillcolor, opacity=shape.opacity)
                if shape.fillcolor
                else "none",
                edgecolor=line if shape.line.width else "none",
                linewidth=width,
                zorder=0 if shape.layer == "below" else 2,
            )
        )
    plot.axes.axis(limits)


def _ends(direction: Any, ref: str, first: Any, second: Any) -> tuple[float, float]:
    if "domain" in str(ref) or ref == "paper":
        return float(first), float(second)
    low, high = direction.places([first, second])
    return float(low), float(high)


def _plot(plots: dict[tuple[str, str], Plot], xref: Any, yref: Any) -> Plot | None:
    x, y = (str(each or "").removesuffix(" domain") for each in (xref, yref))
    for (across, up), plot in plots.items():
        if x in (across, "paper") and y in (up, "paper"):
            return plot
    return None


def _note(figure: Any, canvas: Figure, plots: dict[tuple[str, str], Plot], note: Any) -> None:
    plot = _plot(plots, note.xref, note.yref)
    x, y, place = float(note.x or 0), note.y, canvas.transFigure
    if plot is not None and not (note.xref == "paper" and note.yref == "paper"):
        x = _ends(plot.x, note.xref, note.x, note.x)[0]
        y = _ends(plot.y, note.yref, note.y, note.y)[0]
        across, up = (
            plot.axes.transAxes if "domain" in str(ref) or ref == "paper" else plot.axes.transData
            for ref in (note.xref, note.yref)
        )
        place = blended_transform_factory(across, up)
    shift = {"x": (note.xshift or 0) * POINTS, "y": (note.yshift or 0) * POINTS}
    canvas.text(
        x,
        float(y),
        text(note.text),
        transform=offset_copy(place, fig=canvas, units="points", **shift),
        fontsize=(note.font.size or figure.layout.font.size or 12) * POINTS,
        color=colour(note.font.color or figure.layout.font.color or "black"),
        ha=note.xanchor if note.xanchor in ("left", "right", "center") else "center",
        va=note.yanchor if note.yanchor in ("top", "bottom") else "center",
    )


def _legend(canvas: Figure, plots: dict[tuple[str, str], Plot], ink: Colour) -> None:
    handles, labels = [], []
    for plot in plots.values():
        for handle, label in zip(*plot.axes.get_legend_handles_labels(), strict=True):
            if label not in labels:
                handles.append(handle)
                labels.append(label)
    if labels:
        beside = (1.01, 1.0)
        canvas.legend(
            handles,
            labels,
            loc="upper left",
            bbox_to_anchor=beside,
            frameon=False,
            fontsize=9,
            labelcolor=ink,
        )
