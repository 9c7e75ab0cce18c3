"""A study of two models in a terminal."""

from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from analyses._pair_sections import PairSection, pair_sections
from analyses._shown import ShownTable
from analyses._text_parts import told_table
from analyses.shift import Shift

_KEPT: Final = {
    "distinguishability": ("W1 (nats)", "p, BH"),
    "internal": ("Model", "Layer", "AUROC", "Null", "p, BH"),
    "divergence": ("Model", "β", "Less null", "p, BH"),
    "steerability": ("Sentences", "misaligned"),
    "comparison": ("Base", "Tuned", "Up / down", "p, BH"),
}
"""Columns of a question's first table that fit into 80 characters; the report has all."""


def pair_text(result: Shift) -> Group:
    """The finding, then each question with its answer and the middle of its first table."""
    out: list[RenderableType] = [Text(result.message, style="bold"), Text(_setting(result)), Text()]
    for section in pair_sections(result):
        out.append(Text.assemble((f"{section.title}: ", "bold"), section.told.answer))
        out += [told_table(table) for table in _narrow(section)]
        out.append(Text())
    return Group(*out)


def _narrow(section: PairSection) -> list[ShownTable]:
    """The first table with the columns that fit; what is said of the others goes with them."""
    if not section.told.tables:
        return []
    table = section.told.tables[0]
    # A column of one model is headed by it: "base: AUROC".
    names = [heading.split(": ")[-1] for heading in table.columns]
    kept = [at for at, name in enumerate(names) if not at or name in _KEPT[section.key]]
    return [
        ShownTable(
            title=table.title,
            columns=tuple(table.columns[at] for at in kept),
            rows=tuple(tuple(row[at] for at in kept) for row in table.rows),
        )
    ]


def _setting(result: Shift) -> str:
    models = " against ".join(
        str(card.get("model_id", side)) for side, card in result.models.items()
    )
    scored = result.scores.drop_duplicates(["behaviour", "statement_id"])
    return (
        f"{models}, seed {result.seed}: {len(result.data.behaviours)} behaviours, "
        f"{len(scored)} statements."
    )
