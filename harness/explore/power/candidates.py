"""Where a trace could be edited: the places of each kind of edit, grouped into what a maintainer would change once.

A writer that makes eight updates has eight places for one line of code. Places of one kind on one path role at one
moment of the cycle are one :class:`Change`; a search puts changes together, never single places.

Non-goals: whether a change helps (:mod:`harness.explore.power.advice` explores that).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeGuard

from harness.core.advice import (
    AnyEdit,
    MergeWrites,
    MoveAck,
    ReplaceInPlace,
    Serialise,
    StepKind,
    SyncDirectory,
    SyncFile,
)
from harness.core.apply import trees_before
from harness.core.operation import (
    Ack,
    AnyOperation,
    Close,
    Link,
    Mkdir,
    Open,
    Rename,
    Sync,
    Truncate,
    Unlink,
    Write,
)
from harness.core.point import operation_path, path_of_inode
from harness.core.role import path_role
from harness.core.trace import Trace
from harness.core.tree import File, Tree

_ID_AT_LEAST = 6
"""An acknowledged id of fewer characters could be found in any write by chance."""


class Change(NamedTuple):
    """One kind of edit at all its places. ``leads_to`` is the operation that the first place is for, or -1."""

    kind: StepKind
    edits: tuple[AnyEdit, ...]
    path: str
    leads_to: int = -1


class Rewrite(NamedTuple):
    """One open of a file until its close, in which its content was replaced; ``open`` and ``close`` are numbers."""

    open: int
    close: int
    path: str
    ino: int
    actor: int


class _Turn(NamedTuple):
    """One time that a file is replaced as a whole: from the operation where it begins to that where it is done."""

    begin: int
    end: int
    actor: int
    in_place: bool


class Places:
    """The operations of a trace with the tree before each: what every kind of change is found in."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.operations = trace.operations
        self.before: list[Tree] = list(trees_before(trace))
        self.paths = [operation_path(op, tree) for op, tree in zip(self.operations, self.before, strict=True)]
        self.rewrites = list(self._rewrites())

    def file_syncs(self) -> list[Change]:
        """Return the fsyncs of files that could be inserted: after the last write before a close, rename or ack."""
        found: dict[tuple[str, str], list[tuple[SyncFile, int]]] = {}
        dirty: dict[int, int] = {}

        def settle(ino: int, event: AnyOperation) -> None:
            at = dirty.pop(ino)
            path = path_of_inode(self.before[event.seq], ino)
            edit = SyncFile(at=at, ino=ino, path=path)
            leads_to = self._next(event.seq, path)
            found.setdefault((path_role(path), event.kind), []).append((edit, leads_to))

        for op, tree in zip(self.operations, self.before, strict=True):
            if op.error:
                continue
            if _changes_content(op):
                dirty[op.ino] = op.seq
            elif isinstance(op, Sync) and op.scope in ("file", "data"):
                dirty.pop(op.ino, None)
            elif isinstance(op, Sync) and op.ino < 0:
                dirty.clear()
            elif isinstance(op, Close) and op.ino in dirty and tree.names_of(op.ino):
                settle(op.ino, op)
            elif isinstance(op, Rename) and tree.names.get(op.path) in dirty:
                settle(tree.names[op.path], op)
            elif isinstance(op, Ack):
                for ino in [ino for ino in dirty if tree.names_of(ino)]:
                    settle(ino, op)
        for ino in [ino for ino in dirty if self.operations and self.before[-1].names_of(ino)]:
            settle(ino, self.operations[-1])
        return [
            Change("fsync_file", tuple(edit for edit, _ in places), places[0][0].path, places[0][1])
            for places in found.values()
        ]

    def directory_syncs(self) -> list[Change]:
        """Return the fsyncs of directories that could be inserted, those that the run lacks before an ack first."""
        found: dict[tuple[str, str, str], list[SyncDirectory]] = {}
        lacking: set[tuple[str, str, str]] = set()
        for op in self.operations:
            for directory in self._directories(op):
                ino = self._directory(op.seq, directory)
                key = (op.kind, path_role(self.paths[op.seq]), path_role(directory))
                edit = SyncDirectory(at=op.seq, ino=ino, path=directory or ".")
                found.setdefault(key, []).append(edit)
                if not self._is_synced_before_ack(op.seq, ino) and not self._is_short_lived(op):
                    lacking.add(key)
        ordered = sorted(found.items(), key=lambda item: item[0] not in lacking)
        return [
            Change("fsync_directory", tuple(edits), self.paths[edits[0].at], self._next(edits[0].at))
            for _, edits in ordered
        ]

    def _directories(self, op: AnyOperation) -> Iterator[str]:
        if op.error:
            return
        if isinstance(op, Open) and op.created and op.path is not None:
            yield op.path.rpartition("/")[0]
        elif isinstance(op, Rename):
            yield from dict.fromkeys(path.rpartition("/")[0] for path in (op.to, op.path))
        elif isinstance(op, Link | Unlink | Mkdir):
            yield op.path.rpartition("/")[0]

    def _directory(self, number: int, path: str) -> int:
        return self.before[number].names.get(path, 0) if path else 0

    def _is_synced_before_ack(self, number: int, ino: int) -> bool:
        for op in self.operations[number + 1 :]:
            if isinstance(op, Ack):
                return False
            if isinstance(op, Sync) and op.ino == ino and not op.error:
                return True
        return False

    def _is_short_lived(self, op: AnyOperation) -> bool:
        """Whether the operation makes or removes a temporary: a name that the run renames, or removes, itself."""
        if isinstance(op, Unlink):
            return True
        if not isinstance(op, Open):
            return False
        return any(isinstance(later, Rename | Unlink) and later.path == op.path for later in self._after(op))

    def _after(self, op: AnyOperation) -> Sequence[AnyOperation]:
        return self.operations[op.seq + 1 :]

    def _next(self, number: int, path: str = "") -> int:
        """Return the rename of ``path``, or the acknowledgement, that comes next from ``number`` on; else -1."""
        for op in self.operations[number:]:
            if isinstance(op, Ack) or (path and isinstance(op, Rename) and op.path == path):
                return op.seq
        return -1

    # -- rewriting ---------------------------------------------------------------------------------------------------

    def _rewrites(self) -> Iterator[Rewrite]:
        opened: dict[tuple[int, int], Open] = {}
        for op in self.operations:
            if op.error or not isinstance(op, Open | Close):
                continue
            actors = self.trace.actors
            process = actors[op.actor].process if op.actor < len(actors) else 0
            if isinstance(op, Open):
                opened[process, op.fd] = op
                continue
            begun = opened.pop((process, op.fd), None)
            if begun is not None and begun.path is not None and begun.ino == op.ino:
                yield from self._rewrite(begun, op)

    def _rewrite(self, begun: Open, end: Close) -> Iterator[Rewrite]:
        path = begun.path or ""
        inside = self.operations[begun.seq + 1 : end.seq]
        changes = [
            op for op in inside if isinstance(op, Write | Truncate) and op.ino == begun.ino and not op.error
        ]
        appends = [isinstance(op, Write) and op.offset == self._size(op) for op in changes]
        whole = begun.truncated or (begun.created and not begun.append)
        if (whole and changes) or (changes and not all(appends)):
            yield Rewrite(begun.seq, end.seq, path, begun.ino, begun.actor)

    def _size(self, op: Write) -> int:
        node = self.before[op.seq].nodes.get(op.ino)
        return node.content.size if isinstance(node, File) else 0

    def replacements(self) -> list[Change]:
        """Return the rewrites in place that could go through a temporary file, by the role of what is rewritten."""
        taken = {path for tree in self.before for path in tree.names}
        found: dict[str, list[ReplaceInPlace]] = {}
        for each in self.rewrites:
            if not self._is_alone(each):
                continue
            directory, _, name = each.path.rpartition("/")
            temporary = f"{directory}/.{name}.tmp" if directory else f".{name}.tmp"
            while temporary in taken:
                temporary = temporary.removesuffix(".tmp") + "-.tmp"
            edit = ReplaceInPlace(
                at=each.open,
                until=each.close,
                ino=each.ino,
                path=each.path,
                temporary=temporary,
                directory=self._directory(each.open, directory),
            )
            found.setdefault(path_role(each.path), []).append(edit)
        return [
            Change("replace_in_place", tuple(edits), edits[0].path, edits[0].until) for edits in found.values()
        ]

    def _is_alone(self, each: Rewrite) -> bool:
        """Whether nothing else happens to the file meanwhile, it has one name, and it is no temporary already."""
        if any(isinstance(op, Rename) and op.path == each.path for op in self.operations[each.close :]):
            return False
        if self.before[each.close].names_of(each.ino) != (each.path,):
            return False
        for op in self.operations[each.open + 1 : each.close]:
            if isinstance(op, Open) and op.ino == each.ino:
                return False
            if isinstance(op, Rename) and each.path in (op.path, op.to):
                return False
            if isinstance(op, Unlink | Link) and op.path == each.path:
                return False
        return all(self._is_opened_again(op, each) for op in self.operations[each.close + 1 :])

    def _is_opened_again(self, op: AnyOperation, each: Rewrite) -> bool:
        """Whether a later write goes through a later open, which then opens what was renamed into place."""
        if not isinstance(op, Write) or op.ino != each.ino:
            return True
        opens = (other for other in self.operations[: op.seq] if isinstance(other, Open) and other.ino == op.ino)
        last = max((other.seq for other in opens if other.fd == op.fd), default=-1)
        return last > each.close

    def rivals(self) -> Serialise | None:
        """Return the file that one actor rewrites in place while another is replacing it."""
        for path, turns in self._replaced_by().items():
            for one, other in pairwise(sorted(turns)):
                met = one.actor != other.actor and other.begin < one.end
                if met and (one.in_place or other.in_place):
                    return Serialise(at=one.begin, path=path, actors=self._labels(turns), overlap=other.begin)
        return None

    def shared(self) -> Serialise | None:
        """Return a file that several actors replace as a whole, whether or not they met in this run."""
        for path, turns in self._replaced_by().items():
            if len({turn.actor for turn in turns}) > 1:
                return Serialise(at=min(turns).begin, path=path, actors=self._labels(turns))
        return None

    def _replaced_by(self) -> dict[str, list[_Turn]]:
        """Return, by path, every time it was replaced: in place, or by a rename."""
        found: dict[str, list[_Turn]] = {}
        for each in self.rewrites:
            found.setdefault(each.path, []).append(_Turn(each.open, each.close, each.actor, True))
        for op in self.operations:
            if isinstance(op, Rename) and not op.error and not op.exchange:
                made = [each.open for each in self.rewrites if each.path == op.path and each.close < op.seq]
                turn = _Turn(max(made, default=op.seq), op.seq, op.actor, False)
                found.setdefault(op.to, []).append(turn)
        return found

    def _labels(self, turns: Iterable[_Turn]) -> tuple[str, ...]:
        actors = self.trace.actors
        numbers = sorted({turn.actor for turn in turns})
        return tuple(actors[number].label if number < len(actors) else "p0" for number in numbers)

    # -- acknowledgements and writes ---------------------------------------------------------------------------------

    def moved_acks(self) -> list[Change]:
        """Return the acknowledgements moved behind the write that carries what they acknowledge.

        That write is the first with the acknowledged id in it; where none has it, the next one.
        """
        edits: list[MoveAck] = []
        least = -1
        for ack in self.trace.acks:
            least = max(least, self._saved_at(ack))
            if least > ack.seq:
                edits.append(MoveAck(at=ack.seq, after=least))
        path = self.paths[edits[0].after] if edits else ""
        return [Change("move_ack", tuple(edits), path, edits[0].after)] if edits else []

    def _saved_at(self, ack: Ack) -> int:
        """Return the operation by which what is acknowledged is written whole: a close, a rename; -1 if before."""
        name = ack.id.encode("utf-8", "surrogateescape")
        telling = len(name) >= _ID_AT_LEAST
        for op in self.operations if telling else self._after(ack):
            if isinstance(op, Write) and not op.error and (not telling or name in op.data):
                return -1 if op.seq < ack.seq else self._end_of(op)
        return -1

    def _end_of(self, write: Write) -> int:
        end = write.seq
        path = path_of_inode(self.before[write.seq], write.ino)
        for op in self._after(write):
            if isinstance(op, Close) and op.ino == write.ino and end == write.seq:
                end = op.seq
            if isinstance(op, Rename) and op.path == path:
                return op.seq
            if isinstance(op, Open | Ack) and op.seq > end > write.seq:
                return end
        return end

    def merges(self) -> list[Change]:
        """Return the runs of contiguous writes to one file that could be one write."""
        found: dict[str, list[MergeWrites]] = {}
        run: list[Write] = []

        def end_run() -> None:
            if len(run) > 1:
                others = tuple(op.seq for op in run[1:])
                role = path_role(self.paths[run[0].seq])
                found.setdefault(role, []).append(MergeWrites(at=run[0].seq, others=others))
            run.clear()

        for op in self.operations:
            if op.error:
                end_run()
            elif isinstance(op, Write):
                joined = run and op.ino == run[-1].ino and op.offset == run[-1].offset + len(run[-1].data)
                if not joined or op.actor != run[-1].actor:
                    end_run()
                run.append(op)
            else:
                end_run()
        end_run()
        return [Change("merge_writes", tuple(edits), self.paths[edits[0].at]) for edits in found.values()]


def _changes_content(op: AnyOperation) -> TypeGuard[Write | Truncate | Open]:
    if isinstance(op, Write):
        return bool(op.data)
    return isinstance(op, Truncate) or (isinstance(op, Open) and op.truncated)
