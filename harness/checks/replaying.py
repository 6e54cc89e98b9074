"""Replay a trace once and note what each bound path held, and which names came and went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from harness.checks.binding import Bindings
from harness.checks.versions import History, Version
from harness.core.apply import apply
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
from harness.core.tree import File, Tree


class Names:
    """The names of a run. ``published``: at the start, at an acknowledgement, or at the end.

    ``litter``: never published, and renamed or unlinked by the run itself: its temporary files. In another run
    they are known by their role, unless a published new name has that role too. ``writers``: the actors that wrote.
    """

    def __init__(self, start: Tree) -> None:
        self.start: frozenset[str] = frozenset(start.names)
        self.published: set[str] = set(start.names)
        self.published_roles: frozenset[str] = frozenset()
        self.moved: set[str] = set()
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


def _held(tree: Tree, path: str) -> Version:
    node = tree.node_at(path)
    return node.content if isinstance(node, File) else None


class _Replay:
    def __init__(self, trace: Trace, bindings: Bindings) -> None:
        self.tree = trace.start
        self.bindings = bindings
        self.names = Names(trace.start)
        self.histories: dict[str, History] = {}
        self.writers: dict[int, int] = {}
        self.acks: list[str] = []
        self._published: Mapping[str, int] = trace.start.names
        for path, file in trace.start.files():
            self._history(path, file.content)

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
        if type(op) is Write:
            self.names.writers.add(op.actor)
        self.tree = after = apply(before, as_asked(op))
        self._count_writers(op)
        for path in touched_paths(op, before, after):
            held = _held(after, path)
            history = self._history(path) if held is not None else self.histories.get(path)
            if history is not None:
                history.change(held)
        self._note_moved(op, before, after)
        self._publish_after(op)

    def _acknowledge(self, op: Ack) -> None:
        self.acks.append(op.id)
        for history in self.histories.values():
            history.acknowledge()
        if self.tree.names is not self._published:
            self._published = self.tree.names
            self.names.published.update(self.tree.names)

    def _count_writers(self, op: AnyOperation) -> None:
        if isinstance(op, Open):
            self.writers[op.ino] = self.writers.get(op.ino, 0) + 1
        elif isinstance(op, Close):
            self.writers[op.ino] = op.writers_left

    def _note_moved(self, op: AnyOperation, before: Tree, after: Tree) -> None:
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
        elif isinstance(op, Link):
            self._publish_if_closed(op.path)

    def _publish_if_closed(self, path: str) -> None:
        ino = self.tree.names.get(path)
        if ino is not None and not self.writers.get(ino):
            self._publish(path)

    def _publish(self, path: str) -> None:
        history = self.histories.get(path)
        if history is not None:
            history.publish()


def replay_histories(trace: Trace, bindings: Bindings) -> tuple[Names, dict[str, History]]:
    """Return the names and the per-path histories of a run."""
    run = _Replay(trace, bindings)
    for op in trace.operations:
        run.step(op)
    for history in run.histories.values():
        history.finish()
    run.names.finish(run.tree, tuple(run.acks))
    return run.names, run.histories
