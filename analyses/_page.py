"""What every report shares: a small site in one file that opens offline and asks for nothing."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analyses import _words as words
from analyses._panel import Panel
from lens_personas import __version__
from lens_personas.activations import replacing
from lens_personas.views import View, page_parts, source_hash

_PACKAGES = ("torch", "transformer-lens", "transformers", "numpy", "scipy", "plotly")


@dataclass(frozen=True, kw_only=True)
class SitePage:
    """One page of a report's site."""

    key: str
    """Identifier: ``#key`` opens it."""
    title: str
    """Heading, and what a link to it says."""
    group: str
    """Heading above its link."""
    about: str = ""
    """What it is about, in a sentence."""
    remark: str = ""
    """What came of it, in a few words."""


OVERVIEW: Final = SitePage(key="overview", title="Overview", group="Start")
"""The page that opens."""


def render_page(
    template: str,
    shown: Sequence[Panel],
    site: Sequence[SitePage],
    *,
    views: Mapping[str, View] | None = None,
    **content: Any,
) -> str:
    """The site as HTML: same content, same text.

    All text is escaped. The page's policy lets its own scripts run, by their hashes, and
    nothing else; it loads nothing. Without scripts it is one long page; printed too.

    Args:
        template: Name of a file in ``templates`` that extends ``site.html.jinja``; it is given
            ``content``, ``panels``, ``bodies`` (of the views, by name), ``words``, ``versions``.
        shown: Its figures.
        site: Its pages in order, the overview first.
        views: Its views by name.
        content: What else the template names.
    """
    environment = Environment(
        loader=PackageLoader("analyses", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    named = views or {}
    parts = page_parts(tuple(named.values()))
    scripts, style = [*_own_scripts(environment)], _source(environment, "report.css")
    if named:
        scripts += [*(each.source for each in parts.scripts), _source(environment, "explorer.js")]
        style += parts.css + _source(environment, "explorer.css")
    return environment.get_template(template).render(
        panels=shown,
        bodies=dict(zip(named, parts.bodies, strict=True)),
        data=parts.data,
        words=words,
        versions=_versions(),
        style=Markup(style),
        figures=_figures_json(shown),
        scripts=[_script(each) for each in scripts],
        policy=_policy(*scripts),
        **_links(site),
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


def _links(site: Sequence[SitePage]) -> dict[str, Any]:
    """The pages by group and by key, and the one before and after each."""
    groups: dict[str, list[SitePage]] = {}
    for each in site:
        groups.setdefault(each.group, []).append(each)
    return {
        "groups": groups,
        "pages": {each.key: each for each in site},
        "before": {each.key: before for before, each in pairwise(site)},
        "after": {each.key: after for each, after in pairwise(site)},
    }


def _own_scripts(environment: Environment) -> tuple[str, ...]:
    # To turn pages needs no plotly: that script comes first, so that the page is soon there.
    site, figures = (_source(environment, name) for name in ("site.js", "figures.js"))
    return site, get_plotlyjs(), figures


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
    run = " ".join(map(source_hash, scripts))
    # plotly puts style elements and attributes of its own into the page. With no source allowed
    # for anything, a style can change what the page looks like but send nothing.
    return (
        f"default-src 'none'; script-src {run}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


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
