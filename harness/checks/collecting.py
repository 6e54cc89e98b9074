"""Documents that collect what is acknowledged: an object whose keys, or a list whose elements, are ids.

Where the collection stands in a document is its ``id_key``, a dotted path; :data:`WHOLE` is the document itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from harness.checks.expectation import id_at
from harness.checks.summary import parse_json

_DEPTH = 3
_PLACES = 64
"""How deep, and in how many objects per level, a collection is looked for in a document that nobody described."""
WHOLE = "$"
"""The ``id_key`` of a document that is the collection itself."""


def collected(data: bytes, id_key: str) -> Mapping[str, bytes] | None:
    """Return the ids a document collects at ``id_key``, each with its value as bytes; ``None`` if it collects none.

    The elements of a list have no value beside themselves; those that are objects are known by their ``id``.
    """
    try:
        value = parse_json(data)
    except ValueError:
        return None
    for part in id_key.split(".") if id_key != WHOLE else ():
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    if isinstance(value, dict):
        return {str(name): msgspec.json.encode(item, order="sorted") for name, item in value.items()}
    if isinstance(value, list):
        return {name: b"" for item in value if (name := _element(item)) is not None}
    return None


def collection_key(last: bytes, at_ack: Sequence[tuple[str, bytes]]) -> str:
    """Return where a document collects what is acknowledged, the shallowest place; an empty string if it does not.

    ``last``: the document at the end of a run; ``at_ack``: each acknowledged id, with the document at that moment. It
    holds all ids that were acknowledged by then.
    """
    try:
        value = parse_json(last)
    except ValueError:
        return ""
    names = {name for name, _ in at_ack}
    if not names:
        return ""
    return next((key for key in _places(value) if _collects(key, last, names) and _keeps(key, at_ack)), "")


def all_ids(data: bytes) -> set[str]:
    """Return every id that a document collects, wherever; none of what is no JSON."""
    try:
        value = parse_json(data)
    except ValueError:
        return set()
    return {name for key in _places(value) for name in collected(data, key) or {}}


def _places(value: Any) -> Iterator[str]:
    """Yield where objects and lists stand in a document, by depth."""
    level: list[tuple[str, Any]] = [("", value)]
    for _ in range(_DEPTH):
        below: list[tuple[str, Any]] = []
        for key, item in level:
            yield key or WHOLE
            if isinstance(item, dict):
                below += [
                    (f"{key}.{name}" if key else name, child)
                    for name, child in item.items()
                    if name and "." not in name and isinstance(child, dict | list)
                ]
        level = below[:_PLACES]


def _collects(key: str, data: bytes, names: set[str]) -> bool:
    return names <= (collected(data, key) or {}).keys()


def _keeps(key: str, at_ack: Sequence[tuple[str, bytes]]) -> bool:
    return all(
        _collects(key, data, {name for name, _ in at_ack[: number + 1]}) for number, (_, data) in enumerate(at_ack)
    )


def _element(item: Any) -> str | None:
    return id_at(item, "id") if isinstance(item, dict) else id_at({"id": item}, "id")
