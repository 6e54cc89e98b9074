"""Bindings for a program nobody described: what its operations say about its files.

A file opened with O_APPEND, or extended again after a close or an acknowledgement (of another actor: only once it is
closed), is a log, unless what it held at
acknowledgements (at publications, where none came) shows that it is none: each time one whole JSON value that is no
line, or never more of what it held before. Everything else is a document: a file written in one open, and a
symbolic link, whose version is its destination. Whether either is JSON is read off what the run published, and whether
a document collects what is acknowledged off what it held at each acknowledgement.

A file written at random offsets, mapped, or beside such a file (``x-wal`` beside ``x``) is a store of its own kind:
opaque, not judged here, and :meth:`harness.checks.judge.Judge.measured` says so. A document that the run creates
and removes, that is there neither at the start nor at the end, and that is never renamed, is a lock or a marker: it
may be there or not, and what it holds is not judged (opaque too, if it ever holds anything).

Non-goals: what a log's records mean, and what cannot be told from order alone (records without newlines, a log
emptied after another file took its records in another form): such a log is judged as far as it goes and does not
count as measured (:attr:`harness.checks.expectation.ExpectedRecords.undecided`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from harness.checks.binding import Bindings, FileBinding, TornTail
from harness.checks.collecting import collection_key
from harness.checks.expectation import Expectation
from harness.checks.replaying import InFlight, as_asked
from harness.checks.summary import is_json, parse_json
from harness.checks.versions import History, extends
from harness.core.apply import apply
from harness.core.content import Content
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

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight
        self.appended: set[int] = set()
        self.scattered: set[int] = set()
        self.mapped: set[int] = set()
        self._settled: set[int] = set()
        self._next_offset: dict[int, int] = {}
        self._written: set[int] = set()

    def note(self, op: AnyOperation, before: Tree) -> None:
        """Look at one operation."""
        self._in_flight.note(op)
        if isinstance(op, Ack):
            self._settled |= {ino for ino in self._written if not self._in_flight.at(ino, op)}
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


def infer_bindings(trace: Trace, torn_tail: TornTail = "violation") -> tuple[FileBinding, ...]:
    """Return a binding per file that ``trace`` published, then one per role for names that differ between runs.

    ``torn_tail`` says of all logs whether the next start of the program heals a torn last record.
    """
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
    grown = {
        ino
        for path, history in published.items()
        if _is_log(history) and _grows(history)
        for ino in inodes.get(path, ())
    }
    exact: list[FileBinding] = []
    by_role: dict[str, FileBinding] = {}
    for path, history in published.items():
        if everything.names.is_litter(path):
            continue
        mine = inodes.get(path, set()) & usage.appended
        # A rotated log grows under another name.
        log = bool(mine) and (_is_log(history) or bool(mine & grown))
        if everything.names.is_marker(path) and not (log and _is_framed(history)) and path not in opaque:
            if not any(version is not None and version.size for version in history.versions):
                continue
            opaque.add(path)
        binding = _binding(path, history, torn_tail, log=log, opaque=path in opaque)
        if binding.holds_document and binding.json:
            binding = msgspec.structs.replace(binding, id_key=_collection(history, everything.ack_ids))
        exact.append(binding)
        role = path_role(path)
        if not history.was_there and role != path:
            glob = _PLACEHOLDER.sub("*", _SPECIAL.sub(lambda m: f"[{m[0]}]", role))
            by_role.setdefault(glob, msgspec.structs.replace(binding, glob=glob))
    return (*exact, *by_role.values())


def _usage_of(trace: Trace) -> tuple[_Usage, dict[str, set[int]]]:
    """Return how inodes were written, and which inodes each path ever named."""
    usage = _Usage(InFlight(trace))
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


def _held(history: History) -> list[Content]:
    """Return what a file held at acknowledgements and at the end; at its publications, if that was never anything."""
    settled = [version for version in (*history.at_ack[1:], history.last) if version is not None and version.size]
    return settled or [version for version in history.versions if version is not None and version.size]


def _is_framed(history: History) -> bool:
    return all(content.read(content.size - 1, content.size) == b"\n" for content in _held(history))


def _is_log(history: History) -> bool:
    """Whether a file that is appended to keeps what it held."""
    held = _held(history)
    if held and all(_is_whole_value(content.to_bytes()) for content in held):
        return False
    drained = any(version is not None and not version.size for version in history.at_ack[1:])
    return drained or not _changes(history) or _grows(history)


def _changes(history: History) -> list[tuple[Content, Content]]:
    """Return what a file held, as pairs of before and after, at acknowledgements, or at publications without."""
    held = _held(history)
    if len({content.digest for content in held}) < 2:
        held = [version for version in history.versions if version is not None and version.size]
    return [(old, new) for old, new in pairwise(held) if old != new]


def _grows(history: History) -> bool:
    return any(extends(new, old) for old, new in _changes(history))


def _is_whole_value(data: bytes) -> bool:
    """Whether the bytes are one JSON object or array, and not a line of a log."""
    if data.find(b"\n") == len(data) - 1:
        return False
    try:
        return isinstance(parse_json(data), dict | list)
    except ValueError:
        return False


def _is_database(history: History) -> bool:
    return any(v is not None and v.read(0, len(_SQLITE)) == _SQLITE for v in history.versions)


def _binding(path: str, history: History, torn_tail: TornTail, *, log: bool, opaque: bool) -> FileBinding:
    glob = _SPECIAL.sub(lambda m: f"[{m[0]}]", path)
    if opaque:
        return FileBinding(glob, "opaque")
    if not log:
        contents = [version.to_bytes() for version in history.versions if version is not None and version.size]
        return FileBinding(glob, "document", json=bool(contents) and all(map(is_json, contents)))
    lines = [line for content in _held(history)[-1:] for line in content.to_bytes().split(b"\n")[:-1]]
    json = _is_framed(history) and bool(lines) and _are_objects(lines)
    return FileBinding(glob, "log", torn_tail=torn_tail, json=json)


def _collection(history: History, ack_ids: Sequence[str]) -> str:
    """Return where a document collects the ids that are acknowledged, if it does, from all that it held then."""
    held = [version.to_bytes() for version in history.at_ack[1:] if version is not None]
    if not held or history.last is None or len(held) != len(ack_ids):
        return ""
    return collection_key(history.last.to_bytes(), list(zip(ack_ids, held, strict=True)))


def _are_objects(lines: Iterable[bytes]) -> bool:
    try:
        return all(isinstance(parse_json(line), dict) for line in lines)
    except ValueError:
        return False
