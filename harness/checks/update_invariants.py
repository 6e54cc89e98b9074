"""M3 and W9: what was acknowledged is there, after several writers at once, and after a signal.

M3 judges documents that collect the updates of several writers: ``id_key`` leads to an object whose keys, or to a
list whose elements, are the ids that acknowledgements name; ``$`` is the document itself. Such a collection only
grows: a target that takes ids out again cannot have this binding. Lost records are lost updates too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from weakref import WeakKeyDictionary

import msgspec

from harness.checks.collecting import collected
from harness.checks.expectation import Expectation
from harness.checks.invariant import check
from harness.checks.record_invariants import acknowledged_records_are_there
from harness.checks.summary import is_json
from harness.checks.versions import History
from harness.checks.view import TreeView
from harness.core.content import Content
from harness.core.verdict import Violation

_IDS_SHOWN = 8


class _Collections:
    """The documents of a run that collect ids: what each version of each collected."""

    def __init__(self, expectation: Expectation) -> None:
        self.by_path: dict[str, list[Mapping[str, bytes]]] = {}
        for path, history in expectation.histories.items():
            if history.binding.holds_document and history.binding.id_key:
                versions = [_of_version(history, version) for version in history.versions]
                if any(version is not None for version in versions):
                    self.by_path[path] = [version or {} for version in versions]

    def owners(self, name: str) -> list[str]:
        """Return the documents that ever collected an id."""
        return [path for path, versions in self.by_path.items() if any(name in version for version in versions)]

    def values(self, path: str, name: str, version: int) -> set[bytes]:
        """Return the values an id may have from a version on: the one it had then, and later ones."""
        versions = self.by_path[path]
        floor = max((i for i in range(version + 1) if name in versions[i]), default=0)
        return {found[name] for found in versions[floor:] if name in found}


def _of_version(history: History, version: Content | None) -> Mapping[str, bytes] | None:
    return None if version is None else _collected_in(version.to_bytes(), history.binding.id_key)


@lru_cache(maxsize=64)
def _collected_in(data: bytes, id_key: str) -> Mapping[str, bytes] | None:
    return collected(data, id_key)


_COLLECTIONS: WeakKeyDictionary[Expectation, _Collections] = WeakKeyDictionary()


def collections_of(expectation: Expectation) -> _Collections:
    """Return the collecting documents of the run an expectation is of."""
    found = _COLLECTIONS.get(expectation)
    if found is None:
        found = _COLLECTIONS[expectation] = _Collections(expectation)
    return found


@check("M3", "tree")
def no_update_is_lost(view: TreeView) -> Iterator[Violation]:
    """Each acknowledged id is in the document that collected it, with the value acknowledged or a later one."""
    acked = view.acked_ids if view.acked_ids is not None else view.expectation.ack_ids[: view.acked]
    known = collections_of(view.expectation)
    for path in known.by_path:
        file = view.files.get(path)
        if file is None:
            continue  # a document that is gone is M1's
        now = _collected_in(file.content.to_bytes(), file.binding.id_key)
        if now is None and not is_json(file.content.to_bytes()):
            continue  # unreadable: M1's as well
        yield from _lost(view, known, path, acked, now or {})
    if view.fault_class == "concurrency":
        for violation in acknowledged_records_are_there(view):
            if violation.damage in ("lost", "missing"):
                yield msgspec.structs.replace(violation, invariant="M3")


def _lost(
    view: TreeView, known: _Collections, path: str, acked: Sequence[str], now: Mapping[str, bytes]
) -> Iterator[Violation]:
    history = view.expectation.histories[path]
    lost, stale = [], []
    times: dict[str, int] = {}
    for name in acked:
        times[name] = times.get(name, 0) + 1
    for name, count in times.items():
        owners = known.owners(name)
        if path not in owners or any(name in _now_in(view, other) for other in owners if other != path):
            continue
        if name not in now:
            lost.append(name)
        elif now[name]:
            at = history.version_at_ack[_ack_number(view.expectation.ack_ids, name, count)]
            if now[name] not in known.values(path, name, at):
                stale.append(name)
    for ids, damage, what in ((lost, "lost", "are not in it"), (stale, "stale", "have an older value")):
        if ids:
            yield Violation(
                invariant="M3",
                path=path,
                damage=damage,  # type: ignore[arg-type]
                message=f"{len(ids)} of {len(times)} acknowledged ids {what}",
                ids=tuple(ids)[:_IDS_SHOWN],
            )


def _now_in(view: TreeView, path: str) -> Mapping[str, bytes]:
    file = view.files.get(path)
    return {} if file is None else _collected_in(file.content.to_bytes(), file.binding.id_key) or {}


def _ack_number(ack_ids: Sequence[str], name: str, count: int) -> int:
    """Return the number (from 1) of the ``count``-th acknowledgement of an id, or of its last one."""
    numbers = [number for number, known in enumerate(ack_ids, 1) if known == name]
    return numbers[min(count, len(numbers)) - 1] if numbers else 0


@check("W9", "tree")
def acknowledged_before_the_signal(view: TreeView) -> Iterable[Violation]:
    """After SIGTERM, SIGINT or SIGHUP each record acknowledged before it is there."""
    if view.fault_class != "signal":
        return
    for violation in acknowledged_records_are_there(view):
        if violation.damage in ("lost", "missing"):
            yield msgspec.structs.replace(violation, invariant="W9")
