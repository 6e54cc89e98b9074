"""Placeholders of the commands in a manifest: ``{dir}``, ``{workload}`` and their kin.

A lower-case word in braces is a placeholder or an error, never passed on; every other brace is left alone.
Code that needs ``{word}`` literally belongs in a file of the target.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from harness.catalog.schema import ManifestError, suggestion

STATIC_NAMES = frozenset({"dir", "workload", "target", "python", "package", "platform", "seed"})
"""Known before a run: state directory, workload file, target's folder, interpreter, installed package, what npm calls
this platform, seed."""
READ_NAMES = STATIC_NAMES | {"id"}
CHECK_NAMES = STATIC_NAMES | {"acked", "acks"}

_TOKEN = re.compile(r"\{([a-z_]+)\}")


def check_placeholders(where: str, text: str, names: Iterable[str]) -> None:
    """Raise :class:`ManifestError` if ``text`` uses a placeholder that is not among ``names``."""
    known = frozenset(names)
    for found in _TOKEN.finditer(text):
        if found[1] not in known:
            raise ManifestError(f"{where}: unknown placeholder {{{found[1]}}}{suggestion(found[1], known)}")


def expand(text: str, values: Mapping[str, str]) -> str:
    """Return ``text`` with the placeholders in ``values`` replaced; others stay for :func:`fill`."""
    return _TOKEN.sub(lambda found: values.get(found[1], found[0]), text)


def fill(argv: Iterable[str], **values: str) -> tuple[str, ...]:
    """Return a command with late placeholders filled in: ``id`` of a session, ``acked`` and ``acks`` for check."""
    return tuple(expand(item, values) for item in argv)
