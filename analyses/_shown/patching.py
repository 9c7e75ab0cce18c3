"""The part on patches, in words and figures."""

import pandas as pd

from analyses._panel import Panel, panel
from analyses._patching_types import Metric, PersonaPatching, Route
from analyses._shown import _patching_figures as figures
from analyses._shown._types import Shown, ShownTable, Told
from analyses._words import MISSING, number, p_value, percent, span, with_interval
from lens_personas.statistics import Interval

_SECTION = "part-patching"
_METRICS: dict[Metric, str] = {
    "refusal": "refusal score (nats)",
    "answer": "log-probability of the known answer (nats)",
    "margin": "logit of the answer less a refusal's",
    "kl": "KL from the first user's run (nats)",
}


def tell(found: PersonaPatching) -> Told:
    """The part in words."""
    tables = (_routes(found), _path(found), _couples(found), _metrics(found))
    return Told(
        answer=_answer(found),
        tables=tuple(table for table in tables if table.rows),
        limits=_limits(found),
    )


def panels(found: PersonaPatching) -> tuple[Panel, ...]:
    """The part's figures."""
    nulls = (
        f"{found.n_nulls} pairs of a neutral user and {found.control}, swapped in the same way"
        if found.n_nulls
        else "no pair of neutral users could be made"
    )
    grids = panel(
        "patching-grids",
        _SECTION,
        "Which states carry who asks?",
        "Colour: share of the difference that one state carries, mean of putting the first user's "
        "into the second one's run and the other way round. A dot: beyond chance after correction "
        "over the cells of its grid, and beyond neutral users. Positions in the request and after "
        "it are counted from their ends.",
        f"Sign flips of whole requests, the largest of all cells; {nulls}.",
        lambda theme: figures.position_grids(found, theme=theme),
    )
    way = panel(
        "patching-way",
        _SECTION,
        "Where does it go, from the words on the user to the answer?",
        "The residual before each block: the strongest position of each part of the prompt when "
        "the first user's state is put in. Dashed: the whole difference.",
        f"Grey band: where one more pair of neutral users would fall at any position ({nulls}).",
        lambda theme: figures.way_through(found, theme=theme),
    )
    if not (found.by_cell["kind"] == "head").any():
        return grids, way
    heads = panel(
        "patching-heads",
        _SECTION,
        "Which attention heads carry it?",
        "Share of the difference that one head carries: at all positions (above), the strongest "
        "ones position by position (below). A dot: beyond chance, and beyond neutral users where "
        "the first user's state is put in.",
        f"Sign flips of whole requests; {nulls}.",
        lambda theme: figures.head_grids(found, theme=theme),
    )
    return grids, way, heads


def _answer(found: PersonaPatching) -> str:
    start = (
        f"Swapping one user for the other moves refusal by {with_interval(found.total)} nats "
        f"(n = {found.n} requests, {len(found.couples)} couples"
    )
    nulls = (
        "" if found.null_range is None else f"; one more neutral couple {span(*found.null_range)}"
    )
    if not found.beyond_nulls:
        return (
            f"{start}{nulls}): no more than between neutral users, so there is nothing to follow."
        )
    held = [route for route in found.routes if route.p < figures.ALPHA and route.beyond_nulls]
    if not held:
        return (
            f"{start}{nulls}). No place outside of the words on the user carries it beyond chance."
        )
    carried = "; ".join(
        f"{figures.KIND_NAMES[route.kind]}, {where(route)}: {_share(route.share)} of it "
        f"(p {p_value(route.p)})"
        for route in held
    )
    return f"{start}{nulls}). Strongest outside of the words on the user: {carried}."


def where(route: Route) -> str:
    """Place of a route in words."""
    head = f", head {route.head}" if route.head >= 0 else ""
    place = f", {position(route.place, route.token)}" if route.place else ""
    return f"layer {route.layer}{head}{place}"


def position(place: str, token: str) -> str:
    """A position in words.

    >>> position("after −1", "<tag>"), position("request −2", "")
    ('“<tag>” (after −1)', 'request −2')

    """
    return f"“{token}” ({place})" if token else place


def _routes(found: PersonaPatching) -> ShownTable:
    return ShownTable(
        title="The strongest place of each kind, outside of the words on the user",
        columns=("Patched", "Place", "Moved (nats)", "Share", "Neutral users", "p"),
        rows=tuple(
            (
                figures.KIND_NAMES[route.kind],
                where(route),
                with_interval(route.moved),
                _share(route.share),
                MISSING if route.null_range is None else span(*route.null_range),
                p_value(route.p),
            )
            for route in found.routes
        ),
        note=(
            "Mean of both ways; each request's number is read where the other requests move most. "
            "p is corrected over all places of the kind. Residuals of the last layers are left "
            "out: there the last token is the answer."
        ),
    )


def _path(found: PersonaPatching) -> ShownTable:
    """The strongest position of the residual at each layer."""
    table = found.by_cell
    here = table[(table["kind"] == "resid_pre") & (table["metric"] == "refusal")]
    put_in = here[here["way"] == "denoise"]
    taken = here[here["way"] == "noise"].set_index(["layer", "slot"])["share"]
    best = put_in.loc[put_in.groupby("layer")["estimate"].apply(lambda each: each.abs().idxmax())]
    rows = []
    for row in best.to_dict(orient="records"):
        removed = taken.get((row["layer"], row["slot"]), float("nan"))
        rows.append(
            (
                str(row["layer"]),
                position(str(row["place"]), str(row["token"])),
                f"{number(row['estimate'], signed=True)} {span(row['low'], row['high'])}",
                percent(row["share"]),
                percent(removed),
                p_value(row["p"]),
            )
        )
    return ShownTable(
        title="Residual by layer: the position that carries most",
        columns=("Layer", "Position", "Put in (nats)", "Share put in", "Share taken out", "p"),
        rows=tuple(rows),
        note="p is corrected over all cells of the grid.",
    )


def _couples(found: PersonaPatching) -> ShownTable:
    return ShownTable(
        title="Users whose prompts are swapped",
        columns=("First", "Second", "Refusal score, first less second (nats)"),
        rows=tuple((c.first, c.second, with_interval(c.total)) for c in found.couples),
        note=(
            f"{found.n_statements} statements said of each, in equally many tokens; n = {found.n} "
            "requests."
        ),
    )


def _metrics(found: PersonaPatching) -> ShownTable:
    return ShownTable(
        title="The same residuals under other metrics",
        columns=(
            "Metric",
            "First less second",
            "Rank correlation over cells",
            "Share at the same place",
        ),
        rows=tuple(
            (
                _METRICS[each.metric],
                with_interval(each.total),
                number(each.spearman),
                percent(each.share),
            )
            for each in found.metrics
        ),
        note="Against the refusal score, cell by cell; the first user's state put in.",
    )


def _share(share: Interval) -> str:
    if pd.isna(share.low):
        return MISSING
    return f"{percent(share.estimate)} [{percent(share.low)}, {percent(share.high)}]"


def _limits(found: PersonaPatching) -> tuple[str, ...]:
    out = [
        "Shares of single places overlap and do not add up: what one state carries, later ones "
        "carry on.",
        "A state that carries nothing alone may still do so together with others.",
        "Only positions that all prompts have are in tables and figures.",
        f"Intervals are over {found.n} requests with these couples; other users may differ.",
    ]
    if found.left_out:
        out.append(f"Left out: {'; '.join(found.left_out[:5])}.")
    return tuple(out)


SHOWN = Shown(tell=tell, panels=panels)
