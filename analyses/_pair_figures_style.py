"""How figures of a base and a tuned model look: sides, halves, rows of behaviours, bands."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go

from lens_personas.views import Theme, band, escaped, faded, short

NAME_LENGTH: Final = 34
"""Characters of a behaviour's name beside an axis."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What tells one line from another, not by colour alone."""

    name: str
    """In the legend."""
    hue: str
    """Side of the theme whose colour it takes."""
    symbol: str
    """Mark."""
    dash: str
    """Line."""


SIDE_LOOKS: Final = {
    "base": Look(name="base", hue="control", symbol="diamond", dash="dash"),
    "tuned": Look(name="tuned", hue="refusal", symbol="circle", dash="solid"),
}
"""The two models, in the order they are shown."""

COMPARED_LOOKS: Final = {
    **SIDE_LOOKS,
    "change": Look(name="tuned less base", hue="other", symbol="triangle-up", dash="dot"),
}
"""The two models, and what changes from one to the other."""

HALF_LOOKS: Final = {
    True: Look(name="“Yes” is aligned", hue="pro", symbol="circle", dash="solid"),
    False: Look(name="“Yes” is misaligned", hue="anti", symbol="square", dash="dash"),
}
"""The halves of a behaviour, by whether "Yes" to its statements is aligned."""

ARM_LOOKS: Final = {
    "misaligned": Look(name="misaligned persona", hue="anti", symbol="square", dash="solid"),
    "aligned": Look(name="aligned persona", hue="pro", symbol="circle", dash="solid"),
    "shuffled": Look(name="its words shuffled", hue="anti", symbol="x", dash="dot"),
    "yes": Look(name="“say yes to everything”", hue="other", symbol="triangle-up", dash="dashdot"),
    "filler": Look(name="neutral filler", hue="control", symbol="diamond", dash="dash"),
}
"""What is said before the statement, in the order it is shown."""


def sides_of(table: pd.DataFrame, *, looks: Mapping[str, Look] = SIDE_LOOKS) -> list[str]:
    """Sides that the table has rows of, the base first."""
    there = set(table["side"]) if len(table) else set()
    return [side for side in looks if side in there]


def behaviours_of(table: pd.DataFrame) -> list[str]:
    """Behaviours in the order they are shown: as they come."""
    return list(map(str, dict.fromkeys(table["behaviour"]))) if len(table) else []


def mark(look: Look, theme: Theme, *, size: int = 8, **more: Any) -> dict[str, Any]:
    """A mark of that look."""
    colour = theme.side(look.hue)
    return {
        "symbol": look.symbol,
        "size": size,
        "color": colour,
        "line": {"color": colour, "width": 1.6},
        **more,
    }


def curve(
    rows: pd.DataFrame, look: Look, theme: Theme, *, x: str, legend: bool, hover: str = ""
) -> list[go.Scatter]:
    """The column ``estimate`` along ``x``, with the band from ``low`` to ``high``."""
    rows = rows.sort_values(x)
    known = rows.dropna(subset=["low", "high"])
    colour = theme.side(look.hue)
    line = go.Scatter(
        x=rows[x],
        y=rows["estimate"],
        mode="lines+markers",
        line={"color": colour, "width": 2.2, "dash": look.dash},
        marker=mark(look, theme, size=7),
        name=escaped(look.name),
        legendgroup=escaped(look.name),
        showlegend=legend,
        customdata=rows[["low", "high"]],
        hovertemplate=f"<b>{escaped(look.name)}</b>{hover}, %{{x}}: %{{y:.2f}} "
        "[%{customdata[0]:.2f}, %{customdata[1]:.2f}]<extra></extra>",
    )
    shade = band(known[x], known["low"], known["high"], faded(colour, 0.16), name=line.name)
    return [shade, line] if len(known) else [line]


def dots(
    rows: pd.DataFrame,
    at: Sequence[float],
    look: Look,
    theme: Theme,
    *,
    filled: Sequence[bool],
    hovers: Sequence[str],
    legend: bool,
) -> go.Scatter:
    """The column ``estimate`` with its interval, at heights ``at``; hollow where not ``filled``."""
    colour = theme.side(look.hue)
    marker = mark(look, theme, size=8)
    marker["color"] = [colour if each else theme.paper for each in filled]
    return go.Scatter(
        x=rows["estimate"],
        y=list(at),
        mode="markers",
        error_x={
            "type": "data",
            "symmetric": False,
            "array": rows["high"] - rows["estimate"],
            "arrayminus": rows["estimate"] - rows["low"],
            "color": colour,
            "thickness": 1.5,
            "width": 0,
        },
        marker=marker,
        name=look.name,
        legendgroup=look.name,
        showlegend=legend,
        hovertext=hovers,
        hovertemplate="%{hovertext}<extra></extra>",
    )


def name_rows(figure: go.Figure, names: Sequence[str], *, room: float = 0.6) -> go.Figure:
    """Number the rows from the top and show their names: two may be alike when cut short."""
    figure.update_yaxes(
        range=[len(names) - 1 + room, -room],
        tickmode="array",
        tickvals=list(range(len(names))),
        ticktext=[short(name, NAME_LENGTH) for name in names],
        showgrid=False,
    )
    return figure


class Panels:
    """Traces and lines of many small panels, put into the figure at once.

    One by one, plotly checks the whole figure again for each: seconds for a hundred panels.
    """

    def __init__(self, figure: go.Figure, columns: int) -> None:
        self.figure = figure
        self.columns = columns
        self._traces: list[go.Scatter] = []
        self._places: list[tuple[int, int]] = []
        self._lines: list[dict[str, Any]] = []

    def place(self, at: int) -> dict[str, int]:
        """Row and column of a panel, counted from 1, as plotly wants them."""
        return {"row": at // self.columns + 1, "col": at % self.columns + 1}

    def add(self, at: int, traces: Iterable[go.Scatter]) -> None:
        """Put traces into a panel."""
        for trace in traces:
            self._traces.append(trace)
            self._places.append((at // self.columns + 1, at % self.columns + 1))

    def line(
        self, at: int, theme: Theme, *, x: float | None = None, y: float | None = None
    ) -> None:
        """Draw a dotted line across a panel, upright at ``x`` or level at ``y``."""
        number = "" if at == 0 else str(at + 1)
        across, up = f"x{number}", f"y{number}"
        ends = (
            {"x0": x, "x1": x, "y0": 0, "y1": 1, "yref": f"{up} domain", "xref": across}
            if x is not None
            else {"y0": y, "y1": y, "x0": 0, "x1": 1, "xref": f"{across} domain", "yref": up}
        )
        look = {"color": theme.muted, "width": 1, "dash": "dot"}
        self._lines.append({"type": "line", "line": look, **ends})

    def draw(self) -> go.Figure:
        """The figure with everything in it."""
        rows, columns = ([place[at] for place in self._places] for at in (0, 1))
        self.figure.add_traces(self._traces, rows=rows, cols=columns)
        self.figure.update_layout(shapes=self._lines)
        return self.figure


def legend_below(figure: go.Figure, *, y: float) -> go.Figure:
    """Put the legend under the figure, ``y`` of its height below the axes."""
    figure.update_layout(legend={"orientation": "h", "y": y, "x": 0, "yanchor": "top"})
    return figure
