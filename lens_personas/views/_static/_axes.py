"""The axes of a plotly figure, made in matplotlib: places, categories, ranges, ticks, titles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator, PercentFormatter

from lens_personas.views._static._read import POINTS, colour, numbers, text


@dataclass
class Direction:
    """One axis of a plot, with the categories met so far."""

    layout: Any
    """The plotly axis."""
    is_category: bool
    """Whether values are names."""
    categories: list[str] = field(default_factory=list)
    """Names in order; a name's place is its number."""

    def places(self, values: Any) -> Any:
        """Values as numbers along the axis."""
        if not self.is_category:
            return numbers(values)
        found = []
        for value in values:
            if value is not None and str(value) not in self.categories:
                self.categories.append(str(value))
            found.append(np.nan if value is None else self.categories.index(str(value)))
        return np.array(found, dtype=np.float64)


@dataclass
class Plot:
    """One pair of axes."""

    axes: Axes
    """Where matplotlib draws."""
    x: Direction
    """The horizontal axis."""
    y: Direction
    """The vertical axis."""
    n_bars: int = 0
    """Bar traces that share it."""
    bars_drawn: int = 0
    """Bar traces drawn so far."""
    last: tuple[Any, Any] | None = None
    """Places of the trace drawn last, for a fill down to it."""


def plots_of(figure: Any, canvas: Figure) -> dict[tuple[str, str], Plot]:
    """A plot for each pair of axes that the figure's traces name."""
    pairs: dict[tuple[str, str], list[Any]] = {}
    for trace in figure.data:
        pairs.setdefault((trace.xaxis or "x", trace.yaxis or "y"), []).append(trace)
    found = {}
    for (x, y), traces in pairs.items():
        across = _direction(figure, x, [t.x for t in traces])
        up = _direction(figure, y, [t.y for t in traces])
        (left, right), (low, high) = (_domain(each.layout) for each in (across, up))
        axes = canvas.add_axes((left, low, right - left, high - low))
        found[x, y] = Plot(axes=axes, x=across, y=up, n_bars=sum(t.type == "bar" for t in traces))
    return found


def axis_layout(figure: Any, name: str) -> Any:
    """The layout of the axis that traces call ``x2``, or shapes ``x2 domain``."""
    letter, number = name[0], name.removesuffix(" domain")[1:]
    return figure.layout[f"{letter}axis{number}"]


def finish_plot(figure: Any, plot: Plot) -> None:
    """Ranges, ticks, grid and titles."""
    axes = plot.axes
    axes.set_facecolor(colour(figure.layout.plot_bgcolor or "white"))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    _finish(figure, axes, "x", plot.x)
    _finish(figure, axes, "y", plot.y)


def match_ranges(plots: Mapping[tuple[str, str], Plot]) -> None:
    """Give axes that match one another the range that holds what is in all of them."""
    for at, letter in enumerate("xy"):
        groups: dict[str, list[Plot]] = {}
        for names, plot in plots.items():
            layout = (plot.x, plot.y)[at].layout
            groups.setdefault(layout.matches or names[at], []).append(plot)
        for group in groups.values():
            limits = [getattr(plot.axes, f"get_{letter}lim")() for plot in group]
            low, high = min(min(each) for each in limits), max(max(each) for each in limits)
            for plot, (first, last) in zip(group, limits, strict=True):
                ends = (low, high) if first <= last else (high, low)
                getattr(plot.axes, f"set_{letter}lim")(*ends)


def _finish(figure: Any, axes: Axes, letter: Literal["x", "y"], direction: Direction) -> None:
    layout = direction.layout
    line = colour(layout.linecolor or "gray")
    for side in ("left", "right") if letter == "y" else ("bottom", "top"):
        axes.spines[side].set_color(line)
    _set_range(figure, axes, letter, direction)
    _set_ticks(axes, letter, direction)
    ink = colour(layout.tickfont.color or figure.layout.font.color or "black")
    axes.tick_params(axis=letter, colors=ink, labelsize=(layout.tickfont.size or 12) * POINTS)
    if layout.showticklabels is False:
        axes.tick_params(axis=letter, labelbottom=False, labelleft=False)
    if layout.tickangle:
        _turn_labels(axes, letter, -float(layout.tickangle))
    if layout.showgrid is not False and layout.gridcolor:
        axes.grid(True, axis=letter, color=colour(layout.gridcolor), linewidth=0.8)
    axes.set_axisbelow(True)
    if layout.title.text:
        getattr(axes, f"set_{letter}label")(
            text(layout.title.text), color=ink, fontsize=(layout.title.font.size or 12) * POINTS
        )


def _turn_labels(axes: Axes, letter: Literal["x", "y"], angle: float) -> None:
    """Turn the labels; slanted ones end under their tick, as plotly's do."""
    axes.tick_params(axis=letter, rotation=angle)
    if letter == "x" and angle % 90:
        for label in axes.get_xticklabels():
            label.set(ha="right" if angle > 0 else "left", rotation_mode="anchor")


def _set_range(figure: Any, axes: Axes, letter: str, direction: Direction) -> None:
    layout = direction.layout
    if layout.type == "log":
        getattr(axes, f"set_{letter}scale")("log")
    asked = layout.range
    if asked is None and layout.matches:
        asked = axis_layout(figure, layout.matches).range
    if asked is not None:
        low, high = (float(each) for each in asked)
        ends = (10**low, 10**high) if layout.type == "log" else (low, high)
        getattr(axes, f"set_{letter}lim")(*ends)
    elif direction.is_category:
        getattr(axes, f"set_{letter}lim")(-0.5, len(direction.categories) - 0.5)
    if layout.autorange == "reversed":
        getattr(axes, f"invert_{letter}axis")()


def _set_ticks(axes: Axes, letter: str, direction: Direction) -> None:
    layout = direction.layout
    axis = axes.xaxis if letter == "x" else axes.yaxis
    axis.set_tick_params(length=0)
    if layout.tickvals is not None:
        labels = layout.ticktext if layout.ticktext is not None else layout.tickvals
        axis.set_ticks(direction.places(layout.tickvals), [text(each) for each in labels])
    elif direction.is_category:
        axis.set_ticks(range(len(direction.categories)), [text(c) for c in direction.categories])
    elif layout.dtick and layout.type != "log":
        axis.set_major_locator(MultipleLocator(float(layout.dtick)))
    if str(layout.tickformat or "").endswith("%"):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _direction(figure: Any, name: str, values: Sequence[Any]) -> Direction:
    layout = axis_layout(figure, name)
    known = [v for each in values if each is not None for v in each if v is not None]
    is_category = layout.type == "category" or any(isinstance(v, str) for v in known)
    ordered = [str(each) for each in layout.categoryarray] if layout.categoryarray else []
    return Direction(layout=layout, is_category=is_category, categories=ordered)


def _domain(layout: Any) -> tuple[float, float]:
    low, high = layout.domain or (0.0, 1.0)
    return float(low), float(high)
