"""The part on angles, in words and figures."""

from analyses._panel import Panel, panel
from analyses._parts._geometry_contrasts import FULFILMENT_YES, REFUSAL_YES
from analyses._shown import _geometry_figures as figures
from analyses._shown._types import Shown, ShownTable, Told
from analyses._words import MISSING, TREATMENTS, number, p_value, percent, span, with_interval
from analyses.vector_geometry import COSINE, Predictor, VectorGeometry

_SECTION = "part-geometry"


def tell(found: VectorGeometry) -> Told:
    """The part in words."""
    tables = (_predictors(found), _angles(found), _independence(found))
    return Told(
        answer=_answer(found),
        tables=tuple(table for table in tables if table.rows),
        limits=_limits(found),
    )


def panels(found: VectorGeometry) -> tuple[Panel, ...]:
    """The part's figures."""
    groups = dict(zip(found.independence["persona"], found.independence["group"], strict=True))
    out = []
    if any(each.family == "questions" for each in found.cosines):
        out.append(
            panel(
                "geometry-fulfilment",
                _SECTION,
                "Are refusing and helping opposite, or two ways of saying yes?",
                "Cosine of two vectors, each from yes minus no: to questions on refusing and to "
                "questions on helping. Solid: cosine; dotted: the most that the agreement of two "
                "halves of the data allows. On Llama-2-13B-chat it was reported near .9 up to "
                "layer 7 with a minimum of .4 to .5 near layer 15.",
                "Bands: 95 % with yes and no exchanged at random. A band that reaches from side to "
                "side says that all pairs differ along one line: then labels without "
                "meaning give it too, and a large cosine tells nothing. Removed is what the "
                "yes/no questions of all personas share.",
                lambda theme: figures.refusal_and_fulfilment(
                    found, REFUSAL_YES, FULFILMENT_YES, theme=theme
                ),
            )
        )
    return (
        *out,
        panel(
            "geometry-yes",
            _SECTION,
            "How much of the likeness between personas is the shared Yes?",
            f"Cosine of every vector with every other at layer {found.layer}: by row what the "
            "vectors are made from, by column with the direction of saying yes and without it.",
            "Removing a direction that is not shared would change nothing.",
            lambda theme: figures.cosines_without_yes(found, theme=theme),
        ),
        panel(
            "geometry-refusal",
            _SECTION,
            "Is a persona's angle with refusal more than chance, and could it be larger?",
            f"One line a persona: cosine of its vector with {found.reference}.",
            "Grey: median over personas of the 95 % band once the two sides of a contrast are "
            "exchanged at random. Dotted: median ceiling from the agreement of halves of the data.",
            lambda theme: figures.refusal_cosines(found, groups, theme=theme),
        ),
        panel(
            "geometry-rank",
            _SECTION,
            "How many directions do the personas take up?",
            "Effective rank of the personas' unit vectors, not centred: 1 if all are one line.",
            "Grey: 95 % of as many random vectors of the same width.",
            lambda theme: figures.effective_ranks(found, theme=theme),
        ),
        panel(
            "geometry-independence",
            _SECTION,
            "Are persona and refusal independent in use?",
            "Mean absolute change of the residual's cosine with one direction at the last prompt "
            f"token once the other (taken at layer {found.layer}) is removed everywhere: RepInd by "
            f"layer, on {found.n_independence} harmful requests.",
            "Dotted: random directions removed in its place; the control persona beside.",
            lambda theme: figures.independence(found, theme=theme),
        ),
        panel(
            "geometry-predictors",
            _SECTION,
            "Does the angle predict what a persona does, better than simpler numbers?",
            "Leave-one-persona-out R² of one number of a persona for its mean effect on the test "
            "requests, with bootstrap interval over personas; below 0 it is worse than guessing "
            "the others' mean.",
            "Black line: 95 % of random directions in the place of refusal, their layer chosen "
            "alike. Where personas lie along one line, any direction sorts them.",
            lambda theme: figures.predictor_bars(found, theme=theme),
        ),
    )


def _answer(found: VectorGeometry) -> str:
    cosine = _fit(found, "prompt")
    if cosine is None:
        return (
            f"The angles of {found.n} personas with refusal are told by layer; there are no "
            "effects for them to predict."
        )
    others = [p for p in found.predictors if p.treatment == "prompt" and p.name != COSINE]
    best = max(others, key=lambda p: p.r2.estimate, default=None)
    random = found.random_references.set_index("treatment")["high"].get("prompt", float("nan"))
    beside = ""
    if best is not None:
        beside = (
            f" The best other number is {best.name}: {with_interval(best.r2, signed=False)}, "
            f"{with_interval(best.beyond_cosine)} beyond the cosine."
        )
    return (
        f"Over {cosine.n} personas, the control among them, the cosine with {found.reference} at "
        f"layer {cosine.layer} predicts the effect of the text with a leave-one-out R² of "
        f"{with_interval(cosine.r2, signed=False)} (permutation over personas, best of all "
        f"layers: p {p_value(cosine.p_over_layers)}); cosines with random directions reach "
        f"{number(float(random))} in 5 % of draws.{beside}"
    )


def _fit(found: VectorGeometry, treatment: str) -> Predictor | None:
    named = [p for p in found.predictors if (p.name, p.treatment) == (COSINE, treatment)]
    return named[0] if named else None


def _predictors(found: VectorGeometry) -> ShownTable:
    rows = tuple(
        (
            p.name,
            TREATMENTS[p.treatment],
            str(p.layer),
            str(p.n),
            with_interval(p.r2, signed=False),
            MISSING if p.name == COSINE else with_interval(p.beyond_cosine),
            with_interval(p.slope),
            f"{number(p.pearson.estimate)} {span(p.pearson.low, p.pearson.high)}",
            p_value(p.p_over_layers),
        )
        for p in found.predictors
    )
    random = "; ".join(
        f"{TREATMENTS[str(row['treatment'])]} {number(float(row['high']))} "
        f"({percent(float(row['as_good']))} of random directions do at least as well as refusal)"
        for row in found.random_references.to_dict(orient="records")
    )
    return ShownTable(
        title="What of a persona predicts its effect on refusal",
        columns=(
            "Predictor",
            "Treatment",
            "Layer",
            "n",
            "R², one left out",
            "beyond the cosine",
            "nats per SD",
            "Pearson",
            "p, best layer",
        ),
        rows=rows,
        note=(
            "Layer of text chosen on the layer split, vectors at the layer they were added at; "
            "effects on the test requests; control persona included. 95th percentile of R² for "
            f"random directions: {random or MISSING}."
        ),
    )


def _angles(found: VectorGeometry) -> ShownTable:
    at_layer = found.by_layer[found.by_layer["layer"] == found.layer]
    rows = tuple(
        (
            f"{row['family']}, {figures.YES[str(row['yes'])]}",
            str(row["n"]),
            *(
                number(float(row[name]))
                for name in ("cosine", "same_side", "opposite_side", "ceiling")
            ),
            percent(float(row["beyond"])),
            number(float(row["rank"]), 1),
            span(float(row["rank_low"]), float(row["rank_high"]), 1),
        )
        for row in at_layer.to_dict(orient="records")
    )
    return ShownTable(
        title=f"How alike personas' vectors are at layer {found.layer}",
        columns=(
            "Vectors",
            "n",
            "Mean cosine",
            "same side",
            "opposite sides",
            "ceiling",
            "pairs outside band",
            "effective rank",
            "of random vectors",
        ),
        rows=rows,
        note="Band: 95 % with the two sides of a contrast exchanged at random.",
    )


def _independence(found: VectorGeometry) -> ShownTable:
    rows = tuple(
        (
            str(row["persona"]),
            str(row["way"]),
            f"{number(float(row['estimate']), 3)} {span(float(row['low']), float(row['high']), 3)}",
            span(float(row["null_low"]), float(row["null_high"]), 3),
        )
        for row in found.independence.to_dict(orient="records")
    )
    return ShownTable(
        title=f"RepInd of personas and refusal, n = {found.n_independence} requests",
        columns=("Persona", "What is removed", "RepInd", "random direction in its place"),
        rows=rows,
        note="0: independent. The control persona is one of the rows.",
    )


def _limits(found: VectorGeometry) -> tuple[str, ...]:
    out = ["A cosine between two vectors says nothing of what the model does with either of them."]
    if found.small:
        out.append(
            f"{len(found.small)} vectors ({', '.join(found.small[:6])}"
            f"{', …' if len(found.small) > 6 else ''}) rest on so few pairs that no exchange of "
            "labels can tell their cosines from chance: their bands always hold them."
        )
    if not len(found.yes_share):
        out.append(
            "Too few personas have yes/no questions: the direction of saying yes was not removed."
        )
    if not found.predictors:
        out.append("No effect could be predicted: there is no refusal score, or it never differs.")
    return tuple(out)


SHOWN = Shown(tell=tell, panels=panels)
