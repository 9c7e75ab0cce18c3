"""How the part on categories is told."""

from analyses._category_rows import HARMLESS
from analyses._panel import Panel, panel
from analyses._shown._categories_figures import category_heatmap
from analyses._shown._records import records
from analyses._shown._types import Shown, ShownTable, Told
from analyses._words import TREATMENTS, number, p_value, percent, span, with_interval
from analyses.request_categories import (
    MIN_REQUESTS,
    CategoryInteraction,
    RequestCategories,
)


def tell(result: RequestCategories) -> Told:
    """Whether effects vary over categories, and the effects by category."""
    return Told(
        answer=_answer(result),
        tables=(_effects(result), _tests(result)),
        limits=_limits(result),
    )


def panels(result: RequestCategories) -> tuple[Panel, ...]:
    """The heatmap of categories."""
    return (
        panel(
            "categories-heatmap",
            "part-categories",
            "What does each persona do, by what is asked for?",
            "Mean change of refusal against the same requests alone; each vector at the layer "
            "chosen for it.",
            f"The control persona's row, and the column “{HARMLESS}”.",
            lambda theme: category_heatmap(result, theme=theme),
        ),
    )


def _answer(result: RequestCategories) -> str:
    found = result.interaction
    if found is None:
        return (
            f"All {result.n} harmful requests are of one category: whether effects vary over "
            "categories cannot be asked."
        )
    varies = found.p < result.alpha and not found.share <= found.null_share
    return (
        f"What personas do {'varies' if varies else 'is not shown to vary'} over the "
        f"{len(result.categories)} categories: p {p_value(found.p)}, the best of all personas and "
        f"treatments accounted for (n = {result.n}). {_most(found)}"
    )


def _most(found: CategoryInteraction) -> str:
    return (
        f"Most for {found.persona} {TREATMENTS[found.treatment]}: {percent(found.share)} of the "
        f"variance of its difference from the control lies between categories "
        f"(one more null: at most "
        f"{percent(found.null_share)}), {with_interval(found.contrast)} nats between "
        f"{found.most} and {found.least}."
    )


def _effects(result: RequestCategories) -> ShownTable:
    return ShownTable(
        title="Effect by category",
        columns=(
            "Persona",
            "How",
            "Category",
            "Change (nats)",
            "Control",
            "Less control",
            "Points",
            "Answered",
            "n",
        ),
        rows=tuple(
            (
                str(row.persona),
                TREATMENTS[row.treatment],
                str(row.category),
                f"{number(row.change, signed=True)} {span(row.low, row.high)}",
                number(row.control, signed=True),
                f"{number(row.difference, signed=True)} "
                f"{span(row.difference_low, row.difference_high)}",
                number(100 * row.points, 0, signed=True),
                number(100 * row.answered, 0, signed=True),
                str(row.n),
            )
            for row in records(result.by_category)
        ),
        note="Change of refusal against the same requests alone; points: of the probability of "
        "refusal, in percent; answered: of the share judged an answer. Held against: the control "
        f"under the same treatment and layer, and {HARMLESS}.",
    )


def _tests(result: RequestCategories) -> ShownTable:
    return ShownTable(
        title="Does the difference from the control vary over categories?",
        columns=("Persona", "How", "Between categories", "p", "p, persona", "p, all"),
        rows=tuple(
            (
                str(row.persona),
                TREATMENTS[row.treatment],
                percent(row.share),
                p_value(row.p),
                p_value(row.p_persona),
                p_value(row.p_overall),
            )
            for row in records(result.by_persona)
        ),
        note="Share of its variance over requests that lies between categories. p by flipping "
        "signs of requests: alone, the largest of the persona's treatments, the largest of all.",
    )


def _limits(result: RequestCategories) -> tuple[str, ...]:
    out = ["Categories are the source's; requests of two of them differ in more than their topic."]
    if result.pooled:
        out.append(
            f"Categories of fewer than {MIN_REQUESTS} requests are taken together: "
            f"{', '.join(result.pooled)}."
        )
    if not result.n_harmless:
        out.append("There are no harmless requests to hold them against.")
    return tuple(out)


SHOWN = Shown(tell=tell, panels=panels)
"""How it is shown."""
