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
        value = _at(parse_json(data), id_key)
    except ValueError:
        return None
    if isinstance(value, dict):
        return {str(name): msgspec.json.encode(item, order="sorted") for name, item in value.items()}
    return dict.fromkeys(_ids(value), b"") if isinstance(value, list) else None


def collection_key(last: bytes, at_ack: Sequence[tuple[str, bytes]]) -> str:
    """Return where a document collects what is acknowledged, the shallowest place; an empty string if it does not.

    ``last``: the document at the end of a run; ``at_ack``: each acknowledged id, with the document at that moment. It
    holds all ids that were acknowledged by then.
    """
    names = {name for name, _ in at_ack}
    try:
        able = [key for key, item in _places(parse_json(last)) if names and names <= _ids(item)]
        held = [(name, parse_json(data)) for name, data in at_ack] if able else []
    except ValueError:
        return ""
    return next((key for key in able if _keeps(key, held)), "")


def all_ids(data: bytes) -> set[str]:
    """Return every id that a document collects, wherever; none of what is no JSON."""
    try:
        return {name for _, item in _places(parse_json(data)) for name in _ids(item)}
    except ValueError:
        return set()


def _places(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the objects and lists of a document with where they stand, by depth."""
    level: list[tuple[str, Any]] = [("", value)]
    for _ in range(_DEPTH):
        below: list[tuple[str, Any]] = []
        for key, item in level:
            yield key or WHOLE, item
            if isinstance(item, dict):
                below += [
                    (f"{key}.{name}" if key else name, child)
                    for name, child in item.items()
                    if name and "." not in name and isinstance(child, dict | list)
                ]
        level = below[:_PLACES]


def _at(value: Any, id_key: str) -> Any:
    """Return what stands at a place of a document, ``None`` where there is no such place."""
    for part in id_key.split(".") if id_key != WHOLE else ():
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _ids(item: Any) -> set[str]:
    """Return the keys of an object, the ids of a list's elements; of anything else none."""
    if isinstance(item, dict):
        return {str(name) for name in item}
    return {name for each in item if (name := _element(each)) is not None} if isinstance(item, list) else set()


def _keeps(key: str, held: Sequence[tuple[str, Any]]) -> bool:
    """Whether each document holds, at a place, its own id and all that were acknowledged before it."""
    owed: set[str] = set()
    for name, value in held:
        owed.add(name)
        if not owed <= _ids(_at(value, key)):
            return False
    return True


def _element(item: Any) -> str | None:
    return id_at(item, "id") if isinstance(item, dict) else id_at({"id": item}, "id")
