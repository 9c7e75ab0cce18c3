"""A study's result as one HTML file that opens offline and asks nothing of the network."""

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from analyses import _words as words
from analyses._json import json_safe
from analyses._page import redacted, render_page, write_page
from analyses._report_explorer import explorer
from analyses._report_limits import limits
from analyses._report_pages import report_pages
from analyses._report_panels import panels
from analyses._shown import shown_parts
from analyses._text_table import hidden_line
from analyses.persona_effects import Effect
from analyses.persona_geometry import GeometryFit
from analyses.whos_asking import WhosAsking

_MAX_EXAMPLES = 60


def write_report(result: WhosAsking, path: Path, *, full_text: bool = False) -> Path:
    """Path of the report, written whole or not at all; see :func:`render_report`."""
    return write_page(render_report(result, full_text=full_text), path)


def render_report(result: WhosAsking, *, full_text: bool = False) -> str:
    """The report as HTML: same result, same text; see :func:`analyses._page.render_page`.

    Args:
        result: What the study found.
        full_text: Show requests and answers; otherwise only their length and label, since a
            report is passed on more freely than the data behind it.
    """
    parts = shown_parts(result.parts)
    talks = result.parts.conversations
    explored = None if talks is None else explorer(talks, full_text=full_text)
    return render_page(
        "report.html.jinja",
        panels(result),
        report_pages(result, parts),
        result=result,
        effects=_by_persona(result, ("persona", "control")),
        refusal=_by_persona(result, ("refusal",)),
        fits=_fits(result),
        claims=_claims(result),
        hidden_line=None if result.hidden is None else hidden_line(result.hidden),
        parts=parts,
        views={} if explored is None else explored.views,
        explorer=explored,
        limits=(*(each for part in parts for each in part.told.limits), *limits(result)),
        examples=_examples(result.baseline.examples, full_text),
        n_examples=len(result.baseline.examples),
        full_text=full_text,
        settings=yaml.safe_dump(json_safe(result.settings), sort_keys=False, allow_unicode=True),
        card=json_safe(result.model),
    )


def _by_persona(result: WhosAsking, kinds: tuple[str, ...]) -> list[tuple[str, list[Effect]]]:
    """Rows of a table: each persona with its treatments."""
    grouped: dict[str, list[Effect]] = {}
    for effect in words.in_order(result.effects.effects):
        if effect.kind in kinds:
            grouped.setdefault(effect.persona, []).append(effect)
    return list(grouped.items())


def _fits(result: WhosAsking) -> list[GeometryFit]:
    fits = () if result.geometry is None else result.geometry.fits
    order = list(words.TREATMENTS)
    return sorted(fits, key=lambda fit: (fit.reference, order.index(fit.treatment)))


def _claims(result: WhosAsking) -> tuple[int, int]:
    tested = [e for e in result.effects.effects if e.kind == "persona"]
    return sum(e.claim for e in tested), len(tested)


def _examples(table: pd.DataFrame, full_text: bool) -> list[dict[str, Any]]:
    rows = []
    for row in table.head(_MAX_EXAMPLES).to_dict(orient="records"):
        kept = {str(key): value for key, value in row.items()}
        for key in ("text", "answer"):
            text = str(kept[key])
            kept[key] = text if full_text else redacted(text)
        rows.append(kept)
    return rows
