"""The figures of a report, each with its question, how to read it, and what it is held against."""

from analyses import _figures as figures
from analyses._panel import Panel
from analyses._panel import panel as _panel
from analyses._shown import part_panels
from analyses.whos_asking import WhosAsking


def panels(result: WhosAsking) -> tuple[Panel, ...]:
    """Every figure that this result has numbers for, in reading order."""
    return (
        *_effect_panels(result),
        *_geometry_panels(result),
        *_inside_panels(result),
        *part_panels(result.parts),
    )


def _effect_panels(result: WhosAsking) -> list[Panel]:
    effects = result.effects
    kinds = {e.kind for e in effects.effects}
    out = []
    if kinds & {"persona", "control"}:
        out.append(
            _panel(
                "forest",
                "effects",
                "How far does each persona move refusal?",
                "A row is a persona, a column a way to bring it in. The large mark is the mean "
                "change against the request alone, with its 95 % interval; filled means found, "
                "hollow means not shown. Circles are pro-social, squares anti-social, triangles "
                "other personas, diamonds the control.",
                "The small grey diamond is the control persona at the same layer, with its "
                "interval; the broad bar is where one more neutral text or random direction of "
                "the same length would fall nineteen times in twenty. An effect counts only beyond "
                "both.",
                lambda theme: figures.effect_forest(effects, theme=theme),
            )
        )
    if any(e.answered and e.kind == "persona" for e in effects.effects):
        out.append(
            _panel(
                "answered",
                "effects",
                "Does what is written change too?",
                "The coloured mark is the share of harmful requests answered under the treatment, "
                "with its Wilson interval; the upright stroke is the share without it.",
                "The hollow grey diamond is the control persona under the same treatment.",
                lambda theme: figures.answered_dots(effects, theme=theme),
            )
        )
    table = effects.layer_means
    if len(table) and table["treatment"].isin(["plus", "minus"]).any():
        out.append(
            _panel(
                "layers",
                "effects",
                "At which layer does steering act?",
                "Mean change of the refusal log-odds when the vector is added (left) or subtracted "
                "(right) at one layer. These are test requests; the layers of the table above were "
                "chosen on others. Click a name to hide its line, twice to see it alone.",
                "The grey line with its band is the control persona; the pale band is the range of "
                "random directions of the same length.",
                lambda theme: figures.layer_curves(effects, theme=theme),
            )
        )
    if "refusal" in kinds:
        out.append(
            _panel(
                "refusal",
                "refusal",
                "What does steering refusal itself do?",
                "A row is a refusal vector, made in its own way; a column is what is done with it.",
                "The control persona's vector under the same treatment, or the mean of the random "
                "directions where the control has no such arm; the broad bar is where one "
                "more would fall.",
                lambda theme: figures.refusal_forest(effects, theme=theme),
            )
        )
    return out


def _geometry_panels(result: WhosAsking) -> list[Panel]:
    geometry = result.geometry
    if geometry is None:
        return []
    return [
        _panel(
            "scatter",
            "geometry",
            "Does the angle with refusal predict the effect?",
            "A mark is a persona: its cosine with the refusal vector against its effect on the "
            "test requests. The dashed line is the least-squares fit.",
            "The p value is over permutations of the personas. A fit on few personas has a wide "
            "interval, however steep the line.",
            lambda theme: figures.cosine_scatter(geometry, theme=theme),
        ),
        _panel(
            "correlation",
            "geometry",
            "Is that so at one layer or at many?",
            "Correlation over personas at each layer; solid Pearson, dotted Spearman. The ring "
            "marks the layer chosen on other requests.",
            "Zero. The best of many layers is no single test: the table gives the p of the "
            "greatest correlation over all layers.",
            lambda theme: figures.correlation_by_layer(geometry, theme=theme),
        ),
        _panel(
            "reference",
            "geometry",
            "How does each persona lie towards refusal?",
            "Cosine of each persona's vector with each refusal vector, by layer.",
            "The control persona's row. In a space of d dimensions two random directions have a "
            f"cosine within ±{_chance(result)} nineteen times in twenty.",
            lambda theme: figures.reference_cosines(geometry, theme=theme),
        ),
        _panel(
            "cosines",
            "geometry",
            "How do the vectors lie towards each other?",
            "Cosine of every vector with every other, from an early layer to the last.",
            "Vectors made by one recipe share what the recipe adds. A high cosine between personas "
            "with nothing in common, the control among them, is that share.",
            lambda theme: figures.cosine_heatmaps(geometry, theme=theme),
        ),
    ]


def _inside_panels(result: WhosAsking) -> list[Panel]:
    out = []
    hidden = result.hidden
    if hidden is not None:
        out += [
            _panel(
                "hidden",
                "hidden",
                "Where can the refused answer be read?",
                "The logit lens reads the residual at the last prompt token through the final norm "
                f"and the unembedding. Left, how often the known answer's first token is on top, "
                f"over {hidden.n} harmful requests; right, its mean log-probability.",
                "Dashed: the answer to another request, read in the same way.",
                lambda theme: figures.hidden_answer_curves(hidden, theme=theme),
            ),
            _panel(
                "hidden-heat",
                "hidden",
                "Is it so for every request?",
                "Log-probability of each request's known answer by layer; a row is a request, the "
                "most readable on top. Hover for the rank.",
                "Rows differ: a mean can rest on a few requests. The dashed lines above are "
                "another request's answer.",
                lambda theme: figures.hidden_answer_heatmap(hidden, theme=theme),
            ),
        ]
    if result.vectors:
        out.append(
            _panel(
                "quality",
                "vectors",
                "How well are the vectors determined?",
                "Left, the cosine of two vectors made from two halves of the data, corrected to "
                "the full size: 1 is fully determined. Right, the vector's length in units of the "
                "residual stream's.",
                "Zero on the left: halves that have nothing in common.",
                lambda theme: figures.vector_quality(result.vectors, theme=theme),
            )
        )
    return out


def _chance(result: WhosAsking) -> str:
    d_model = int(result.model.get("d_model", 0))
    return f"{1.96 / d_model**0.5:.2f}" if d_model else "1.96/√d"
