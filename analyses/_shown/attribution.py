"""The part on attribution, in words and figures."""

import math

from analyses._attribution_types import Agreement, PersonaAttribution
from analyses._panel import Panel, panel
from analyses._shown import _attribution_figures as figures
from analyses._shown._records import records
from analyses._shown._types import Shown, ShownTable, Told
from analyses._words import number, p_value, percent, span, with_interval
from lens_personas.statistics import FaithfulnessCurve, Interval

_SECTION = "part-attribution"


def tell(found: PersonaAttribution) -> Told:
    """The part in words."""
    tables = (_agreements(found), _curve(found), _edges(found))
    return Told(
        answer=_answer(found),
        tables=tuple(table for table in tables if table.rows),
        limits=_limits(found),
    )


def panels(found: PersonaAttribution) -> tuple[Panel, ...]:
    """The part's figures."""
    cells = panel(
        "attribution-cells",
        _SECTION,
        "Do gradients foretell what a patch does?",
        "A mark is a cell: what its patch was foretold to move, and what it moved, mean over "
        f"requests and couples (n = {found.n}). On the dotted line it did as foretold; ρ is the "
        "rank correlation over cells.",
        "Every cell was patched for real; cells that change nothing are left out.",
        lambda theme: figures.foretold_cells(found, theme=theme),
    )
    if found.curve is None:
        return (cells,)
    edges = panel(
        "attribution-edges",
        _SECTION,
        "Which edges between parts are foretold to carry who asks?",
        "What an edge is foretold to carry of the difference when it alone hands on the first "
        "user's state; circles carry it the other way.",
        "The edges were chosen by these numbers; the next figure runs them on "
        f"{'other requests' if found.curve_apart else 'the same requests'}.",
        lambda theme: figures.top_edges(found, theme=theme),
    )
    curve = panel(
        "attribution-curve",
        _SECTION,
        "How many edges does it take?",
        "Left: share of the difference that is there when the first edges alone carry the first "
        "user's states (100 % for all edges). Right: share that is left when they are cut; one "
        "edge that all has to pass leaves nothing. "
        f"Run for real on {found.n_curve} requests.",
        f"Grey: the range of {found.curve.n_random} random circuits of the same size, put "
        "together from paths.",
        lambda theme: figures.faithfulness(found, theme=theme),
    )
    return cells, edges, curve


def _answer(found: PersonaAttribution) -> str:
    first = [each for each in found.agreements if each.kind == "resid_pre"]
    told = "; ".join(f"{figures.SHORT_KINDS[e.kind]}, {e.method}: {_ranks(e)}" for e in first)
    rest = [each for each in found.agreements if each not in first]
    ranks = [each.spearman.estimate for each in rest if math.isfinite(each.spearman.estimate)]
    if ranks:
        kinds = ", ".join(dict.fromkeys(figures.SHORT_KINDS[each.kind] for each in rest))
        told += f"; {kinds}: {number(min(ranks))} to {number(max(ranks))}"
    text = (
        f"Rank correlation of foretold with real patches over cells (n = {found.n} requests, "
        f"{len(found.couples)} couples): {told}."
    )
    if found.curve is None:
        return f"{text} Edges are not defined on this model."
    return f"{text} {_curve_said(found, found.curve)}"


def _ranks(each: Agreement) -> str:
    return f"{number(each.spearman.estimate)} {span(each.spearman.low, each.spearman.high)}"


def _curve_said(found: PersonaAttribution, curve: FaithfulnessCurve) -> str:
    where = "other requests" if found.curve_apart else "the requests that they were ranked on"
    if curve.reached is None:
        largest = curve.points[-1]
        return (
            f"On {where} no number of edges that was tried carries {percent(curve.share)} of the "
            f"difference alone: the first {largest.size} of {found.n_edges} carry "
            f"{percent(largest.faithfulness.estimate)}."
        )
    (point,) = (each for each in curve.points if each.size == curve.reached)
    return (
        f"On {where} the first {point.size} of {found.n_edges} edges alone carry "
        f"{percent(point.faithfulness.estimate)} of the difference "
        f"[{percent(point.faithfulness.low)}, {percent(point.faithfulness.high)}], random "
        f"circuits as large {percent(point.random.mean)}, at most {percent(point.random.high)}; "
        f"without these edges {percent(point.left.estimate)} is left."
    )


def _agreements(found: PersonaAttribution) -> ShownTable:
    return ShownTable(
        title="Foretold against real, by what is patched",
        columns=(
            "Patched",
            "Gradients",
            "Cells",
            "Rank correlation",
            "By pair",
            "Halves of the requests",
            "Real for each nat foretold",
            "Among the top",
            "Top cells shared",
        ),
        rows=tuple(
            (
                figures.SHORT_KINDS[each.kind],
                each.method,
                str(each.n_cells),
                _ranks(each),
                with_interval(each.by_pair, signed=False),
                number(each.halves),
                number(each.slope),
                number(each.top_spearman),
                f"{each.top_shared} of {each.top}",
            )
            for each in found.agreements
        ),
        note=(
            "Intervals over requests. Halves: the real grid of one half of the requests against "
            "the other's, for comparison. Top: the cells foretold to move "
            "most, all patched for real."
        ),
    )


def _curve(found: PersonaAttribution) -> ShownTable:
    points = () if found.curve is None else found.curve.points
    return ShownTable(
        title="What the first edges carry",
        columns=("Edges", "Alone", "Random circuits alone", "p", "Left without them", "Random"),
        rows=tuple(
            (
                str(each.size),
                f"{percent(each.faithfulness.estimate)} {_bounds(each.faithfulness)}",
                f"{percent(each.random.mean)} [{percent(each.random.low)}, "
                f"{percent(each.random.high)}]",
                p_value(each.random.p),
                percent(each.left.estimate),
                percent(each.random_left.mean),
            )
            for each in points
        ),
        note=(
            f"n = {found.n_curve} requests. Random: mean and range of as large circuits; p is the "
            "rank among them, no smaller than one in their number and one."
        ),
    )


def _bounds(interval: Interval) -> str:
    if not math.isfinite(interval.low):
        return ""
    return f"[{percent(interval.low)}, {percent(interval.high)}]"


def _edges(found: PersonaAttribution) -> ShownTable:
    return ShownTable(
        title="Edges foretold to carry most",
        columns=("Rank", "From", "To", "Foretold (nats)", "Share"),
        rows=tuple(
            (
                str(each.rank),
                each.source,
                each.target,
                f"{number(each.estimate, signed=True)} {span(each.low, each.high)}",
                percent(each.share),
            )
            for each in records(found.edges)
        ),
        note="Gradients averaged on the way from the second user's words to the first one's.",
    )


def _limits(found: PersonaAttribution) -> tuple[str, ...]:
    out = [
        "A gradient foretells small steps: where a state saturates the model, it is wrong, and "
        "the slope beside 1 says by how much.",
        "A rank correlation over cells is no test: neighbouring cells are alike.",
        "This part claims nothing of users; it checks a method against patches.",
    ]
    if found.curve is not None:
        out.append(
            "An edge into an attention stands for queries, keys and values of all its heads."
        )
        if not found.curve_apart:
            out.append("Edges were ranked and run on the same requests: the curve flatters them.")
    return tuple(out)


SHOWN = Shown(tell=tell, panels=panels)
