"""Figures of what personas do: beside the control, and in written answers."""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses._words import (
    CHANGE_OF,
    SIDES,
    TREATMENTS,
    direction,
    finding,
    in_order,
    p_value,
    percent,
    with_interval,
)
from analyses.persona_effects import Answered, Effect, PersonaEffects
from lens_personas.statistics import Interval
from lens_personas.views import (
    LIGHT,
    SYMBOLS,
    Theme,
    escaped,
    faded,
    finish,
    name_rows,
    note,
)


def effect_forest(effects: PersonaEffects, *, theme: Theme = LIGHT) -> go.Figure:
    """Change by persona and treatment, with the control and the nulls in the same row."""
    personas = [e for e in in_order(effects.effects) if e.kind in ("persona", "control")]
    return _forest(personas, effects, theme)


def refusal_forest(effects: PersonaEffects, *, theme: Theme = LIGHT) -> go.Figure:
    """Change by adding, subtracting and removing each refusal vector, side by side."""
    vectors = [e for e in in_order(effects.effects) if e.kind == "refusal"]
    return _forest(vectors, effects, theme)


def answered_dots(effects: PersonaEffects, *, theme: Theme = LIGHT) -> go.Figure:
    """Share of requests answered before and after each treatment, the control beside it."""
    shown = [
        e
        for e in in_order(effects.effects)
        if e.kind in ("persona", "control") and e.answered is not None
    ]
    figure, treatments, names = _rows_and_columns(shown)
    for at, treatment in enumerate(treatments):
        traces = _answered_traces([e for e in shown if e.treatment == treatment], theme)
        figure.add_traces(traces, rows=1, cols=at + 1)
    finish(figure, theme, height=_row_height(names), showlegend=False)
    figure.update_xaxes(range=[-0.03, 1.03], tickformat=".0%", title_text="Answered")
    return name_rows(figure, names)


def _forest(shown: Sequence[Effect], effects: PersonaEffects, theme: Theme) -> go.Figure:
    figure, treatments, names = _rows_and_columns(shown)
    for at, treatment in enumerate(treatments):
        traces = _forest_traces([e for e in shown if e.treatment == treatment], theme)
        figure.add_traces(traces, rows=1, cols=at + 1)
    finish(figure, theme, height=_row_height(names), showlegend=False)
    for column in range(2, len(treatments) + 1):
        figure.update_xaxes(matches="x", col=column)
    figure.add_vline(x=0, line={"color": theme.muted, "width": 1, "dash": "dot"})
    less, more = direction(effects.outcome)
    for text, x, anchor in (
        (f"← {less}", 0, "left"),
        (CHANGE_OF[effects.outcome], 0.5, "center"),
        (f"{more} →", 1, "right"),
    ):
        place = {"x": x, "y": 0, "xref": "paper", "yref": "paper", "yshift": -36}
        note(figure, theme, text, xanchor=anchor, **place)
    return name_rows(figure, names)


def _rows_and_columns(shown: Sequence[Effect]) -> tuple[go.Figure, list[str], list[str]]:
    treatments = [t for t in TREATMENTS if any(e.treatment == t for e in shown)]
    names = list(dict.fromkeys(e.persona for e in shown))
    figure = make_subplots(
        cols=max(len(treatments), 1),
        shared_yaxes=True,
        horizontal_spacing=0.025,
        subplot_titles=[TREATMENTS[t] for t in treatments],
    )
    return figure, treatments, names


def _row_height(names: Sequence[str]) -> int:
    return 120 + 30 * len(names)


def _forest_traces(effects: Sequence[Effect], theme: Theme) -> list[go.Scatter]:
    """Nulls, controls, then one trace for each side, so that marks lie on top."""
    held = [e for e in effects if e.kind != "control"]
    traces = [
        _nulls([e for e in effects if e.null_range is not None], theme),
        _marks(
            held,
            [e.control for e in held],
            symbol="diamond",
            size=6,
            colour=theme.side("control"),
            hovers=[f"control {with_interval(e.control)}" for e in held],
            name="control",
        ),
    ]
    for side, rows in _by_side(effects).items():
        colour = theme.side(side)
        trace = _marks(
            rows,
            [e.interval for e in rows],
            symbol=SYMBOLS.get(side, SYMBOLS["other"]),
            size=11,
            colour=colour,
            hovers=[_effect_hover(e) for e in rows],
            name=SIDES.get(side, side),
        )
        trace.marker.color = [colour if e.claim else theme.paper for e in rows]
        traces.append(trace)
    return traces


def _by_side(effects: Sequence[Effect]) -> dict[str, list[Effect]]:
    sides: dict[str, list[Effect]] = {}
    for effect in effects:
        sides.setdefault("refusal" if effect.kind == "refusal" else effect.group, []).append(effect)
    return sides


def _nulls(effects: Sequence[Effect], theme: Theme) -> go.Scatter:
    """A bar a row from the least to the greatest null; None lifts the pen between rows."""
    x: list[float | None] = []
    y: list[str | None] = []
    for effect in effects:
        if effect.null_range is not None:
            x += [*effect.null_range, None]
            y += [escaped(effect.persona)] * 2 + [None]
    return go.Scatter(
        x=x,
        y=y,
        mode="lines",
        line={"color": theme.null, "width": 13},
        hovertemplate="end of the nulls' range %{x:.2f}<extra></extra>",
        name="nulls",
    )


def _marks(
    effects: Sequence[Effect],
    values: Sequence[Interval],
    *,
    symbol: str,
    size: int,
    colour: str,
    hovers: Sequence[str],
    name: str,
) -> go.Scatter:
    return go.Scatter(
        x=[v.estimate for v in values],
        y=[escaped(e.persona) for e in effects],
        mode="markers",
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [v.high - v.estimate for v in values],
            "arrayminus": [v.estimate - v.low for v in values],
            "color": colour,
            "thickness": 2 if size > 6 else 1,
            "width": 0 if size > 6 else 3,
        },
        marker={
            "symbol": symbol,
            "size": size,
            "color": colour,
            "line": {"color": colour, "width": 2 if size > 6 else 0},
        },
        hovertext=hovers,
        hovertemplate="%{hovertext}<extra></extra>",
        name=escaped(name),
    )


def _effect_hover(effect: Effect) -> str:
    layer = "" if effect.layer is None else f", layer {effect.layer}"
    return (
        f"<b>{escaped(effect.persona)}</b> {TREATMENTS[effect.treatment]}{layer}<br>"
        f"change {with_interval(effect.interval)}, n = {effect.n}<br>"
        f"less the control {with_interval(effect.difference)}<br>"
        f"p {_p(effect.p)}, corrected {_p(effect.p_corrected)}: {finding(effect)}"
    )


def _answered_traces(effects: Sequence[Effect], theme: Theme) -> list[go.Scatter]:
    written = [(e, e.answered) for e in effects if e.answered is not None]
    held = [(e, a) for e, a in written if e.kind != "control"]
    # The paired test's net change leads from the control's share to the persona's.
    control = [a.after.estimate - a.against_control.net / max(a.n, 1) for _, a in held]
    traces = [
        _points(
            "line-ns",
            theme.muted,
            [e for e, _ in written],
            [a.before.estimate for _, a in written],
            "alone",
        ),
        _points("diamond-open", theme.side("control"), [e for e, _ in held], control, "control"),
    ]
    for side, rows in _by_side([e for e, _ in written]).items():
        after = [a for e, a in written if e in rows]
        trace = _marks(
            rows,
            [a.after for a in after],
            symbol=SYMBOLS.get(side, SYMBOLS["other"]),
            size=10,
            colour=theme.side(side),
            hovers=[_answered_hover(e, a) for e, a in zip(rows, after, strict=True)],
            name=SIDES.get(side, side),
        )
        trace.error_x.color = faded(theme.side(side), 0.55)
        traces.append(trace)
    return traces


def _points(
    symbol: str, colour: str, effects: Sequence[Effect], x: Sequence[float], name: str
) -> go.Scatter:
    return go.Scatter(
        x=x,
        y=[escaped(e.persona) for e in effects],
        mode="markers",
        marker={
            "symbol": symbol,
            "size": 11,
            "color": colour,
            "line": {"color": colour, "width": 2},
        },
        hovertemplate=f"{name} %{{x:.0%}}<extra></extra>",
        name=name,
    )


def _answered_hover(effect: Effect, answered: Answered) -> str:
    return (
        f"<b>{escaped(effect.persona)}</b> {TREATMENTS[effect.treatment]}<br>"
        f"answered {percent(answered.before.estimate)} → {percent(answered.after.estimate)} "
        f"of {answered.n}<br>"
        f"against the request alone p {_p(answered.against_baseline.p)}, "
        f"the control p {_p(answered.against_control.p)}<br>"
        f"no text {percent(answered.degenerate)}, harmless answered {percent(answered.harmless)}"
    )


def _p(p: float) -> str:
    return escaped(p_value(p))
