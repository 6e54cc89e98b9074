"""What a campaign did not measure or see, short enough for a terminal and said once; ``report.md`` has all of it.

Notices of several variants with the same text become one; the invariants that nothing measured become a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.core.event import Notice
from harness.core.fault import FAULT_CLASSES
from harness.report.escape import plain
from harness.report.sentence import not_asked
from harness.report.view import RunView

NOTE_CHARS = 220
_NOT_MEASURED = "not measured: "
_LIFE = re.compile(r"life \d+ on ")
_ID = re.compile(r"\b[BGTMW]\d+\b(?=[^()]* under )")


def short_notes(view: RunView) -> list[str]:
    """Return the notes of a campaign, one line each, safe to show."""
    unmeasured = [item for item in view.notices if item.text.startswith(_NOT_MEASURED)]
    lives = [item for item in view.notices if _LIFE.match(item.text)]
    rest = [item for item in view.notices if item not in unmeasured and item not in lives]
    return [
        *_together(rest),
        *_lives(lives),
        *_unmeasured(unmeasured),
        *filter(None, [_asked(view) or not_asked(view)]),
    ]


def _together(notices: Iterable[Notice]) -> list[str]:
    by_text: dict[str, list[str]] = {}
    for item in notices:
        by_text.setdefault(item.text, []).append(item.target)
    out = []
    for text, targets in by_text.items():
        named = [target for target in dict.fromkeys(targets) if target]
        who = f"{plain(named[0])}: " if len(named) == 1 else (f"{len(named)} writers: " if named else "")
        out.append(plain(who, NOTE_CHARS) + plain(text, NOTE_CHARS))
    return out


def _lives(notices: Iterable[Notice]) -> list[str]:
    by_target: dict[str, int] = {}
    for item in notices:
        by_target[item.target] = by_target.get(item.target, 0) + 1
    if not by_target:
        return []
    told = ", ".join(f"{plain(name)} {number}" for name, number in by_target.items())
    return [f"Starts and ends one after the other, each with a line in the report: {told}."]


def _unmeasured(notices: Iterable[Notice]) -> list[str]:
    """Return one line for the invariants that nothing judged: of one variant in full, of several their ids."""
    notices = list(notices)
    if len(notices) == 1:
        return _together(notices)
    ids: dict[str, int] = {}
    for item in notices:
        for name in dict.fromkeys(_ID.findall(item.text)):
            ids[name] = ids.get(name, 0) + 1
    if not ids:
        return _together(notices)
    shown = ", ".join(
        f"{name} of {number}" if number < len(notices) else name for name, number in sorted(ids.items())
    )
    return [f"Not measured of {len(notices)} writers, reasons in the report: {shown}"]


def _asked(view: RunView) -> str:
    """Return, of a campaign of several parts, which fault classes each was asked for; empty for one part."""
    if len(view.parts) < 2:
        return ""
    asked = []
    for part in view.parts:
        tried = {line.fault_class for case in view.cases if case.part == part.name for line in case.classes}
        asked.append(f"{plain(part.name)} {', '.join(name for name in FAULT_CLASSES if name in tried) or 'none'}")
    return f"Tried, and nothing else was asked for: {'; '.join(asked)}."
