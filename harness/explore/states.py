"""Every tree that a process kill, or a write cut short, can leave behind a recorded run.

``kill``: the state before the first operation and after each one (an acknowledgement included: it changes what is
owed), and every write torn at the page boundaries of the file offset strictly inside it; nothing else, because a
killed process loses nothing that a completed call accepted. ``short``: every write cut at any byte.

Non-goals: power loss (what the file system may lose or reorder), and de-duplication
(:func:`harness.explore.exploration.explore`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from harness.core.apply import apply
from harness.core.content import Content
from harness.core.fault import PAGE_BYTES, FaultClass, Phase
from harness.core.operation import Ack, AnyOperation, Write
from harness.core.trace import Trace
from harness.core.tree import File, Tree

CUTS_PER_WRITE = 4096
"""Default cap on the cuts of one write; a longer write is sampled, and the sample reported."""

CUTS_PER_RUN = 400_000
"""Cap on the cuts of all writes of a run together (some seconds of judging); past it the writes share it."""

_CUTS_AT_LEAST = 64
_OVERWRITE_WORK_BYTES = 64 << 20
"""Bytes that may be hashed anew for the cuts of one write into the middle of a file (a cut rehashes the rest)."""

_EDGE_BYTES = 64

StateClass = Literal["kill", "short"]

RULE_START = "kill: before the first operation"
RULE_AFTER = "kill: every completed operation survives the death of the process"
RULE_TORN = "kill: a write can be cut where the file offset is a multiple of 4096"
RULE_SHORT = "short: a write can accept any prefix of its bytes"


class CrashState(NamedTuple):
    """One tree a crash can leave, and the rule that allows it.

    ``seq`` is the operation the state belongs to, ``phase`` the moment relative to it, ``bytes`` what of it
    landed when torn. ``acked`` counts the acknowledgements before that moment.
    """

    tree: Tree
    seq: int
    phase: Phase
    bytes: int
    acked: int
    fault_class: FaultClass
    rule: str


class Sampled(NamedTuple):
    """A write with more cuts than the cap: ``taken`` of ``possible`` were explored."""

    seq: int
    taken: int
    possible: int


def _ignore_sample(_: Sampled) -> None:
    """Drop the notice."""


def crash_states(
    trace: Trace,
    fault_class: StateClass,
    cuts_per_write: int = CUTS_PER_WRITE,
    *,
    on_sample: Callable[[Sampled], None] = _ignore_sample,
) -> Iterator[CrashState]:
    """Yield the crash states of ``trace``, in the order of the run; equal trees may come more than once.

    ``on_sample`` is told of each write whose cuts were sampled. Raises ``ValueError`` for a fault class other than
    ``kill`` and ``short``, :class:`harness.core.apply.ReplayError` for a trace that contradicts itself.
    """
    if fault_class not in ("kill", "short"):
        raise ValueError(f"no crash states under {fault_class!r}; valid: kill, short")
    kill = fault_class == "kill"
    tree = trace.start
    acked = 0
    cuts_per_write = cuts_per_write if kill else _shared(trace, cuts_per_write)
    if kill:
        yield CrashState(tree, 0, "before", 0, 0, "kill", RULE_START)
    for op in trace.operations:
        if type(op) is Write and not op.error:
            if kill:
                for cut, torn in _torn(tree, op, () if op.atomic else page_cuts(op)):
                    yield CrashState(torn, op.seq, "torn", cut, acked, "kill", RULE_TORN)
            else:
                for cut, torn in _torn(tree, op, _short_cuts(tree, op, cuts_per_write, on_sample)):
                    yield CrashState(torn, op.seq, "torn", cut, acked, "short", RULE_SHORT)
        tree = _after(tree, op)
        if type(op) is Ack:
            acked += 1
        if kill:
            yield CrashState(tree, op.seq, "after", 0, acked, "kill", RULE_AFTER)


def last_byte_states(trace: Trace) -> Iterator[CrashState]:
    """Yield, of the states under ``short``, those in which a write took all but its last byte: often its newline."""
    tree, acked = trace.start, 0
    for op in trace.operations:
        if type(op) is Write and not op.error and len(op.data) > 1:
            for cut, torn in _torn(tree, op, (len(op.data) - 1,)):
                yield CrashState(torn, op.seq, "torn", cut, acked, "short", RULE_SHORT)
        tree = _after(tree, op)
        acked += type(op) is Ack


def _shared(trace: Trace, cuts_per_write: int) -> int:
    """Return the cap per write at which the cuts of the whole run stay within :data:`CUTS_PER_RUN`."""
    possible = [len(op.data) for op in trace.operations if type(op) is Write]
    while cuts_per_write > _CUTS_AT_LEAST and sum(min(size, cuts_per_write) for size in possible) > CUTS_PER_RUN:
        cuts_per_write = max(_CUTS_AT_LEAST, cuts_per_write // 2)
    return cuts_per_write


def _after(tree: Tree, op: AnyOperation) -> Tree:
    return tree if type(op) is Ack else apply(tree, op)


def page_cuts(op: Write) -> Sequence[int]:
    """Return the byte counts at which a kill can cut ``op``: where the file offset reaches a page boundary."""
    first = PAGE_BYTES - op.offset % PAGE_BYTES
    return range(first, len(op.data), PAGE_BYTES)


def _short_cuts(tree: Tree, op: Write, cuts_per_write: int, on_sample: Callable[[Sampled], None]) -> Sequence[int]:
    possible = len(op.data) - 1
    limit = max(1, cuts_per_write)
    node = tree.nodes.get(op.ino)
    if isinstance(node, File) and node.content.size > op.offset:
        limit = min(limit, max(_EDGE_BYTES, _OVERWRITE_WORK_BYTES // (node.content.size - op.offset)))
    if possible <= limit:
        return range(1, possible + 1)
    cuts = sample_cuts(op.data, op.offset, limit)
    on_sample(Sampled(op.seq, len(cuts), possible))
    return cuts


def sample_cuts(data: bytes, offset: int, limit: int) -> list[int]:
    """Return at most ``limit`` cuts of ``data``, sorted, each in ``[1, len(data))``.

    In order of worth: both edges (64 bytes), page boundaries, around each newline, then evenly spaced ones.
    A class that does not fit is thinned evenly, so that no part of the write goes unlooked at.
    """
    possible = len(data) - 1
    chosen: set[int] = set()

    def take(candidates: Sequence[int], share: int) -> None:
        fresh = [cut for cut in candidates if 0 < cut <= possible and cut not in chosen]
        room = min(share, limit - len(chosen))
        chosen.update(fresh if len(fresh) <= room else _thinned(fresh, room))

    edges = [*range(1, _EDGE_BYTES + 1), *range(max(1, possible - _EDGE_BYTES + 1), possible + 1)]
    take(edges, max(1, limit // 4))
    take(range(PAGE_BYTES - offset % PAGE_BYTES, possible + 1, PAGE_BYTES), max(1, limit // 4))
    take(_around_newlines(data), max(1, limit // 4))
    take(_thinned(range(1, possible + 1), limit), limit)
    return sorted(chosen)


def _thinned(items: Sequence[int], count: int) -> list[int]:
    """Return ``count`` of ``items``, evenly spaced."""
    if count <= 0 or not items:
        return []
    return [items[index * len(items) // count] for index in range(count)]


def _around_newlines(data: bytes) -> list[int]:
    cuts: list[int] = []
    at = data.find(b"\n")
    while at >= 0:
        cuts += (at, at + 1, at + 2)
        at = data.find(b"\n", at + 1)
    return cuts


def _torn(tree: Tree, op: Write, cuts: Sequence[int]) -> Iterator[tuple[int, Tree]]:
    """Yield (bytes that landed, tree) for each cut of a write, in ascending order.

    The prefix grows from cut to cut, so appending costs the bytes between two cuts, never the file.
    """
    node = tree.nodes.get(op.ino)
    if not cuts or not isinstance(node, File):
        return
    whole, data, offset = node.content, op.data, op.offset
    over = whole.read(offset, offset + len(data)) if offset < whole.size else b""
    rest = whole.read(offset + len(data), whole.size) if over else b""
    prefix: Content = whole if whole.size == offset else whole.truncate(offset)
    tree_with = tree.replacing(op.ino)
    mode, landed = node.mode, 0
    for cut in cuts:
        prefix = prefix.append(data[landed:cut])
        landed = cut
        content = prefix.append(over[cut:] + rest) if over else prefix
        yield cut, tree_with(File(content, mode, None))
