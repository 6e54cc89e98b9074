"""Typed views of the whole-file documents of sessions: registry entry, worktree leases, sessions index.

What does not parse, or is not of the shape, has no view (``None``): that a document is unreadable is M1's to say.
Unknown fields are legal and not looked at. Views are memoised by digest: thousands of states share a few contents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, TypeVar

from harness.checks.summary import parse_json
from harness.core.content import Content

_MEMO_LIMIT = 1 << 14
_MS = 1000

T = TypeVar("T")


class View(Generic[T]):
    """The view of a document's content: a function of its parsed JSON, memoised by digest."""

    def __init__(self, read: Callable[[Any], T | None]) -> None:
        self._read = read
        self._memo: dict[bytes, T | None] = {}

    def __call__(self, content: Content | None) -> T | None:
        """Return the view, or ``None`` for what is no document of this kind."""
        if content is None or not content.size:
            return None
        try:
            return self._memo[content.digest]
        except KeyError:
            pass
        if len(self._memo) > _MEMO_LIMIT:
            self._memo.clear()
        found = self._memo[content.digest] = self._parse(content)
        return found

    def _parse(self, content: Content) -> T | None:
        if content.chunk[-1] not in b"}] \n\r\t":
            return None  # a torn prefix mostly shows at its last byte, and costs no parse
        try:
            return self._read(parse_json(content.to_bytes()))
        except ValueError:
            return None


class RegistryEntry(NamedTuple):
    """What a registry entry says. ``kept``: the user's own settings by name, of those it carries; ``active_ms``: its
    last activity, -1 where it has none that can be read."""

    session_id: str
    cli_session_id: str
    kept: Mapping[str, str]
    active_ms: int = -1


class IndexEntry(NamedTuple):
    """What an index says of one session; times in milliseconds, -1 where the entry has none that can be read."""

    session_id: str
    full_path: str
    modified_ms: int
    message_count: int
    custom_title: str
    is_sidechain: bool


PIN, TITLE, ARCHIVED = "pin", "title", "archived"
_FLAGS = {PIN: ("isPinned", "pinned", "pin"), ARCHIVED: ("isArchived", "archived")}
_NAMES = {
    **{key: name for name, keys in _FLAGS.items() for key in keys},
    **dict.fromkeys(("title", "customTitle"), TITLE),
}


def setting_name(field: str) -> str:
    """Return which of the user's settings a field holds (pin, title, archived); other fields are their own name."""
    return _NAMES.get(field, field)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def time_ms(value: Any) -> int:
    """Return a moment in milliseconds: from ISO 8601 text or a number of milliseconds; -1 for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return -1
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return -1
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * _MS)


def _registry(value: Any) -> RegistryEntry | None:
    if not isinstance(value, dict):
        return None
    kept = {
        name: "true" if value[key] else ""
        for name, keys in _FLAGS.items()
        if (key := next((k for k in keys if k in value), None)) is not None
    }
    title = _text(value.get("customTitle"))
    if not title and value.get("titleSource", "user") == "user":
        title = _text(value.get("title"))
    if title or "title" in value:
        kept[TITLE] = title
    active_ms = time_ms(value.get("lastActivityAt"))
    return RegistryEntry(_text(value.get("sessionId")), _text(value.get("cliSessionId")), kept, active_ms)


def _leases(value: Any) -> Mapping[str, str] | None:
    worktrees = value.get("worktrees") if isinstance(value, dict) else None
    if not isinstance(worktrees, dict):
        return None
    return {
        name: lease["leasedBy"]
        for name, lease in worktrees.items()
        if isinstance(lease, dict) and isinstance(lease.get("leasedBy"), str)
    }


def _index(value: Any) -> Mapping[str, IndexEntry] | None:
    rows = value.get("entries") if isinstance(value, dict) else None
    if not isinstance(rows, list):
        return None
    found: dict[str, IndexEntry] = {}
    for row in rows:
        name = _text(row.get("sessionId")) if isinstance(row, dict) else ""
        if name:
            count = row.get("messageCount")
            found[name] = IndexEntry(
                session_id=name,
                full_path=_text(row.get("fullPath")),
                modified_ms=time_ms(row.get("modified")),
                message_count=count if isinstance(count, int) and not isinstance(count, bool) else -1,
                custom_title=_text(row.get("customTitle")),
                is_sidechain=row.get("isSidechain") is True,
            )
    return found


registry_entry: View[RegistryEntry] = View(_registry)
"""A registry entry."""
leases: View[Mapping[str, str]] = View(_leases)
"""Who leases which worktree: registry id by worktree name, of those that are leased."""
index_entries: View[Mapping[str, IndexEntry]] = View(_index)
"""The entries of a sessions index by session id; of two entries of one session the later."""
