"""What every report page shares: one file that opens offline and asks nothing of the network."""

import base64
import hashlib
import json
import platform
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analyses import _words as words
from analyses._panel import Panel
from lens_personas import __version__
from lens_personas.activations import replacing

_PACKAGES = ("torch", "transformer-lens", "transformers", "numpy", "scipy", "plotly")


def render_page(template: str, shown: Sequence[Panel], **content: Any) -> str:
    """The page as HTML: same content, same text.

    All text is escaped. The page's policy lets its own two scripts run, by their hashes, and
    nothing else; it loads nothing.

    Args:
        template: Name of a file in ``templates``; it is given ``content``, and ``panels``,
            ``words``, ``versions``, ``style``, ``figures``, ``plotly``, ``page`` and ``policy``.
        shown: Its figures.
        content: What else the template names.
    """
    environment = Environment(
        loader=PackageLoader("analyses", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    plotly, page = get_plotlyjs(), _source(environment, "report.js")
    return environment.get_template(template).render(
        panels=shown,
        words=words,
        versions=_versions(),
        style=Markup(_source(environment, "report.css")),
        figures=_figures_json(shown),
        plotly=_script(plotly),
        page=_script(page),
        policy=_policy(plotly, page),
        **content,
    )


def write_page(text: str, path: Path) -> Path:
    """Path of the page, written whole or not at all.

    Raises:
        OSError: If the disk refuses.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def redacted(text: str) -> str:
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


def _figures_json(shown: Sequence[Panel]) -> Markup:
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
