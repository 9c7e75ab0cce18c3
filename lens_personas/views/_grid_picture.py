"""A heatmap as SVG: cells grouped by colour, so that a thousand of them weigh little."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from markupsafe import Markup

from lens_personas.views._grid import Axis, Grid, told
from lens_personas.views._looks import LEVELS
from lens_personas.views._svg import cut, element, plain

_CHARACTER: Final = 6.7
"""Width of a small letter, in pixels, on average and rounded up."""
_LONGEST: Final = {True: 16, False: 30}
"""Characters beside the picture, for tokens and for names."""
_MOST_NUMBERS: Final = 14
"""Rows and columns up to which cells have room for their number."""
_TILT: Final = 55.0
_TOP: Final = 58


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the cells of a heatmap are, in pixels."""

    left: int
    """Left edge of the first column."""
    top: int
    """Upper edge of the uppermost row."""
    cell: tuple[int, int]
    """Width and height of a cell."""
    below: int
    """Room under the cells."""
    size: tuple[int, int]
    """Width and height of the picture."""
    numbers: bool
    """Whether cells show their values."""
    tilted: bool
    """Whether the columns' labels are tilted."""


def grid_layout(grid: Grid) -> Layout:
    """Sizes that suit the number of cells."""
    n_rows, n_columns = grid.values.shape
    numbers = max(n_rows, n_columns) <= _MOST_NUMBERS
    cell = (46, 40 if _shows_extra(grid) else 32) if numbers else _cell(n_rows, n_columns)
    left = 12 + _width(grid.rows) + (18 if grid.rows.name else 0)
    tilted = _width(grid.columns) > cell[0] - 4
    rise = math.ceil(_width(grid.columns) * math.sin(math.radians(_TILT))) if tilted else 10
    below = 14 + rise + (22 if grid.columns.name else 0)
    # Tilted labels of the first columns lean to the left.
    lean = math.ceil(_width(grid.columns) * math.cos(math.radians(_TILT))) if tilted else 0
    left = max(left, lean - cell[0] // 2 + 6)
    width = max(left + n_columns * cell[0] + 12, left + 330)
    return Layout(
        left=left,
        top=_TOP,
        cell=cell,
        below=below,
        size=(width, _TOP + n_rows * cell[1] + below),
        numbers=numbers,
        tilted=tilted,
    )


def grid_svg(grid: Grid, layout: Layout, title: str) -> Markup:
    """The heatmap with its axes and its key."""
    width, height = layout.size
    return element(
        "svg",
        *_key(grid, layout),
        *_cells(grid, layout),
        *_numbers(grid, layout),
        *_marks(grid, layout),
        *_row_labels(grid, layout),
        *_column_labels(grid, layout),
        element("rect", class_="cursor", width=0, height=0, visibility="hidden"),
        width=width,
        height=height,
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=title,
    )


def _cell(n_rows: int, n_columns: int) -> tuple[int, int]:
    across = next(
        size for most, size in ((28, 26), (60, 20), (120, 15), (10**9, 12)) if n_columns <= most
    )
    up = next(size for most, size in ((16, 24), (36, 15), (10**9, 11)) if n_rows <= most)
    return across, up


def _shows_extra(grid: Grid) -> bool:
    return grid.extra is not None and grid.extra.is_shown


def _width(axis: Axis) -> int:
    return math.ceil(max((len(_label(axis, each)) for each in axis.labels), default=0) * _CHARACTER)


def _label(axis: Axis, text: str) -> str:
    return cut(text, _LONGEST[axis.is_tokens])


def _places(grid: Grid, layout: Layout) -> Iterator[tuple[int, int, int, int, int]]:
    """Row, column, place in the scale and upper left corner of every cell."""
    across, up = layout.cell
    for row, levels in enumerate(grid.levels.tolist()):
        y = layout.top + grid.at(row) * up
        for column, level in enumerate(levels):
            yield row, column, level, layout.left + column * across, y


def _cells(grid: Grid, layout: Layout) -> Iterator[Markup]:
    across, up = (size - 1 for size in layout.cell)
    shapes: dict[int, list[str]] = {}
    for _, _, level, x, y in _places(grid, layout):
        shapes.setdefault(level, []).append(f"M{x} {y}h{across}v{up}h-{across}z")
    for level, paths in sorted(shapes.items()):
        yield element("path", class_="lack" if level < 0 else f"d{level}", d="".join(paths))


def _numbers(grid: Grid, layout: Layout) -> Iterator[Markup]:
    if not layout.numbers:
        return
    across, up = layout.cell
    digits, second = min(grid.digits, 2), grid.extra if _shows_extra(grid) else None
    for row, column, level, x, y in _places(grid, layout):
        if level < 0:
            continue
        place = {"x": x + (across - 1) / 2, "text_anchor": "middle"}
        at = y + up / 2 + (3.5 if second is None else -2.5)
        text = told(float(grid.values[row, column]), digits)
        yield element("text", text, class_=f"number n{level}", y=at, **place)
        if second is not None and bool(torch.isfinite(second.values[row, column])):
            small = f"of {told(float(second.values[row, column]), digits)}"
            yield element("text", small, class_=f"number n{level} fine", y=at + 13, **place)


def _marks(grid: Grid, layout: Layout) -> Iterator[Markup]:
    if grid.hollow is None:
        return
    across, up = layout.cell
    # In the corner where the cell has a number.
    dx, dy = (across - 8, 6) if layout.numbers else ((across - 1) / 2, (up - 1) / 2)
    size = 2.5 if min(layout.cell) > 14 else 2.0
    circle = f"a{size} {size} 0 1 0 {plain(2 * size)} 0a{size} {size} 0 1 0 -{plain(2 * size)} 0z"
    marked = grid.marked.tolist()
    path = "".join(
        f"M{x + dx - size:g} {y + dy:g}{circle}"
        for row, column, _, x, y in _places(grid, layout)
        if marked[row][column]
    )
    yield element("path", class_="hollow", d=path)


def _row_labels(grid: Grid, layout: Layout) -> Iterator[Markup]:
    up = layout.cell[1]
    labels = grid.rows.labels
    step = 1 if up >= 14 else math.ceil(14 / up)
    look = "token" if grid.rows.is_tokens else "muted"
    for row, text in enumerate(labels):
        if row % step == 0:
            y = layout.top + grid.at(row) * up + up / 2 + 3.5
            shown = _label(grid.rows, text)
            yield element("text", shown, class_=look, x=layout.left - 7, y=y, text_anchor="end")
    if grid.rows.name:
        y = layout.top + len(labels) * up / 2
        turned = f"translate(12 {plain(y)}) rotate(-90)"
        yield element(
            "text", _title(grid.rows.name), class_="muted", transform=turned, text_anchor="middle"
        )


def _column_labels(grid: Grid, layout: Layout) -> Iterator[Markup]:
    across, up = layout.cell
    labels = grid.columns.labels
    y = layout.top + grid.values.shape[0] * up
    look = "token" if grid.columns.is_tokens else "muted"
    for column, text in enumerate(labels):
        x = layout.left + column * across + across / 2
        shown = _label(grid.columns, text)
        if layout.tilted:
            turned = f"translate({plain(x + 4)} {plain(y + 11)}) rotate(-{plain(_TILT)})"
            yield element("text", shown, class_=look, transform=turned, text_anchor="end")
        else:
            yield element("text", shown, class_=look, x=x, y=y + 15, text_anchor="middle")
    if grid.columns.name:
        x, below = layout.left + len(labels) * across / 2, y + layout.below - 6
        yield element(
            "text", _title(grid.columns.name), class_="muted", x=x, y=below, text_anchor="middle"
        )


def _key(grid: Grid, layout: Layout) -> Iterator[Markup]:
    """What the colours say."""
    step, left = 3, layout.left
    low, high = (told(grid.centre + sign * grid.limit, grid.digits) for sign in (-1.0, 1.0))
    middle = told(grid.centre, grid.digits)
    start = left + len(low) * 6.4 + 6
    yield element("text", grid.unit, class_="ink", x=left, y=14)
    yield element("text", low, class_="muted number", x=start - 6, y=37, text_anchor="end")
    for level in range(LEVELS):
        x = start + level * step
        yield element("rect", class_=f"d{level}", x=x, y=27, width=step + 0.4, height=12)
    end = start + LEVELS * step
    yield element("text", high, class_="muted number", x=end + 6, y=37)
    half = start + LEVELS * step / 2
    if grid.centre:
        yield element("text", middle, class_="muted fine", x=half, y=49, text_anchor="middle")
    if grid.hollow is not None:
        x = end + len(high) * 6.4 + 24
        yield element("circle", class_="hollow", cx=x, cy=33, r=3)
        yield element("text", grid.hollow_means, class_="muted", x=x + 8, y=37)


def _title(name: str) -> str:
    return name[:1].upper() + name[1:]
