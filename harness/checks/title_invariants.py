"""M7: the last acknowledged title of a session is found by those who parse it and by those who scan its end."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from harness.checks.invariant import check
from harness.checks.lister import HEAD_BYTES
from harness.checks.transcripts import TITLES
from harness.checks.versions import History
from harness.checks.view import FileView
from harness.core.content import Content
from harness.core.verdict import Damage, Violation

_TITLE = re.compile(rb'"customTitle": ?"((?:[^"\\]|\\.)*)"', re.DOTALL)


@check("M7", "file", frozenset({"transcript"}))
def last_title_is_found(file: FileView) -> Sequence[Violation]:
    """A strict parse finds the acknowledged title or a later one, and a scan of the last 64 KiB finds the same.

    A title in a torn tail that the next opener cuts off is one in flight: the scan is asked of what stays.
    """
    history = _history(file)
    if history is None or file.off_script:
        return ()
    at = min(file.acked, len(history.at_ack) - 1)
    held = history.at_ack[at]
    if held is None or not TITLES.of(held) or history.versions[0] == file.content:
        return ()
    titles = TITLES.of(file.content)
    if not _allowed(history, at, held).intersection(titles):
        return (_violation(file, "lost", "a strict parse does not find the acknowledged title"),)
    healed = file.binding.torn_tail == "healed"
    scanned = scan_title(file.content, file.lines.tail_start if healed else file.content.size)
    if scanned == titles[-1]:
        return ()
    damage: Damage = "unreadable" if scanned is None else "stale"
    what = "no title" if scanned is None else "another title"
    return (_violation(file, damage, f"a scan of the last 64 KiB finds {what} where a strict parse finds one"),)


def _history(file: FileView) -> History | None:
    if file.records is None:
        return None
    own = file.expectation.histories.get(file.path)
    if own is not None:
        return own
    return file.records.histories[0] if len(file.records.histories) == 1 else None


def _allowed(history: History, at: int, held: Content) -> set[str]:
    """Return the acknowledged title and the titles that the run gave later."""
    known = TITLES.of(held)
    later = [version for version in history.versions[history.version_at_ack[at] :] if version is not None]
    return {known[-1], *(title for version in later for title in TITLES.of(version)[len(known) :])}


def scan_title(content: Content, end: int) -> str | None:
    """Return the last title that a text search of the 64 KiB before ``end`` finds."""
    found = _TITLE.findall(content.read(max(0, end - HEAD_BYTES), end))
    if not found:
        return None
    raw: bytes = found[-1]
    try:
        text: str = json.loads(b'"' + raw + b'"')
    except ValueError:
        return raw.decode("utf-8", "replace")
    return text


def _violation(file: FileView, damage: Damage, message: str) -> Violation:
    return Violation(
        invariant="M7", path=file.path, damage=damage, message=f"{message} ({file.content.size} bytes)"
    )
