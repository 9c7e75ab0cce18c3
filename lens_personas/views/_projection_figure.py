"""A line over the tokens of a conversation as a plotly figure, for print."""

import plotly.graph_objects as go

from lens_personas.views._looks import MONO, looks
from lens_personas.views._projection_picture import Projection
from lens_personas.views._svg import cut
from lens_personas.views._theme import LIGHT, Theme, band, escaped, faded, finish, note


def projection_figure(shown: Projection, theme: Theme = LIGHT) -> go.Figure:
    """The line with its turns and its band."""
    n = len(shown.tokens)
    figure = go.Figure()
    if shown.band is not None:
        name = escaped(shown.band_name)
        shade = band(range(n), *shown.band, faded(theme.null, 0.8), name=name, legend=True)
        figure.add_trace(shade)
    kept = [None if shown.is_beyond(at) else value for at, value in enumerate(shown.values)]
    figure.add_trace(
        go.Scatter(
            x=list(range(n)),
            y=kept,
            mode="lines+markers",
            line={"color": theme.side("pro"), "width": 2},
            marker={"size": 6, "color": theme.side("pro")},
            customdata=[escaped(token) for token in shown.tokens],
            hovertemplate="%{customdata}: %{y:.2f}<extra></extra>",
            showlegend=False,
        )
    )
    finish(figure, theme, height=420, width=max(480, 20 * min(n, 80) + 120))
    figure.update_layout(margin={"b": 110, "t": 60}, legend={"orientation": "h", "y": 1.22})
    known = looks(theme)
    for role, start, stop in shown.stretches:
        figure.add_vrect(
            x0=start - 0.5,
            x1=stop - 0.5,
            fillcolor=faded(known[f"turn-{role}"]["fill"], 0.1),
            line_width=0,
            layer="below",
        )
        if (stop - start) * 20 > 7 * len(role):
            place = {"x": start - 0.3, "xref": "x", "xanchor": "left"}
            note(figure, theme, role, **place, y=1.03, yref="y domain", yanchor="bottom")
    figure.add_hline(y=0, line={"color": theme.muted, "width": 1, "dash": "dot"})
    step = max(n // 60, 1)
    figure.update_xaxes(
        tickvals=list(range(0, n, step)),
        ticktext=[escaped(cut(token, 16)) for token in shown.tokens[::step]],
        tickangle=-55,
        tickfont_family=MONO,
        showgrid=False,
        range=[-0.7, n - 0.3],
    )
    figure.update_yaxes(title_text=escaped(shown.unit), range=list(shown.limits))
    return figure
