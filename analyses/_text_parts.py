"""The parts of a study and its claims in a terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from analyses._part_names import EXPLORED
from analyses._shown import ShownTable, shown_parts
from analyses._words import number, p_value, span
from analyses.claims import Headline
from analyses.whos_asking import WhosAsking

_CLAIMS_SHOWN = 12
_ROWS_SHOWN = 24


def text_parts(result: WhosAsking) -> Group:
    """Each part's finding with its first table, then what the whole study claims."""
    out: list[RenderableType] = []
    parts = shown_parts(result.parts)
    for part in parts:
        name = part.name.replace("-", " ").capitalize()
        out.append(Text.assemble((f"{name}: ", "bold"), part.told.answer))
        if part.told.tables:
            out.append(told_table(part.told.tables[0]))
        out.append(Text())
    if any(part.name not in EXPLORED for part in parts):
        out += [_claims(result.headline), Text()]
    return Group(*out)


def told_table(shown: ShownTable) -> Table:
    """A table of a part, for a terminal: its first rows."""
    left = len(shown.rows) - _ROWS_SHOWN
    more = f"{left} more rows in the report. " if left > 0 else ""
    table = Table(
        title=shown.title,
        title_justify="left",
        title_style="bold",
        caption=f"{more}{shown.note}" or None,
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    for at, name in enumerate(shown.columns):
        table.add_column(Text(name), justify="right" if at else "left")
    for row in shown.rows[:_ROWS_SHOWN]:
        # Text, not str: a persona's name may look like rich's own markup.
        table.add_row(*map(Text, row))
    return table


def _claims(headline: Headline) -> Group:
    held = headline.held
    lines = [
        Text(
            f"{len(held)} of {len(headline.claims)} claims hold after Holm over the study at "
            f"{headline.alpha}; the report says what would have refuted each.",
            style="bold",
        )
    ]
    lines += [
        Text(
            f"  {claim.statement}: {number(claim.estimate.estimate, signed=True)} "
            f"{span(claim.estimate.low, claim.estimate.high)} {claim.unit}, "
            f"p {p_value(claim.p_corrected)}, n = {claim.n}"
        )
        for claim in held[:_CLAIMS_SHOWN]
    ]
    if len(held) > _CLAIMS_SHOWN:
        lines.append(Text(f"  and {len(held) - _CLAIMS_SHOWN} more"))
    return Group(*lines)
