"""A study's result as one HTML file that opens offline and asks nothing of the network."""

import base64
import hashlib
import json
import os
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analyses import _words as words
from analyses._json import json_safe
from analyses._panel import Panel
from analyses._report_limits import limits
from analyses._report_panels import panels
from analyses._shown import shown_parts
from analyses._text_table import hidden_line
from analyses.persona_effects import Effect
from analyses.persona_geometry import GeometryFit
from analyses.whos_asking import WhosAsking
from lens_personas import __version__

_PACKAGES = ("torch", "transformer-lens", "transformers", "numpy", "scipy", "plotly")
_MAX_EXAMPLES = 60


def write_report(result: WhosAsking, path: Path, *, full_text: bool = False) -> Path:
    """Path of the report, written whole or not at all; see :func:`render_report`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(render_report(result, full_text=full_text), encoding="utf-8")
    os.replace(temporary, path)
    return path


def render_report(result: WhosAsking, *, full_text: bool = False) -> str:
    """The report as HTML: same result, same text.

    All text of the model and the user is escaped. The page's policy lets its own two scripts run,
    by their hashes, and nothing else; it loads nothing.

    Args:
        result: What the study found.
        full_text: Show requests and answers; otherwise only their length and label, since a
            report is passed on more freely than the data behind it.
    """
    environment = Environment(
        loader=PackageLoader("analyses", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown, parts = panels(result), shown_parts(result.parts)
    plotly, page = get_plotlyjs(), _source(environment, "report.js")
    return environment.get_template("report.html.jinja").render(
        result=result,
        words=words,
        effects=_by_persona(result, ("persona", "control")),
        refusal=_by_persona(result, ("refusal",)),
        fits=_fits(result),
        claims=_claims(result),
        hidden_line=None if result.hidden is None else hidden_line(result.hidden),
        panels=shown,
        parts=parts,
        limits=(*(each for part in parts for each in part.told.limits), *limits(result)),
        examples=_examples(result.baseline.examples, full_text),
        n_examples=len(result.baseline.examples),
        full_text=full_text,
        settings=yaml.safe_dump(json_safe(result.settings), sort_keys=False, allow_unicode=True),
        card=json_safe(result.model),
        versions=_versions(),
        style=Markup(_source(environment, "report.css")),
        figures=_figures_json(shown),
        plotly=_script(plotly),
        page=_script(page),
        policy=_policy(plotly, page),
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
            kept[key] = text if full_text else _redacted(text)
        rows.append(kept)
    return rows


def _redacted(text: str) -> str:
    """Blocks and a length: enough to tell a long answer from an empty one."""
    return f"{'▇' * min(len(text), 6)} {len(text)} characters".strip()


def _versions() -> dict[str, str]:
    found = {name: version(name) for name in _PACKAGES}
    return {"lens_personas": __version__, "python": platform.python_version(), **found}


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _script(source: str) -> Markup:
    if "</script" in source.lower():
        raise ValueError("expected a script without a closing tag in it, got one that would end it")
    return Markup(source)


def _policy(*scripts: str) -> str:
    """Content-Security-Policy under which only these scripts run and nothing is loaded."""
    run = " ".join(map(_hash, scripts))
    # plotly puts style elements and attributes of its own into the page. With no source allowed
    # for anything, a style can change what the page looks like but send nothing.
    return (
        f"default-src 'none'; script-src {run}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


@cache
def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _figures_json(shown: tuple[Panel, ...]) -> Markup:
    """Both versions of each figure, as JSON that cannot end the script element it stands in."""
    figures = {
        panel.key: {"light": _plain(panel.light), "dark": _plain(panel.dark)} for panel in shown
    }
    text = json.dumps(figures, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _plain(figure: go.Figure) -> Any:
    return json.loads(figure.to_json())
