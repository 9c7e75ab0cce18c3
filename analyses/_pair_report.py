"""A study of two models as one HTML file that opens offline and asks nothing of the network."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from analyses._json import json_safe
from analyses._page import OVERVIEW, SitePage, render_page, write_page
from analyses._pair_limits import pair_limits
from analyses._pair_panels import pair_panels
from analyses._pair_sections import PairSection, pair_sections
from analyses._pair_words import counted
from analyses._words import percent
from analyses.shift import Shift


def write_pair_report(result: Shift, path: Path) -> Path:
    """Path of the report, written whole or not at all; see :func:`render_pair_report`.

    Raises:
        OSError: If the disk refuses.
    """
    return write_page(render_pair_report(result), path)


def render_pair_report(result: Shift) -> str:
    """The report as HTML: same result, same text; see :func:`analyses._page.render_page`.

    It holds names of behaviours and numbers, and none of the statements: these may be of a kind
    that a report should not pass on.
    """
    sections = pair_sections(result)
    return render_page(
        "pair.html.jinja",
        pair_panels(result),
        _pages(sections),
        result=result,
        name=result.study.capitalize(),
        models=_models(result),
        facts=_facts(result),
        sections=sections,
        limits=(*(each for part in sections for each in part.told.limits), *pair_limits(result)),
        behaviours=result.data.behaviours.to_dict(orient="records"),
        settings=yaml.safe_dump(json_safe(result.settings), sort_keys=False, allow_unicode=True),
        cards={side: json_safe(card) for side, card in result.models.items()},
    )


def _pages(sections: Sequence[PairSection]) -> tuple[SitePage, ...]:
    """The site, the overview first."""
    study, about = "The study", "About"
    return (
        OVERVIEW,
        SitePage(
            key="data",
            title="What was said",
            group=study,
            about="Behaviours, and how many statements stand for each.",
        ),
        *(
            SitePage(key=each.key, title=each.title, group=study, about=each.question)
            for each in sections
        ),
        SitePage(
            key="reading", title="How to read this", group=about, about="What the words mean."
        ),
        SitePage(
            key="limits",
            title="Limits",
            group=about,
            about="What these numbers do not allow to say.",
        ),
        SitePage(
            key="provenance",
            title="Provenance",
            group=about,
            about="Models, settings, templates and versions.",
        ),
    )


def _models(result: Shift) -> dict[str, str]:
    return {side: str(card.get("model_id", side)) for side, card in result.models.items()}


def _facts(result: Shift) -> list[tuple[str, str, str]]:
    """What the study rests on: what it counts, the number, a remark."""
    scores = result.scores
    table = result.data.behaviours
    n_statements = scores.drop_duplicates(["behaviour", "statement_id"]).shape[0]
    desirable = int(table["desirable"].sum()) if len(table) else 0
    facts = [
        ("behaviours", str(len(table)), f"{desirable} good to show"),
        ("statements scored", str(n_statements), f"of {counted(len(table), 'behaviour')}"),
    ]
    for side, rows in scores.groupby("side", sort=False):
        orders = counted(rows["order"].nunique(), "order")
        mass = percent(float(rows["mass"].mean()))
        facts.append((f"of the probability is on “Yes” and “No”, {side}", mass, f"over {orders}"))
    return facts
