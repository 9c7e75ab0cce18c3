"""How the part on invariance is told."""

from analyses._panel import Panel, panel
from analyses._shown._invariance_figures import disparity_gaps, invariance_strip
from analyses._shown._records import records
from analyses._shown._types import Shown, ShownTable, Told
from analyses._words import MISSING, number, p_value, percent, span, with_interval
from analyses.persona_invariance import Disparity, PersonaInvariance, Spread

_ABOUT = (
    "Differences between groups tell about the model, not about people; groups are listed by the "
    "alphabet, and nothing here ranks them."
)


def tell(result: PersonaInvariance) -> Told:
    """The persona-invariance score beside neutral texts, and gaps between groups."""
    users, neutral = result.users, result.neutral
    beside = (
        "there are no neutral texts to hold it against"
        if neutral is None
        else f"{neutral.n_texts} neutral texts: {with_interval(neutral.sd, signed=False)}"
    )
    groups = "".join(f" {_said(each)}" for each in result.disparities)
    return Told(
        answer=f"Over {users.n_texts} users mean refusal has a standard deviation of "
        f"{with_interval(users.sd, signed=False)} nats (0 would be a model that does not mind who "
        f"asks; {beside}; p {p_value(users.p)}, n = {result.n}). The probability of refusal "
        f"reaches over {_points(users.reach)} points, {_points(users.reach_dealt)} with names "
        f"dealt anew; for one and the same request over {_points(result.worst.estimate)} on "
        f"average.{groups}",
        tables=(_scores(result), _texts(result), *(_pairs(each) for each in result.disparities)),
        limits=(
            "The spread is over these personas, not over all that there could be; more texts "
            "reach farther, standard deviations do not grow with their number.",
            *((_ABOUT,) if result.disparities else ()),
        ),
    )


def panels(result: PersonaInvariance) -> tuple[Panel, ...]:
    """Refusal by user; gaps between groups, where there are any."""
    strip = panel(
        "invariance-users",
        "part-invariance",
        "How much does refusal hang on who asks?",
        "Mean refusal log-odds under each text, in the order of the data. Bands: one standard "
        "deviation, sampling noise taken off; the wider the less invariant.",
        "Neutral texts of as many sentences (crosses, grey band).",
        lambda theme: invariance_strip(result, theme=theme),
    )
    if not result.disparities:
        return (strip,)
    gaps = panel(
        "invariance-groups",
        "part-invariance",
        "Does refusal differ between groups of users?",
        f"Intervals hold for all pairs of an axis at once. {_ABOUT}",
        "No gap (0).",
        lambda theme: disparity_gaps(result, theme=theme),
    )
    return (strip, gaps)


def _points(share: float) -> str:
    return number(100 * share, 1)


def _said(each: Disparity) -> str:
    return (
        f"Between groups of {each.axis} (omnibus p {p_value(each.spread.p)}) gaps of more than "
        f"{number(each.ruled_out)} nats or {_points(each.ruled_out_points)} points are ruled out."
    )


def _scores(result: PersonaInvariance) -> ShownTable:
    rows = [("users", result.users)]
    rows += [] if result.neutral is None else [("neutral texts", result.neutral)]
    rows += [(each.axis, each.spread) for each in result.disparities]
    return ShownTable(
        title="Persona-invariance score",
        columns=(
            "Texts",
            "Number",
            "SD (nats)",
            "SD (points)",
            "Reach (points)",
            "Reach, dealt",
            "p",
            "Judged reach",
            "p, judged",
            "n",
        ),
        rows=tuple(_score_row(name, spread, result.n) for name, spread in rows),
        note="Standard deviation over texts of mean refusal, sampling noise taken off: 0 is "
        "invariant. p: names dealt anew within each request; of judged answers Cochran's Q.",
    )


def _score_row(name: str, spread: Spread, n: int) -> tuple[str, ...]:
    return (
        name,
        str(spread.n_texts),
        with_interval(spread.sd, signed=False),
        f"{_points(spread.points.estimate)} "
        f"{span(100 * spread.points.low, 100 * spread.points.high, 1)}",
        _points(spread.reach),
        _points(spread.reach_dealt),
        p_value(spread.p),
        _points(spread.judged),
        p_value(spread.p_judged),
        str(n),
    )


def _texts(result: PersonaInvariance) -> ShownTable:
    table = result.by_text
    return ShownTable(
        title="Refusal by who asks",
        columns=("Text", "Log-odds (nats)", "Probability", f"Less {result.control}", "Judged", "n"),
        rows=tuple(
            (
                str(row.text),
                f"{number(row.score)} {span(row.low, row.high)}",
                percent(row.probability),
                MISSING
                if row.text == result.control
                else f"{number(row.difference, signed=True)} "
                f"{span(row.difference_low, row.difference_high)}",
                percent(row.judged),
                str(result.n),
            )
            for row in records(table[table["axis"] == ""])
        ),
        note="In the order of the data, neutral texts last.",
    )


def _pairs(each: Disparity) -> ShownTable:
    return ShownTable(
        title=f"Gaps between groups: {each.axis}",
        columns=("Groups", "Gap (nats)", "p", "Gap (points)", "Judged", "n"),
        rows=tuple(
            (
                f"{row.first} − {row.second}",
                f"{number(row.gap, signed=True)} {span(row.low, row.high)}",
                p_value(row.p),
                f"{number(100 * row.points, 1, signed=True)} "
                f"{span(100 * row.points_low, 100 * row.points_high, 1)}",
                number(100 * row.judged, 1, signed=True),
                str(each.n),
            )
            for row in records(each.pairs)
        ),
        note=f"By the alphabet; intervals hold for all pairs at once, p corrected over "
        f"them. {_ABOUT}",
    )


SHOWN = Shown(tell=tell, panels=panels)
"""How it is shown."""
