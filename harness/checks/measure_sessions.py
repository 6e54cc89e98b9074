"""Why an invariant about sessions' documents, writers or renames says nothing about a run: it had none."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.checks.documents import index_entries, leases, registry_entry
from harness.checks.expectation import Expectation
from harness.checks.transcripts import TITLES
from harness.checks.update_invariants import collections_of
from harness.checks.versions import Version


def _any(expectation: Expectation, file_format: str, has: Callable[[Version], object]) -> bool:
    """Whether any file of a format ever held what ``has`` looks for."""
    return any(
        history.binding.format == file_format and any(has(version) for version in history.versions)
        for history in expectation.histories.values()
    )


def _points(version: Version) -> bool:
    entry = registry_entry(version)
    return entry is not None and bool(entry.cli_session_id)


def _is_set(version: Version) -> bool:
    entry = registry_entry(version)
    return entry is not None and any(entry.kept.values())


def _m3(expectation: Expectation) -> str:
    if not expectation.ack_ids:
        return "no acknowledgement was seen"
    keyed = any(r.binding.id_key for r in expectation.records.values())
    return "" if keyed or collections_of(expectation).by_path else "no file collects the ids that are acknowledged"


def _m5(expectation: Expectation) -> str:
    if _any(expectation, "registry", _points) or _any(expectation, "lease", leases):
        return ""
    return "no registry entry names a transcript and no lease a registry entry"


def _m6(expectation: Expectation) -> str:
    found = _any(expectation, "index", lambda version: index_entries(version) is not None)
    return "" if found else "no sessions index was seen"


def _m7(expectation: Expectation) -> str:
    found = _any(expectation, "transcript", lambda version: version is not None and TITLES.of(version))
    return "" if found else "no transcript was given a title"


def _m9(expectation: Expectation) -> str:
    return "" if _any(expectation, "registry", _is_set) else "no registry entry is pinned, archived or titled"


def _m10(expectation: Expectation) -> str:
    found = any(history.binding.format == "transcript" for history in expectation.histories.values())
    return "" if found else "no file of format transcript was seen"


def _w5(expectation: Expectation) -> str:
    return "" if expectation.names.moved else "the run renames nothing"


def _w7(expectation: Expectation) -> str:
    if not any(records.binding.holds_records for records in expectation.records.values()):
        return "no file of records was seen"
    return "" if len(expectation.names.writers) > 1 else "only one actor writes"


_REASONS: Mapping[str, Callable[[Expectation], str]] = {
    "M3": _m3,
    "M5": _m5,
    "M6": _m6,
    "M7": _m7,
    "M9": _m9,
    "M10": _m10,
    "W5": _w5,
    "W7": _w7,
}


def why_no_session_document(invariant: str, expectation: Expectation) -> str:
    """Return the reason, or an empty string where the run had what the invariant is about."""
    reason = _REASONS.get(invariant)
    return reason(expectation) if reason is not None else ""
