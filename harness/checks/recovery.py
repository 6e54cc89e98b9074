"""B7, M8 and W3 (M9 and W10 beside it) on what a repair made of a damaged state; and the tree invariants once more.

A repair may cut an in-flight torn tail. It may not destroy the only copy of anything else: a complete line, a
document, or bytes nobody could read must be found somewhere afterwards, a backup included.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from harness.checks.binding import FileBinding
from harness.checks.expectation import Expectation, id_at
from harness.checks.invariant import Invariant, check, checks_of, select
from harness.checks.judge import Judge
from harness.checks.summary import is_json, object_in
from harness.core.content import content_of
from harness.core.fault import FaultClass
from harness.core.role import path_role
from harness.core.tree import File, Tree
from harness.core.verdict import Violation

STILL_JUDGED = frozenset({"B1", "B2", "B4", "B5", "M5", "M6", "M7", "G1", "G2", "G3", "G5", "G7"}) | {
    f"T{n}" for n in range(1, 9)
}
"""Tree invariants that hold after a repair as they stand; order and versions have moved on."""


class LossReport(NamedTuple):
    """What recovery says it could not keep: a field (pin, title, archived) of a session, by id or file name."""

    field: str
    id: str


class RecoveryView(NamedTuple):
    """A damaged tree, the tree after recovery and one more record, and the tree between the two if it is known.

    ``again`` is the tree after a second recovery, ``lost`` what the first one reported as lost: each where known.
    """

    before: Tree
    after: Tree
    recovered: Tree | None
    expectation: Expectation
    acked: int
    appended_id: str
    again: Tree | None = None
    lost: frozenset[LossReport] = frozenset()

    def binding_of(self, path: str) -> FileBinding | None:
        """Return the binding of a path."""
        return self.expectation.bindings.of(path)

    def is_temporary(self, path: str) -> bool:
        """Whether a name is a temporary file."""
        binding = self.binding_of(path)
        return (binding is not None and binding.litter) or self.expectation.names.is_litter(path)


def judge_recovery(
    before: Tree,
    after: Tree,
    expectation: Expectation,
    acked: int,
    fault_class: FaultClass = "kill",
    *,
    recovered: Tree | None = None,
    appended_id: str = "",
    again: Tree | None = None,
    lost: Iterable[LossReport] = (),
    invariants: Iterable[str] | None = None,
) -> tuple[Violation, ...]:
    """Return what a repair did wrong.

    ``before`` is the state the fault left, ``after`` what is there once recovery has exited with success and one
    more record, ``appended_id`` if its id is known, was appended and acknowledged; ``again`` what is there once it has
    run a second time. ``lost`` are the losses that it reported.
    """
    rows = select(invariants)
    view = RecoveryView(before, after, recovered, expectation, acked, appended_id, again, frozenset(lost))
    found = [v for function in checks_of(rows, "recovery", fault_class) for v in function(view)]
    found += _still_holds(view, view.after, rows, fault_class)
    if again is not None:
        known = {(item.invariant, item.path) for item in found}
        found += (
            msgspec.structs.replace(item, message=f"after a second recovery: {item.message}")
            for item in (
                *_still_holds(view, again, rows, fault_class),
                *_still_reached(view, again, rows, fault_class),
            )
            if (item.invariant, item.path) not in known
        )
    return tuple(found)


def _still_holds(
    view: RecoveryView, tree: Tree, rows: tuple[Invariant, ...], fault_class: FaultClass
) -> Iterator[Violation]:
    """Yield what is wrong with a tree that a recovery left."""
    names = sorted(STILL_JUDGED & {row.id for row in rows})
    if names:
        # A repair has run: nothing is left for "the next opener" to heal or close.
        bindings = [
            msgspec.structs.replace(binding, torn_tail="violation", open_turn="violation")
            for binding in view.expectation.bindings.all
        ]
        yield from Judge(bindings, view.expectation, names).judge(tree, view.acked, fault_class)


def _still_reached(
    view: RecoveryView, again: Tree, rows: tuple[Invariant, ...], fault_class: FaultClass
) -> Iterator[Violation]:
    """Yield what the second recovery cuts off a conversation that the first one left whole."""
    reach = tuple(row for row in rows if row.id == "G4")
    second = view._replace(before=view.after, after=again, again=None, acked=len(view.expectation.ack_ids))
    for function in checks_of(reach, "recovery", fault_class):
        yield from function(second)


def _files(tree: Tree) -> dict[str, bytes]:
    return {path: file.content.to_bytes() for path, file in tree.files()}


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    *lines, tail = data.split(b"\n")
    return lines, tail


@check("B7", "recovery")
def append_is_a_line(view: RecoveryView) -> Iterator[Violation]:
    """After recovery the next append is a parsable line of its own, not glued to a torn tail."""
    before, appended = _files(view.before), False
    for path, data in _files(view.after).items():
        binding = view.binding_of(path)
        if binding is None or not binding.holds_records or not binding.json:
            continue
        lines, tail = _split(data)
        old_lines, old_tail = _split(before.get(path, b""))
        known = {*old_lines, old_tail}
        offset = 0
        for number, line in enumerate(lines, 1):
            if line in known and view.appended_id and view.appended_id.encode("utf-8", "surrogateescape") in line:
                # A start that was killed may have appended the record that the next one appends again.
                appended = appended or id_at(object_in(line) or {}, binding.id_key or "id") == view.appended_id
            record = None if line in known else object_in(line)
            if record is not None:
                appended = appended or id_at(record, binding.id_key or "id") == view.appended_id
            elif line not in known:
                appended = True  # it is there, and unreadable: said once
                glued = bool(old_tail) and line.startswith(old_tail)
                how = "is glued to the torn tail" if glued else "is not one JSON object"
                yield _violation(
                    "B7", path, "torn", f"after recovery line {number} at offset {offset} {how}", offset
                )
            offset += len(line) + 1
        if tail and tail != old_tail:
            message = f"after recovery and one append the file ends with {len(tail)} bytes without a newline"
            yield _violation("B7", path, "torn", message, offset)
    if (
        view.appended_id
        and not appended
        and any(b.id_key and b.holds_records for b in view.expectation.bindings.all)
    ):
        yield _violation("B7", "", "missing", "the record appended after recovery is a line of no record file")


def _violation(invariant: str, path: str, damage: Any, message: str, offset: int = -1) -> Violation:
    return Violation(invariant=invariant, path=path, damage=damage, message=message, offset=offset)


@check("M8", "recovery")
def only_copies_survive(view: RecoveryView) -> Iterator[Violation]:
    """Complete lines, documents and unreadable bytes of the damaged state are still somewhere."""
    first_after = view.recovered if view.recovered is not None else view.after
    kept_is_after = view.recovered is None
    kept = _files(first_after)
    everything = list(kept.values())
    lines = {line for data in everything for line in data.split(b"\n")}
    for path, data in _files(view.before).items():
        binding = view.binding_of(path)
        if not data.strip(b"\0") or any(data in other for other in everything):
            continue
        if view.is_temporary(path):
            document = _only_copy_of(view, data)
            if document:
                message = f"recovery swept {len(data)} bytes, the only copy left of an acknowledged document"
                yield _violation("M8", document, "missing", message)
            continue
        if binding is not None and binding.holds_records:
            gone = [line for line in _split(data)[0] if line and line not in lines]
            if gone:
                message = f"recovery destroyed {len(gone)} complete lines, {sum(map(len, gone))} bytes"
                yield _violation("M8", path, "lost" if path in kept else "missing", message)
        elif binding is not None and binding.holds_document:
            yield from _document_survives(path, data, kept.get(path), json=binding.json, updated=kept_is_after)
        elif path not in kept:
            yield _violation("M8", path, "missing", f"recovery removed {len(data)} bytes that are nowhere else")


def _only_copy_of(view: RecoveryView, data: bytes) -> str:
    """Return the acknowledged document that a temporary file alone still held, or an empty string."""
    expectation = view.expectation
    digest = expectation.document_digest(content_of(data))
    for key, document in expectation.documents.items():
        there = any(expectation.key_of(path) == key for path in view.before.names)
        if (
            not there
            and not document.absence_allowed(view.acked)
            and document.index(digest) >= document.owed(view.acked)
        ):
            return document.histories[0].path
    return ""


def _document_survives(
    path: str, data: bytes, now: bytes | None, *, json: bool, updated: bool
) -> Iterator[Violation]:
    """Judge a document whose exact bytes are gone: an intact one may have been updated, never reset.

    Recovery alone drops no key; where the append has run too (``updated``), it may have changed the shape, and only
    a document with nothing left of the old one is a reset.
    """
    if now is None:
        yield _violation("M8", path, "missing", f"recovery removed the document, {len(data)} bytes")
        return
    if not json:
        return
    old, new = object_in(data), object_in(now)
    if old is None:
        if not is_json(data):
            message = f"recovery overwrote {len(data)} unreadable bytes without keeping a copy"
            yield _violation("M8", path, "reset", message)
        return
    lost = sorted(set(old) - set(new or ()))
    if lost and (not updated or new is None or len(lost) == len(old)):
        yield _violation(
            "M8", path, "reset", f"recovery reset the document: {len(lost)} of {len(old)} keys are gone"
        )


@check("W3", "recovery")
def litter_is_swept(view: RecoveryView) -> Iterator[Violation]:
    """A temporary file with a name of its own is gone after recovery: nothing else would ever remove it."""
    for path in view.before.names:
        if path not in view.after.names or path in view.expectation.names.start or not view.is_temporary(path):
            continue
        node = view.after.node_at(path)
        if isinstance(node, File) and not _is_fixed(view, path):
            message = f"a temporary file of {node.content.size} bytes is still there after recovery and one append"
            yield _violation("W3", path, "extra", message)


def _is_fixed(view: RecoveryView, path: str) -> bool:
    """Whether a temporary has the one name that its document's temporary always has: the next update reuses it."""
    if path_role(path) == path:
        return True
    names = view.expectation.names.published
    return any(path.startswith(name) and path_role(path[len(name) :]) == path[len(name) :] for name in names)
