"""Text of strangers on a page: every value that a template puts out passes here.

Two layers, neither of which a template can forget: ``finalize`` makes controls, bidi marks and surrogates visible
(:mod:`harness.report.escape`), jinja's autoescape makes the rest inert. Sentences that other modules compose mark
the names in them with :func:`show`, and :func:`prose` sets those as code. The page allows no inline style and no
script but its own, by hash.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from harness.report.escape import middle, plain

NAME_CHARS = 120
"""A name in a sentence or a table is cut to this; its middle goes."""
TEXT_CHARS = 4_000
"""No text of a stranger is longer."""
_OPEN, _CLOSE = "\ue000", "\ue001"
_NAMES = re.compile(f"{_OPEN}([^{_CLOSE}]*){_CLOSE}")


def show(text: str) -> str:
    """Return a name, marked for :func:`prose`. The marks are private-use characters: a stranger's are shown as text."""
    return f"{_OPEN}{middle(text, NAME_CHARS)}{_CLOSE}" if text else ""


def prose(text: str) -> Markup:
    """Return a sentence with its names set as code."""
    parts = _NAMES.split(text)
    out = Markup()
    for number, part in enumerate(parts):
        safe = escape(plain(part, TEXT_CHARS))
        out += Markup("<code>{}</code>").format(safe) if number % 2 else safe
    return out


def name(text: str, limit: int = NAME_CHARS) -> Markup:
    """Return a name as code, with a title where it was cut."""
    short = middle(text, limit)
    broken = Markup("/<wbr>").join(escape(part) for part in short.split("/"))
    if short == text:
        return Markup("<code>{}</code>").format(broken)
    return Markup('<code title="{}">{}</code>').format(middle(text, 4 * NAME_CHARS), broken)


def _finalize(value: Any) -> Any:
    if isinstance(value, Markup):
        return value
    return plain(value, TEXT_CHARS) if isinstance(value, str) else value


def environment() -> Environment:
    """Return the environment of the page's templates."""
    made = Environment(
        loader=PackageLoader("harness.report.html", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
        finalize=_finalize,
    )
    made.filters["prose"] = prose
    made.filters["name"] = name
    made.filters["middle"] = middle
    made.filters["number"] = "{:,}".format
    return made


def asset(made: Environment, file: str) -> tuple[Markup, str]:
    """Return a style sheet or script of the package as it stands, and its hash for the content security policy."""
    assert made.loader is not None
    source = made.loader.get_source(made, file)[0]
    digest = base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")
    return Markup(source), f"'sha256-{digest}'"
