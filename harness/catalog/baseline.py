"""``[[known]]`` findings in a TOML file: read, and refused with one line where it is not filled in.

Non-goals: judging a run by it (:mod:`harness.report.baseline`).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from datetime import date
from typing import Any

import msgspec

from harness.catalog.schema import ManifestError, convert, in_checkout, read_toml
from harness.core.baseline import PLACEHOLDER, Cause, Known
from harness.core.verdict import fingerprint_of

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LINK = re.compile(r"https?://[!-~]{1,500}|[#A-Za-z0-9][#A-Za-z0-9_./-]{0,100}")
_FINGERPRINT = re.compile(r"[0-9a-f]{32}")


class _KnownSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    fingerprint: str
    link: str
    expires: str
    note: str = ""
    cause: Cause | None = None


class _BaselineFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    known: tuple[_KnownSection, ...] = ()


def load_baseline(path: str) -> tuple[Known, ...]:
    """Return the known findings of a file. Raises :class:`ManifestError` on the first mistake."""
    shown = in_checkout(path)
    tables = read_toml(path, shown)
    seen: dict[str, int] = {}
    out = []
    for number, item in enumerate(convert(shown, _plain(tables), _BaselineFile).known, 1):
        where = f"{shown}: [known {number}]"
        if not _FINGERPRINT.fullmatch(item.fingerprint):
            raise ManifestError(
                f"{where} fingerprint: {item.fingerprint!r} is not one; valid: 32 digits of 0-9 and a-f"
            )
        if item.fingerprint in seen:
            raise ManifestError(
                f"{where} fingerprint: {item.fingerprint} stands in [known {seen[item.fingerprint]}] already"
            )
        seen[item.fingerprint] = number
        if not item.link.strip() or item.link == PLACEHOLDER:
            raise ManifestError(f"{where} link: not filled in; say where {item.fingerprint} is tracked")
        if not _LINK.fullmatch(item.link):
            raise ManifestError(
                f"{where} link: {item.link[:60]!r} is not one; valid: https://… or a name as #7 or CORE-12"
            )
        if item.cause is not None and fingerprint_of(**msgspec.structs.asdict(item.cause)) != item.fingerprint:
            raise ManifestError(f"{where} cause: not the one that {item.fingerprint} is the fingerprint of")
        out.append(
            Known(
                fingerprint=item.fingerprint,
                link=item.link,
                expires=_date(where, item.expires),
                note=item.note,
                cause=item.cause,
            )
        )
    return tuple(out)


def _plain(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables with dates as text: those of TOML may carry a time, which says nothing here."""
    known = tables.get("known")
    if not isinstance(known, list):
        return dict(tables)
    items = [
        {
            key: str(value) if key == "expires" and hasattr(value, "isoformat") else value
            for key, value in item.items()
        }
        if isinstance(item, dict)
        else item
        for item in known
    ]
    return {**tables, "known": items}


def _date(where: str, value: str) -> date:
    if value in ("", PLACEHOLDER):
        raise ManifestError(
            f"{where} expires: not filled in; say the last day on which it may be there, YYYY-MM-DD"
        )
    if _DATE.fullmatch(value):
        with contextlib.suppress(ValueError):  # no such day
            return date.fromisoformat(value)
    raise ManifestError(f"{where} expires: {value!r} is not a date; valid: YYYY-MM-DD")
