"""What every picture is: a piece of a page, a whole page, a frame in a notebook, a file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import plotly.graph_objects as go
from markupsafe import Markup

from lens_personas.activations import replacing
from lens_personas.views._page import asset, json_markup, policy, render
from lens_personas.views._scale import scale_css
from lens_personas.views._static import write_static
from lens_personas.views._theme import DARK, LIGHT, Theme

ThemeName = Literal["auto", "light", "dark"]
"""``auto`` follows the reader's system."""
STYLES: Final = ("views.css", "token_strip.css", "lens_grid.css", "attention.css", "plots.css")
"""Style sheets of all views, in order."""


@dataclass(frozen=True, kw_only=True)
class Script:
    """A script that views need; it stands once in a page, however many views need it.

    It tells ``LensViews.register(name, draw)`` how to draw what stands under an element with
    ``data-draw="name"``: ``draw(element, data)``, called once, when the element is first shown,
    where ``data`` is the view's. It may return a promise.
    """

    name: str
    """Its name: two scripts of one name are the same."""
    source: str
    """The text."""

    def __post_init__(self) -> None:
        """Check that it ends where it should.

        Raises:
            ValueError: If the page would take something in it for its end.
        """
        if "</script" in self.source.lower() or "<!--" in self.source:
            raise ValueError(
                f"expected the script {self.name!r} without a closing tag or comment in it, got "
                "one that would end it in a page; write them as '<\\/script' and '<\\!--'"
            )


@dataclass(frozen=True, kw_only=True)
class View:
    """A picture of a result. A notebook shows it as it is."""

    title: str
    """What it shows, in a few words."""
    body: Markup
    """One element, escaped where it is text; with no script, event attribute, ``style``
    attribute (the page's policy forbids them) or ``id`` (a page may hold it twice) in it."""
    summary: str
    """What is to be seen, in a sentence, for who does not see it."""
    scripts: tuple[Script, ...] = ()
    """What draws it, beside what every page has."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """What the scripts are given: anything that JSON holds."""
    height: int = 420
    """Pixels that a notebook gives it."""
    figure: Callable[[Theme], go.Figure] | None = None
    """The same for print: ``figure(theme)`` gives a plotly figure; None where there is none."""
    drawing: Callable[[Theme], str] | None = None
    """The same as SVG: ``drawing(theme)`` gives the text of a file; None to draw ``figure``."""

    def __post_init__(self) -> None:
        """Check that nothing in the body would run.

        Raises:
            ValueError: If there is a script in it.
        """
        if "<script" in self.body.lower():
            raise ValueError(
                "expected a body with text escaped and no script, got one with '<script' in it; "
                "make it by a template with autoescape, and give scripts as scripts="
            )

    def html(self, theme: ThemeName = "auto") -> str:
        """A whole page. It holds everything it shows, loads nothing, runs its own scripts only.

        Args:
            theme: Colours.

        Raises:
            TypeError: If the data hold what JSON cannot.
            ValueError: If a number in the data is not finite.
        """
        parts = page_parts((self,))
        style = asset("page.css") + parts.css
        page = render(
            "page.html.jinja",
            title=self.title,
            summary=self.summary,
            theme=theme,
            style=Markup(style),
            policy=policy(scripts=[each.source for each in parts.scripts], styles=[style]),
            scripts=[Markup(each.source) for each in parts.scripts],
            body=parts.bodies[0],
            data=parts.data,
        )
        return str(page)

    def save(self, path: Path | str, *, theme: ThemeName = "auto") -> Path:
        """Path of the picture, written whole or not at all.

        Args:
            path: Where to. Its ending says what is written: ``.html``, ``.svg`` or ``.png``.
            theme: Colours; ``auto`` is light in an SVG or PNG.

        Raises:
            ValueError: If the ending is another one, the view has no such picture, or matplotlib,
                which draws figures, is not installed.
            OSError: If the disk refuses.
        """
        path = Path(path)
        match path.suffix.lower():
            case ".html":
                return _write(self.html(theme), path)
            case ".svg" if self.drawing is not None:
                return _write(self.drawing(_theme(theme)), path)
            case ".svg" | ".png":
                return self._save_static(path, theme)
        raise ValueError(
            f"expected a path that ends in .html, .svg or .png, got {str(path)!r}; "
            "a report and a browser read .html, a paper .svg"
        )

    def _save_static(self, path: Path, theme: ThemeName) -> Path:
        if self.figure is None:
            raise ValueError(
                f"expected a view that has a figure for print, got {self.title!r}, which is "
                f"interactive only; save it as {path.with_suffix('.html').name!r}"
            )
        kind: Any = path.suffix.lower()[1:]
        (written,) = write_static(self.figure(_theme(theme)), path.with_suffix(""), formats=(kind,))
        return written

    def _repr_html_(self) -> str:
        """A frame for a notebook: no request, no access to the notebook."""
        page = self.html()
        return str(render("frame.html.jinja", page=page, title=self.title, height=self.height))


@dataclass(frozen=True, kw_only=True)
class PageParts:
    """Views for a page that holds several."""

    bodies: tuple[Markup, ...]
    """Each view, with an ``id`` of its own."""
    scripts: tuple[Script, ...]
    """Every script once, in the order in which they have to run; the page's policy has to admit
    them, and they come after the bodies and the data."""
    data: Markup
    """Elements that hold the data of the views; they run nothing and may stand anywhere."""
    css: str
    """Style of all views. It uses the variables ``--paper --ink --muted --rule --wash --accent
    --sans --mono`` and the ``color-scheme`` of the page."""


def page_parts(views: Sequence[View], *, prefix: str = "view") -> PageParts:
    """What a page needs to show views, each of them drawn when it is first shown.

    Args:
        views: The views, in the order of the page.
        prefix: Their ids begin with it: ``view-1``, ``view-2``, …

    Raises:
        TypeError: If data hold what JSON cannot.
        ValueError: If a number in the data is not finite, or two scripts have one name.
    """
    keys = [f"{prefix}-{number}" for number in range(1, len(views) + 1)]
    data = [
        render("data.html.jinja", key=key, data=json_markup(view.data))
        for key, view in zip(keys, views, strict=True)
        if view.data
    ]
    return PageParts(
        bodies=tuple(
            render("view.html.jinja", key=key, view=view)
            for key, view in zip(keys, views, strict=True)
        ),
        scripts=_scripts(views),
        data=Markup("\n").join(data),
        css=_css(),
    )


def _scripts(views: Sequence[View]) -> tuple[Script, ...]:
    found: dict[str, Script] = {}
    for script in (
        Script(name="views", source=asset("views.js")),
        *(each for view in views for each in view.scripts),
    ):
        if found.setdefault(script.name, script) != script:
            raise ValueError(
                f"expected one script of each name, got two called {script.name!r} that differ; "
                "rename one"
            )
    return tuple(found.values())


@cache
def _css() -> str:
    return "\n".join([*map(asset, STYLES), scale_css()])


def _theme(name: ThemeName) -> Theme:
    return DARK if name == "dark" else LIGHT


def _write(text: str, path: Path) -> Path:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
