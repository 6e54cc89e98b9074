"""Bindings for a program nobody described: what its operations say about its files.

A file opened with O_APPEND, or extended again after a close or an acknowledgement, is a log; one written in one
open is a document. Whether either is JSON is read off what the run published. A file written at random offsets,
mapped, or beside such a file (``x-wal`` beside ``x``) is a store of its own kind: opaque, not judged here, and
:meth:`harness.checks.judge.Judge.measured` says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.checks.binding import Bindings, FileBinding
from harness.checks.expectation import Expectation
from harness.checks.replaying import as_asked
from harness.checks.summary import parse_json
from harness.checks.versions import History
from harness.core.apply import apply
from harness.core.operation import Ack, AnyOperation, Close, Map, Open, Truncate, Write
from harness.core.role import path_role
from harness.core.trace import Trace
from harness.core.tree import File, Tree

_SPECIAL = re.compile(r"[*?\[\]]")
_PLACEHOLDER = re.compile(r"<(?:uuid|hex|tmp|random|n)>")
_SQLITE = b"SQLite format 3\0"
_EVERYTHING = FileBinding("**", "document", json=False)


class _Usage:
    """How the inodes of a run were written, by number."""

    def __init__(self) -> None:
        self.appended: set[int] = set()
        self.scattered: set[int] = set()
        self.mapped: set[int] = set()
        self._settled: set[int] = set()
        self._next_offset: dict[int, int] = {}
        self._written: set[int] = set()

    def note(self, op: AnyOperation, before: Tree) -> None:
        """Look at one operation."""
        if isinstance(op, Ack):
            self._settled |= self._written
        elif isinstance(op, Close):
            if op.ino in self._written:
                self._settled.add(op.ino)
        elif isinstance(op, Map):
            self.mapped.add(op.ino)
        elif isinstance(op, Open):
            self._open(op)
        elif isinstance(op, Write):
            self._write(op, before)
        elif isinstance(op, Truncate):
            self._truncate(op, before)

    def _open(self, op: Open) -> None:
        if op.append:
            self.appended.add(op.ino)
        self._next_offset.pop(op.ino, None)
        if op.truncated:
            self._settled.discard(op.ino)

    def _write(self, op: Write, before: Tree) -> None:
        node = before.nodes.get(op.ino)
        size = node.content.size if isinstance(node, File) else 0
        if op.offset > size:
            self.scattered.add(op.ino)
        elif op.offset == size:
            if size and op.ino in self._settled and self._next_offset.get(op.ino, size) == size:
                self.appended.add(op.ino)
        elif op.offset != 0 and op.offset != self._next_offset.get(op.ino):
            self.scattered.add(op.ino)
        if op.offset == 0:
            self._settled.discard(op.ino)
        self._next_offset[op.ino] = op.offset + len(op.intended)
        self._written.add(op.ino)

    def _truncate(self, op: Truncate, before: Tree) -> None:
        node = before.nodes.get(op.ino)
        size = node.content.size if isinstance(node, File) else 0
        if op.size > size:
            self.scattered.add(op.ino)
        elif op.size == 0:
            self._settled.discard(op.ino)


def infer_bindings(trace: Trace) -> tuple[FileBinding, ...]:
    """Return a binding per file that ``trace`` published, then one per role for names that differ between runs."""
    usage, inodes = _usage_of(trace)
    everything = Expectation.from_trace(trace, Bindings((_EVERYTHING,)))
    published = {
        path: history
        for path, history in sorted(everything.histories.items())
        if path in everything.names.published or any(v is not None for v in history.versions)
    }
    opaque = {
        path
        for path, history in published.items()
        if inodes.get(path, set()) & (usage.scattered | usage.mapped)
        or path in trace.unseen_paths
        or _is_database(history)
    }
    opaque |= {path for path in published if any(path.startswith(store + "-") for store in opaque)}
    exact: list[FileBinding] = []
    by_role: dict[str, FileBinding] = {}
    for path, history in published.items():
        if everything.names.is_litter(path):
            continue
        log = bool(inodes.get(path, set()) & usage.appended)
        binding = _binding(path, history, log=log, opaque=path in opaque)
        exact.append(binding)
        role = path_role(path)
        if not history.was_there and role != path:
            glob = _PLACEHOLDER.sub("*", _SPECIAL.sub(lambda m: f"[{m[0]}]", role))
            by_role.setdefault(glob, FileBinding(glob, binding.format, json=binding.json))
    return (*exact, *by_role.values())


def _usage_of(trace: Trace) -> tuple[_Usage, dict[str, set[int]]]:
    """Return how inodes were written, and which inodes each path ever named."""
    usage = _Usage()
    inodes: dict[str, set[int]] = {path: {ino} for path, ino in trace.start.names.items()}
    tree = trace.start
    for op in trace.operations:
        if op.error:
            continue
        usage.note(op, tree)
        after = apply(tree, as_asked(op))
        if after.names is not tree.names:
            for path, ino in after.names.items():
                if tree.names.get(path) != ino:
                    inodes.setdefault(path, set()).add(ino)
        tree = after
    return usage, inodes


def _contents(history: History) -> list[bytes]:
    return [version.to_bytes() for version in history.versions if version is not None and version.size]


def _is_database(history: History) -> bool:
    return any(v is not None and v.read(0, len(_SQLITE)) == _SQLITE for v in history.versions)


def _binding(path: str, history: History, *, log: bool, opaque: bool) -> FileBinding:
    glob = _SPECIAL.sub(lambda m: f"[{m[0]}]", path)
    if opaque:
        return FileBinding(glob, "opaque")
    contents = _contents(history)
    if not log:
        return FileBinding(glob, "document", json=bool(contents) and all(map(_is_json, contents)))
    framed = all(data.endswith(b"\n") for data in contents)
    lines = contents[-1].split(b"\n")[:-1] if contents else []
    return FileBinding(glob, "log", json=framed and bool(lines) and _are_objects(lines))


def _is_json(data: bytes) -> bool:
    try:
        parse_json(data)
    except ValueError:
        return False
    return True


def _are_objects(lines: Iterable[bytes]) -> bool:
    try:
        return all(isinstance(parse_json(line), dict) for line in lines)
    except ValueError:
        return False
