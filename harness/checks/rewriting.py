"""W7 on the operations of a run: who truncates and rewrites a record file keeps appenders out meanwhile.

Three things show that nobody was kept out: a write by another between the truncation and the close of the rewrite; a
write into a file that a rename has replaced; complete lines of another, active appender that a rewrite leaves out.

Who is "another": where the calls of one open file come from several threads (a pool of a run-time's, as in Node) a
thread says nothing about who wrote, and writers are told apart by open file and by process; elsewhere by thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from harness.checks.discipline import TraceView
from harness.checks.invariant import check
from harness.core.operation import AnyOperation, Close, Lock, Open, Rename, Truncate, Write
from harness.core.tree import File, Tree
from harness.core.verdict import Violation


class _Rewrite(NamedTuple):
    """A rewrite under way in place: from ``seq`` until the descriptor is closed. ``before``: what was there."""

    path: str
    seq: int
    process: int
    fd: int
    actor: int
    before: bytes


def _process(view: TraceView, actor: int) -> int:
    actors = view.trace.actors
    return actors[actor].process if actor < len(actors) else 0


def _pooled(view: TraceView) -> frozenset[int]:
    """Return the processes in which one open file is worked on by several threads."""
    users: dict[tuple[int, int], set[int]] = {}
    pooled = set()
    for op in view.trace.operations:
        if isinstance(op, Open | Write | Close) and not op.error and op.fd >= 0:
            process = _process(view, op.actor)
            if isinstance(op, Open):
                users[process, op.fd] = set()
            seen = users.setdefault((process, op.fd), set())
            seen.add(op.actor)
            if len(seen) > 1:
                pooled.add(process)
    return frozenset(pooled)


class _Watch:
    """The state of one pass over a trace."""

    def __init__(self, view: TraceView) -> None:
        self.view = view
        self.pooled = _pooled(view)
        self.rewrites: dict[int, _Rewrite] = {}
        self.replaced: dict[int, tuple[str, int, int]] = {}
        self.appended: dict[str, list[tuple[int, bytes, int]]] = {}
        self.locked: set[tuple[int, int]] = set()
        self.writes: dict[str, list[tuple[int, int]]] = {}
        for op, before, _ in view.steps():
            if isinstance(op, Write):
                for path in self.record_paths(before, op.ino):
                    self.writes.setdefault(path, []).append((op.seq, self.who(op.actor)))

    def who(self, actor: int) -> int:
        """Return whose operation it is: the actor, or its process (as a negative number) where threads are a pool."""
        process = _process(self.view, actor)
        return -1 - process if process in self.pooled else actor

    def record_paths(self, tree: Tree, ino: int) -> list[str]:
        """Return the names of an inode that are record files readers see."""
        return [path for path in tree.names_of(ino) if self.is_record(path)]

    def is_record(self, path: str) -> bool:
        """Whether a path is a record file that is no temporary."""
        binding = self.view.bindings.of(path)
        return binding is not None and binding.holds_records and not self.view.is_temporary(path)

    def is_active(self, path: str, who: int, seq: int) -> bool:
        """Whether somebody writes to a path again after an operation."""
        return any(later > seq and writer == who for later, writer in self.writes.get(path, ()))


def _content(tree: Tree, ino: int) -> bytes:
    node = tree.nodes.get(ino)
    return node.content.to_bytes() if isinstance(node, File) else b""


def _lines(data: bytes) -> Counter[bytes]:
    return Counter(data.split(b"\n")[:-1])


@check("W7", "trace")
def rewrite_excludes_appenders(view: TraceView) -> Iterator[Violation]:
    """Nobody else writes to a record file while it is rewritten, nor is any line of theirs left out by it."""
    if len(view.trace.actors) < 2:
        return
    watch = _Watch(view)
    for op, before, after in view.steps():
        if isinstance(op, Lock):
            _note_lock(watch, op)
        elif isinstance(op, Write):
            yield from _written(watch, op, before)
        elif isinstance(op, Close):
            yield from _closed(watch, op, before)
        elif isinstance(op, Rename):
            yield from _renamed(watch, op, before, after)
        elif isinstance(op, Open | Truncate):
            _begun(watch, op, before)


def _note_lock(watch: _Watch, op: Lock) -> None:
    held = watch.who(op.actor), op.ino
    if "EX" in op.what or "WRLCK" in op.what:
        watch.locked.add(held)
    elif "UN" in op.what:
        watch.locked.discard(held)


def _begun(watch: _Watch, op: Open | Truncate, before: Tree) -> None:
    """Note the start of a rewrite in place: a truncation that removes more than a torn tail."""
    size = op.size if isinstance(op, Truncate) else 0
    old = _content(before, op.ino)
    if (isinstance(op, Open) and not op.truncated) or old.rfind(b"\n") + 1 <= size:
        return
    fd = op.fd if isinstance(op, Open) else -1
    for path in watch.record_paths(before, op.ino):
        rewrite = _Rewrite(path, op.seq, _process(watch.view, op.actor), fd, op.actor, old)
        watch.rewrites.setdefault(op.ino, rewrite)


def _written(watch: _Watch, op: Write, before: Tree) -> Iterator[Violation]:
    who, process = watch.who(op.actor), _process(watch.view, op.actor)
    rewrite = watch.rewrites.get(op.ino)
    if rewrite is not None and not _is_own(watch, rewrite, op.actor, op.fd):
        yield _violation(
            rewrite.path,
            op,
            f"operation {op.seq} writes {len(op.data)} bytes while the rewrite begun at operation {rewrite.seq} "
            "is under way",
        )
    if op.ino in watch.replaced:
        path, seq, renamer = watch.replaced[op.ino]
        if not before.names_of(op.ino) and (renamer != who or process in watch.pooled):
            yield _violation(
                path,
                op,
                f"operation {op.seq} writes {len(op.data)} bytes to the file that operation {seq} replaced",
            )
    for path in watch.record_paths(before, op.ino):
        if rewrite is None:
            watch.appended.setdefault(path, []).extend(
                (op.seq, line, who) for line in op.data.split(b"\n") if line
            )


def _is_own(watch: _Watch, rewrite: _Rewrite, actor: int, fd: int) -> bool:
    """Whether an operation belongs to the rewrite: the same open file; after a truncation by path, the same writer."""
    if rewrite.fd >= 0 and fd >= 0:
        return (rewrite.process, rewrite.fd) == (_process(watch.view, actor), fd)
    return watch.who(rewrite.actor) == watch.who(actor)


def _closed(watch: _Watch, op: Close, before: Tree) -> Iterator[Violation]:
    rewrite = watch.rewrites.get(op.ino)
    if rewrite is None or not _is_own(watch, rewrite, op.actor, op.fd):
        watch.locked.discard((watch.who(op.actor), op.ino))
        return
    del watch.rewrites[op.ino]
    yield from _left_out(watch, op, rewrite.path, rewrite.seq, rewrite.before, _content(before, op.ino))
    watch.locked.discard((watch.who(op.actor), op.ino))


def _renamed(watch: _Watch, op: Rename, before: Tree, after: Tree) -> Iterator[Violation]:
    old, new = before.names.get(op.to), after.names.get(op.to)
    if old is None or new is None or old == new or op.exchange or not watch.is_record(op.to):
        return
    watch.replaced[old] = (op.to, op.seq, watch.who(op.actor))
    yield from _left_out(watch, op, op.to, op.seq, _content(before, old), _content(after, new))


def _left_out(watch: _Watch, op: AnyOperation, path: str, seq: int, old: bytes, new: bytes) -> Iterator[Violation]:
    """Judge what a rewrite begun at ``seq`` leaves out: the lines of active appenders since its writer last wrote."""
    who = watch.who(op.actor)
    if any(holder == who for holder, _ in watch.locked):
        return  # whoever appends under the lock too was kept out: this rewrite knew what it left out
    since = max((at for at, writer in watch.writes.get(path, ()) if writer == who and at < seq), default=-1)
    gone = _lines(old) - _lines(new)
    lost = [
        line
        for at, line, writer in watch.appended.get(path, ())
        if since < at < seq and writer != who and gone[line] and watch.is_active(path, writer, seq)
    ]
    if lost:
        yield _violation(
            path, op, f"the rewrite of operation {seq} leaves out {len(lost)} lines that others appended"
        )


def _violation(path: str, op: AnyOperation, message: str) -> Violation:
    return Violation(invariant="W7", path=path, damage="lost", message=message)
