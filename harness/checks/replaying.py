"""Replay a trace once and note what each bound path held, and which names came and went."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from harness.checks.binding import Bindings, FileBinding
from harness.checks.versions import History, Version, held_by
from harness.core.apply import apply
from harness.core.content import Content
from harness.core.operation import (
    Ack,
    AnyOperation,
    Close,
    Link,
    MakeNode,
    Mkdir,
    Open,
    Rename,
    Truncate,
    Unlink,
    Write,
)
from harness.core.role import path_role
from harness.core.trace import Trace
from harness.core.tree import File, Symlink, Tree


class Names:
    """The names of a run. ``published``: at the start, at an acknowledgement, or at the end.

    ``litter``: never published, and renamed or unlinked by the run itself: its temporary files. In another run
    they are known by their role, unless a published new name has that role too. ``created``: by an open or as a
    special file; ``renamed``: from or to, or linked; ``moved``: renamed from, or unlinked. ``writers``:
    the actors that wrote.
    """

    def __init__(self, start: Tree) -> None:
        self.start: frozenset[str] = frozenset(start.names)
        self.published: set[str] = set(start.names)
        self.published_roles: frozenset[str] = frozenset()
        self.moved: set[str] = set()
        self.created: set[str] = set()
        self.renamed: set[str] = set()
        self.litter: frozenset[str] = frozenset()
        self.litter_roles: frozenset[str] = frozenset()
        self.ack_ids: tuple[str, ...] = ()
        self.final: Tree = start
        self.writers: set[int] = set()

    def finish(self, final: Tree, ack_ids: tuple[str, ...]) -> None:
        """The run is over."""
        self.final = final
        self.published.update(final.names)
        self.ack_ids = ack_ids
        self.litter = frozenset(self.moved - self.published)
        self.published_roles = frozenset(path_role(path) for path in self.published - self.start)
        self.litter_roles = frozenset(path_role(path) for path in self.litter) - self.published_roles

    def is_marker(self, path: str) -> bool:
        """Whether the run makes and removes this name itself and never renames it: a lock, a pid file, a journal."""
        gone = path not in self.start and path not in self.final.names
        return gone and path in self.created and path in self.moved and path not in self.renamed

    def is_litter(self, path: str) -> bool:
        """Whether a name is a temporary file of this program."""
        return path in self.litter or (path not in self.published and path_role(path) in self.litter_roles)


def as_asked(op: AnyOperation) -> AnyOperation:
    """Return the operation as the program asked for it: a write torn by a fault with all its bytes."""
    if type(op) is Write and op.requested and op.requested != op.data:
        return msgspec.structs.replace(op, data=op.requested, requested=b"")
    return op


def touched_paths(op: AnyOperation, before: Tree, after: Tree) -> Iterator[str]:
    """Yield every path whose file may differ between the trees around ``op``."""
    if isinstance(op, Rename):
        pairs = ((op.path, before), (op.to, after), (op.to, before), (op.path, after))
        seen: dict[str, None] = {}
        for path, tree in pairs:
            seen[path] = None
            ino = tree.names.get(path)
            if ino is not None and not isinstance(tree.nodes[ino], File):
                seen.update(dict.fromkeys(tree.below(path)))
        yield from seen
    elif isinstance(op, Unlink):
        yield op.path
        yield from before.below(op.path) if not isinstance(before.node_at(op.path), File) else ()
    elif isinstance(op, Link | MakeNode | Mkdir):
        yield op.path
    elif isinstance(op, Open):
        if op.created and op.path is not None:
            yield op.path
        elif op.truncated:
            yield from after.names_of(op.ino)
    elif isinstance(op, Write | Truncate):
        yield from after.names_of(op.ino)


def _held(tree: Tree, path: str, binding: FileBinding | None) -> Version:
    """Return what ``path`` holds. A symbolic link is a document of its own; a record file or a store is none."""
    node = tree.node_at(path)
    if isinstance(node, Symlink) and binding is not None and not binding.holds_document:
        return None
    return held_by(node)


def _lines_are_elsewhere(tree: Tree, path: str, content: Content) -> bool:
    """Whether every line of ``content``, which ``path`` held, is a line of another file."""
    known = {
        line for other, file in tree.files() if other != path for line in file.content.to_bytes().split(b"\n")
    }
    return known.issuperset(content.to_bytes().split(b"\n"))


class InFlight:
    """Which files somebody else is in the middle of writing when an actor acknowledges something.

    Such a file is no part of what was acknowledged. An actor that never writes itself (Node's main thread, a shell that
    lets others write) speaks for all of them, so nothing is in flight at its acknowledgements.
    """

    def __init__(self, trace: Trace) -> None:
        self._speaks_for_itself = frozenset(op.actor for op in trace.operations if type(op) is Write)
        self._acknowledges = frozenset(op.actor for op in trace.acks)
        self._open: dict[int, int] = {}
        self._writer: dict[int, int] = {}

    def note(self, op: AnyOperation) -> None:
        """Look at one operation that did not fail."""
        if isinstance(op, Open):
            self._open[op.ino] = self._writer[op.ino] = op.actor
        elif isinstance(op, Close) and not op.writers_left:
            self._open.pop(op.ino, None)

    def at(self, ino: int | None, ack: Ack) -> bool:
        """Whether the file is one that another actor has open for writing."""
        opener = self._open.get(ino) if ino is not None else None
        return opener is not None and opener != ack.actor and ack.actor in self._speaks_for_itself

    def is_of_another(self, ino: int, ack: Ack) -> bool:
        """Whether the file is one that an actor with acknowledgements of its own wrote last: not of this one."""
        writer = self._writer.get(ino, ack.actor)
        return self.at(ino, ack) or (writer != ack.actor and writer in self._acknowledges)


class _Replay:
    def __init__(self, trace: Trace, bindings: Bindings) -> None:
        self.tree = trace.start
        self.bindings = bindings
        self.names = Names(trace.start)
        self.histories: dict[str, History] = {}
        self.writers: dict[int, int] = {}
        self.acks: list[str] = []
        self._in_flight = InFlight(trace)
        self._clock = 0
        self._changed_at: dict[str, int] = {}
        self._news: dict[str, int] = {}
        for path in trace.start.names:
            start = _held(trace.start, path, bindings.of(path))
            if start is not None:
                self._history(path, start)

    def _history(self, path: str, start: Version = None) -> History | None:
        history = self.histories.get(path)
        if history is None:
            binding = self.bindings.of(path)
            if binding is None or binding.litter or binding.format == "opaque":
                return None
            history = self.histories[path] = History(path, binding, start, len(self.acks))
        return history

    def step(self, op: AnyOperation) -> None:
        """Apply one operation and note what it changed and published."""
        if type(op) is Ack:
            self._acknowledge(op)
            return
        before = self.tree
        if op.error:
            return
        self._in_flight.note(op)
        if type(op) is Write:
            self.names.writers.add(op.actor)
        self.tree = after = apply(before, as_asked(op))
        self._clock += 1
        self._count_writers(op)
        moved = isinstance(op, Rename | Link)
        for path in touched_paths(op, before, after):
            held = _held(after, path, self.bindings.of(path))
            history = self._history(path) if held is not None else self.histories.get(path)
            if history is not None:
                gone = history.last if history.replaces(held) else None
                asked = gone is not None and not moved and history.has_prefixes
                elsewhere = asked and self._may_be_elsewhere(path, gone)
                history.change(held, moved=moved, elsewhere=elsewhere)
                self._changed_at[path] = self._clock
        self._note_moved(op, before, after)
        self._publish_after(op)

    def _may_be_elsewhere(self, path: str, gone: Version) -> bool:
        """Whether a file published since ``path`` last changed may hold its records, though not as they were."""
        since = self._changed_at.get(path, -1)
        if gone is None or not any(at > since for other, at in self._news.items() if other != path):
            return False
        return not _lines_are_elsewhere(self.tree, path, gone)

    def _acknowledge(self, op: Ack) -> None:
        self.acks.append(op.id)
        for path, history in self.histories.items():
            in_flight = self._in_flight.at(self.tree.names.get(path), op)
            if history.acknowledge(in_flight):
                self._note_news(path, history)
        self.names.published.update(
            path for path, ino in self.tree.names.items() if not self._in_flight.is_of_another(ino, op)
        )

    def _count_writers(self, op: AnyOperation) -> None:
        if isinstance(op, Open):
            self.writers[op.ino] = self.writers.get(op.ino, 0) + 1
        elif isinstance(op, Close):
            self.writers[op.ino] = op.writers_left

    def _note_moved(self, op: AnyOperation, before: Tree, after: Tree) -> None:
        if isinstance(op, Rename):
            self.names.renamed.update((op.path, op.to, *before.below(op.path), *after.below(op.to)))
        elif isinstance(op, Link):
            self.names.renamed.update((op.path, *after.names_of(op.ino)))
        elif isinstance(op, Open | MakeNode) and op.path is not None and op.path not in before.names:
            self.names.created.add(op.path)
        if isinstance(op, Rename | Unlink) and before.names is not after.names:
            self.names.moved.add(op.path)
            if not isinstance(before.node_at(op.path), File):
                self.names.moved.update(before.below(op.path))

    def _publish_after(self, op: AnyOperation) -> None:
        if isinstance(op, Close) and op.writers_left == 0:
            for path in self.tree.names_of(op.ino):
                self._publish(path)
        elif isinstance(op, Rename):
            for path in (op.to, op.path) if op.exchange else (op.to,):
                self._publish_if_closed(path)
                for below in self.tree.below(path) if not isinstance(self.tree.node_at(path), File) else ():
                    self._publish_if_closed(below)
        elif isinstance(op, Link) or (isinstance(op, MakeNode) and op.destination is not None):
            self._publish_if_closed(op.path)

    def _publish_if_closed(self, path: str) -> None:
        ino = self.tree.names.get(path)
        if ino is not None and not self.writers.get(ino):
            self._publish(path)

    def _publish(self, path: str) -> None:
        history = self.histories.get(path)
        if history is not None and history.publish():
            self._note_news(path, history)

    def _note_news(self, path: str, history: History) -> None:
        if history.last is not None and history.last.size:
            self._news[path] = self._clock


def replay_histories(trace: Trace, bindings: Bindings) -> tuple[Names, dict[str, History]]:
    """Return the names and the per-path histories of a run."""
    run = _Replay(trace, bindings)
    for op in trace.operations:
        run.step(op)
    for history in run.histories.values():
        history.finish()
    run.names.finish(run.tree, tuple(run.acks))
    return run.names, run.histories
