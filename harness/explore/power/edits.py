"""Trace edits: what a run's operations would have been had its writer done one thing otherwise.

The edits are the closed list of :mod:`harness.core.advice`. :func:`apply_edits` returns a trace that can be replayed
and explored like a recorded one: operations are numbered anew, and an inode that an edit makes or spares stands for
the recorded one in all that follows.

Non-goals: what the program would have *read* then. An edit never changes the bytes that were written, so writers that
read what another wrote cannot be put in order here: :class:`~harness.core.advice.Serialise` is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from harness.core.advice import (
    AnyEdit,
    DropSync,
    MergeWrites,
    MoveAck,
    ReplaceInPlace,
    RewriteInPlace,
    Serialise,
    SyncDirectory,
    SyncFile,
)
from harness.core.apply import apply
from harness.core.operation import Ack, AnyOperation, Close, Open, Rename, Sync, Truncate, Unlink, Write
from harness.core.trace import Trace
from harness.core.tree import File, Tree
from harness.explore.power.order import O_DSYNC, O_SYNC


class EditError(ValueError):
    """An edit does not fit the trace, or cannot be made in a trace at all; the message says which and why."""


def apply_edits(trace: Trace, edits: Iterable[AnyEdit]) -> Trace:
    """Return ``trace`` with all ``edits`` made. Raises :class:`EditError`, and ``ReplayError`` as ``apply`` does."""
    return _Editor(trace, tuple(edits)).edited()


def temporaries_of(edits: Iterable[AnyEdit]) -> frozenset[str]:
    """Return the names that only the edited run has: temporaries that :class:`ReplaceInPlace` makes."""
    return frozenset(edit.temporary for edit in edits if isinstance(edit, ReplaceInPlace))


class _Editor:
    """One pass over the operations, with the tree of the recorded run and that of the edited one side by side."""

    def __init__(self, trace: Trace, edits: Sequence[AnyEdit]) -> None:
        self.trace = trace
        self.out: list[AnyOperation] = []
        self.recorded = self.tree = trace.start
        self.stands_for: dict[int, int] = {}
        self.copied: dict[int, ReplaceInPlace] = {}
        """Recorded inode → the edit under which its temporary is written once, at the close."""
        inodes = [getattr(op, "ino", 0) for op in trace.operations]
        self.next_ino = 1 + max((*trace.start.nodes, *inodes), default=0)
        self.syncs: dict[tuple[int, str], list[SyncFile | SyncDirectory]] = {}
        self.dropped: set[int] = set()
        self.buffered: set[int] = set()
        self.opens: dict[int, ReplaceInPlace] = {}
        self.closes: dict[int, ReplaceInPlace] = {}
        self.renames: set[int] = set()
        self.acks_after: dict[int, list[int]] = {}
        self.merged: dict[int, tuple[int, ...]] = {}
        for edit in edits:
            self._note(edit)
        self._require_order_of_acks()

    def _note(self, edit: AnyEdit) -> None:
        op = self._op(edit.at)
        match edit:
            case SyncFile() | SyncDirectory():
                self.syncs.setdefault((edit.at, edit.place), []).append(edit)
            case DropSync():
                if isinstance(op, Open) and op.flags & O_DSYNC:
                    self.buffered.add(edit.at)
                    return
                _require(isinstance(op, Sync), f"operation {edit.at} is no sync")
                self.dropped.add(edit.at)
            case ReplaceInPlace():
                _require(isinstance(op, Open), f"operation {edit.at} is no open")
                _require(isinstance(self._op(edit.until), Close), f"operation {edit.until} is no close")
                self.opens[edit.at] = self.closes[edit.until] = edit
            case RewriteInPlace():
                plain = isinstance(op, Rename) and not op.exchange and not op.error
                _require(plain, f"operation {edit.at} is no rename that can be replaced")
                self.renames.add(edit.at)
            case MoveAck():
                _require(
                    isinstance(op, Ack) and edit.after >= edit.at, f"operation {edit.at} cannot be moved back"
                )
                self._op(edit.after)
                self.dropped.add(edit.at)
                self.acks_after.setdefault(edit.after, []).append(edit.at)
            case MergeWrites():
                self._note_merge(edit)
            case Serialise():
                raise EditError("what a writer would have written after another cannot be read off a trace")

    def _op(self, number: int) -> AnyOperation:
        _require(0 <= number < len(self.trace.operations), f"there is no operation {number}")
        return self.trace.operations[number]

    def _note_merge(self, edit: MergeWrites) -> None:
        numbers = sorted({edit.at, *edit.others})
        writes = [op for op in map(self._op, numbers) if isinstance(op, Write) and not op.error]
        _require(len(writes) == len(numbers) > 1, f"operation {edit.at}: not only writes are to be merged")
        for one, other in pairwise(writes):
            joined = one.ino == other.ino and one.offset + len(one.data) == other.offset
            _require(joined, f"operation {other.seq} does not go on where {one.seq} ends")
        between = self.trace.operations[numbers[0] : numbers[-1]]
        met = [op.seq for op in between if op.seq not in numbers and _touches(op, writes[0].ino)]
        _require(not met, f"operation {met[:1]} stands between the writes")
        self.dropped |= set(numbers[:-1])
        self.merged[numbers[-1]] = tuple(numbers)

    def _require_order_of_acks(self) -> None:
        moved = {ack: after for after, acks in self.acks_after.items() for ack in acks}
        places = [moved.get(op.seq, op.seq - 0.5) for op in self.trace.operations if isinstance(op, Ack)]
        _require(places == sorted(places), "acknowledgements would change their order")

    def edited(self) -> Trace:
        """Return the edited trace."""
        for number, op in enumerate(self.trace.operations):
            self._sync(number, "before", op.actor)
            self._one(number, op)
            self._sync(number, "after", op.actor)
            for ack in sorted(self.acks_after.get(number, ())):
                self._emit(self.trace.operations[ack])
            self.recorded = apply(self.recorded, op)
        return msgspec.structs.replace(self.trace, operations=tuple(self.out))

    def _emit(self, op: AnyOperation, **changes: Any) -> None:
        made: AnyOperation = msgspec.structs.replace(op, seq=len(self.out), **changes)
        self.out.append(made)
        self.tree = apply(self.tree, made)

    def _make(self, kind: type[Any], like: AnyOperation, **values: Any) -> None:
        self._emit(kind(seq=0, actor=like.actor, at_ns=like.at_ns, **values))

    def _new_ino(self) -> int:
        self.next_ino += 1
        return self.next_ino - 1

    def _ino(self, recorded: int) -> int:
        return self.stands_for.get(recorded, recorded)

    def _sync(self, number: int, place: str, actor: int) -> None:
        found = self.syncs.get((number, place), ())
        for edit in sorted(found, key=lambda edit: isinstance(edit, SyncDirectory)):
            if edit.ino not in self.copied:
                op = Sync(seq=0, actor=actor, ino=self._ino(edit.ino), scope="file")
                self._emit(op)

    def _one(self, number: int, op: AnyOperation) -> None:
        """Carry one recorded operation over."""
        if number in self.dropped:
            return
        if number in self.buffered and isinstance(op, Open):
            op = msgspec.structs.replace(op, flags=op.flags & ~O_SYNC)
        if number in self.opens and isinstance(op, Open):
            self._open_temporary(op, self.opens[number])
        elif number in self.closes and isinstance(op, Close):
            self._publish(op, self.closes[number])
        elif number in self.renames and isinstance(op, Rename):
            self._rewrite(op)
        elif getattr(op, "ino", None) in self.copied and isinstance(op, Write | Truncate | Sync):
            return
        elif number in self.merged:
            writes = [each for each in map(self._op, self.merged[number]) if isinstance(each, Write)]
            data = b"".join(each.data for each in writes)
            changes = {"offset": writes[0].offset, "data": data, "requested": b""}
            self._emit(op, ino=self._ino(writes[0].ino), **changes)
        elif hasattr(op, "ino"):
            self._emit(op, ino=self._ino(op.ino))
        else:
            self._emit(op)

    def _open_temporary(self, op: Open, edit: ReplaceInPlace) -> None:
        _require(op.path == edit.path and op.ino == edit.ino, f"operation {edit.at} does not open that file")
        if op.created:
            self._emit(op, path=edit.temporary, ino=self._ino(op.ino))
            return
        old = self.tree.nodes[self._ino(op.ino)]
        self.stands_for[op.ino] = self._new_ino()
        if not op.truncated:
            self.copied[op.ino] = edit
        self._emit(
            op,
            path=edit.temporary,
            ino=self.stands_for[op.ino],
            created=True,
            truncated=False,
            append=False,
            mode=getattr(old, "mode", op.mode),
        )

    def _publish(self, op: Close, edit: ReplaceInPlace) -> None:
        _require(self.recorded.names.get(edit.path) == edit.ino, f"{edit.path!r} is another file at {edit.until}")
        ino = self._ino(op.ino)
        if self.copied.pop(op.ino, None) is not None:
            data = _content(self.recorded, op.ino)
            if data:
                self._make(Write, op, ino=ino, offset=0, data=data, fd=op.fd)
        self._make(Sync, op, ino=ino, scope="file")
        self._emit(op, ino=ino)
        self._make(Rename, op, path=edit.temporary, to=edit.path)
        self._make(Sync, op, ino=self._ino(edit.directory), scope="file")

    def _rewrite(self, op: Rename) -> None:
        source = self.tree.names[op.path]
        target = self.tree.names.get(op.to)
        _require(isinstance(self.tree.nodes[source], File), f"operation {op.seq} renames no regular file")
        there = target is not None and isinstance(self.tree.nodes[target], File)
        _require(there or target is None, f"operation {op.seq} replaces no regular file")
        alone = self.tree.names_of(source) == (op.path,) and target != source
        _require(alone, f"operation {op.seq} renames a file with several names")
        ino = target if target is not None else self._new_ino()
        data, mode = _content(self.tree, source), getattr(self.tree.nodes[source], "mode", 0o644)
        truncated = there and bool(_content(self.tree, ino))
        self._make(Open, op, path=op.to, ino=ino, created=not there, truncated=truncated, mode=mode)
        if data:
            self._make(Write, op, ino=ino, offset=0, data=data)
        if self._is_synced(self.trace.operations[: op.seq], self.recorded.names[op.path]):
            self._make(Sync, op, ino=ino, scope="file")
        self._make(Close, op, ino=ino)
        self._make(Unlink, op, path=op.path)
        for recorded, current in [*self.stands_for.items(), (self.recorded.names[op.path], source)]:
            if current == source:
                self.stands_for[recorded] = ino

    def _is_synced(self, operations: Sequence[AnyOperation], ino: int) -> bool:
        """Whether the last sync of a recorded inode came after its last write; a sync that is dropped is none."""
        for op in reversed(operations):
            if isinstance(op, Sync) and not op.error and op.ino in (ino, -1) and op.seq not in self.dropped:
                return True
            if isinstance(op, Write | Truncate) and op.ino == ino:
                return False
        return False


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise EditError(message)


def _touches(op: AnyOperation, ino: int) -> bool:
    """Whether an operation must not be passed by a write to ``ino``."""
    if isinstance(op, Ack | Rename):
        return True
    return isinstance(op, Write | Truncate | Sync | Open) and op.ino in (ino, -1)


def _content(tree: Tree, ino: int) -> bytes:
    node = tree.nodes.get(ino)
    return node.content.to_bytes() if isinstance(node, File) else b""
