"""One file that opens offline, runs its own scripts and no others, and asks for nothing."""

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def render(template: str, **content: Any) -> Markup:
    """A template of this folder, filled in; all text in it is escaped.

    Args:
        template: Name of a file in ``templates``.
        content: What it names.

    Raises:
        jinja2.TemplateError: If there is no such template, or it names what is not given.
    """
    return Markup(_environment().get_template(template).render(**content).strip())


@cache
def asset(name: str) -> str:
    """Text of a style sheet or script in ``templates``, as it is.

    Raises:
        FileNotFoundError: If there is none of that name.
    """
    return files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


def json_markup(data: Any) -> Markup:
    r"""JSON that cannot end the script element it stands in.

    >>> json_markup({"token": "</script>"})
    Markup('{"token":"\\u003c/script\\u003e"}')

    Raises:
        ValueError: If a number in it is not finite: JSON has none.
        TypeError: If it holds what JSON cannot.
    """
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def policy(*, scripts: Sequence[str], styles: Sequence[str]) -> str:
    """Content-Security-Policy under which only these scripts and styles work; nothing is loaded."""
    run = " ".join(map(source_hash, scripts)) or "'none'"
    look = " ".join(map(source_hash, styles)) or "'none'"
    return (
        f"default-src 'none'; script-src {run}; style-src {look}; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def source_hash(source: str) -> str:
    """What a policy calls the script or style of this text."""
    digest = hashlib.sha256(source.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("lens_personas.views", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
