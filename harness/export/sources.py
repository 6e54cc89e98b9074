"""The writer's own files, as an exported file carries them: those that its commands name, and what these import.

Imports are followed where they lead to a file beside: ``import x`` and ``from x import …`` of Python, relative
specifiers of JavaScript. Non-goals: what is computed at run time, packages, and anything that is no text.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Iterator

LARGEST_BYTES = 1 << 20
"""Of all sources together: what is larger is no file that somebody reads."""
_SCRIPT = re.compile(r"""(?:from|import)\s*\(?\s*["'](\.{1,2}/[^"']+)["']""")


class NotExportableError(Exception):
    """Why a finding cannot be one file; one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"this finding cannot be exported: {reason}")


def sources_of(directory: str, names: Iterable[str]) -> dict[str, str]:
    """Return the text of ``names`` and of all that they import from ``directory``, by name in order of discovery.

    Raises :class:`NotExportableError`.
    """
    found: dict[str, str] = {}
    left = list(names)
    while left:
        name = left.pop(0)
        if name in found:
            continue
        text = _text(directory, name)
        found[name] = text
        left += [each for each in _imported(name, text) if os.path.isfile(os.path.join(directory, each))]
        if sum(len(each) for each in found.values()) > LARGEST_BYTES:
            raise NotExportableError(f"the writer's sources are more than {LARGEST_BYTES:,} bytes")
    return found


def _text(directory: str, name: str) -> str:
    path = os.path.realpath(os.path.join(directory, name))
    if not path.startswith(os.path.realpath(directory) + os.sep):
        raise NotExportableError(f"the writer uses {name!r}, which is outside its directory")
    try:
        with open(path, "rb") as stream:
            return stream.read(LARGEST_BYTES + 1).decode("utf-8")
    except OSError as error:
        raise NotExportableError(f"the writer's file {name!r} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise NotExportableError(f"the writer's file {name!r} is not UTF-8 text") from None


def _imported(name: str, text: str) -> Iterator[str]:
    """Yield the names that a file's imports may mean, whether they are there or not."""
    here = os.path.dirname(name)
    if not name.endswith(".py"):
        yield from (os.path.normpath(os.path.join(here, word)) for word in _SCRIPT.findall(text))
        return
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return  # the writer's own interpreter will say so
    for node in ast.walk(tree):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            modules = [node.module] if node.module else []
            modules += [f"{node.module}.{alias.name}" if node.module else alias.name for alias in node.names]
        for module in modules:
            place = os.path.join(here, *module.split("."))
            yield from (f"{place}.py", os.path.join(place, "__init__.py"))
