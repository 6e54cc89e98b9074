"""Readers beside writers: the moments of a run at which one would see what is no version, and orders that put it there.

The moments are worked out from the trace of one run, in memory: whoever opens a document between two operations gets
what it holds there, and who reads it in pieces gets the first of them from before an operation and the rest from after
it. An order that holds a reader back until such a moment is what a real reader shows it under. What else a reader meets
that is interrupted is left to the search.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.campaign.context import Measured
from harness.catalog import parse_listing
from harness.checks import ABSENT, GONE, judge_listing, judge_reads, list_sessions, read_of
from harness.checks.reading import Read
from harness.core.apply import apply
from harness.core.operation import Ack, AnyOperation, Write
from harness.core.run import Recording
from harness.core.schedule import Prefix, schedule_of
from harness.core.trace import Trace
from harness.core.tree import File, Tree
from harness.core.verdict import Violation
from harness.explore.schedule import strand_of, thread_label
from harness.services.together import PIECE

STEPS = 12
"""So many operations a reader may need until it has the first piece of a document."""
MOMENTS = 3
"""So many moments are tried: each that is the first of its document and damage."""
_REACHED = "M10"
UNINTERRUPTED = Prefix(begin=schedule_of(()))
"""The order in which the moments are looked for: nobody is interrupted."""


def exact_reads(measured: Measured) -> bool:
    """Whether the versions of the recording are all that there can be: not where writers meet, or runs differ."""
    explored = measured.explored
    return not (measured.interleaves or explored.unsteady or explored.judged.masked)


def reads_violations(measured: Measured, recording: Recording) -> tuple[Violation, ...]:
    """Return what is wrong with what the readers of a run have read."""
    expectation = measured.expectation
    reads: dict[str, list[Read]] = {}
    for path, each in recording.reads.items():
        absent, reads[path] = ABSENT, []
        for data in each:
            reads[path].append(absent if data is None else read_of(data, expectation))
            if data is not None and recording.spec.readers == 1:  # of several nobody knows who came first
                absent = GONE
    return _judged(measured, reads)


def _judged(measured: Measured, reads: Mapping[str, Sequence[Read]]) -> tuple[Violation, ...]:
    invariants = measured.case.invariants or None
    return judge_reads(reads, measured.expectation, exact=exact_reads(measured), invariants=invariants)


def listing_violations(measured: Measured, recording: Recording) -> tuple[Violation, ...]:
    """Return what is wrong with what the target's own lister printed beside its writers.

    A session that was there when the run began is there all the time.
    """
    if recording.listed is None:
        return ()
    code, printed = recording.listed
    asked = measured.case.invariants or frozenset({_REACHED})
    if _REACHED not in asked or not list_sessions(recording.spec.start, measured.expectation.bindings):
        return ()
    if code:
        what = f"exit code {code}" if code > 0 else f"signal {-code}"
        message = f"the target's own list fails beside a writer: {what}"
        return (Violation(invariant=_REACHED, path="", damage="unreadable", message=message),)
    listing = parse_listing(printed)
    return judge_listing(
        recording.spec.start,
        measured.expectation.bindings,
        listing.ids,
        listing.warned,
        expectation=measured.expectation,
        fault_class="concurrency",
        invariants=(_REACHED,),
    )


def telling_orders(measured: Measured, recording: Recording) -> Iterator[Prefix]:
    """Yield orders of the run under :data:`UNINTERRUPTED` in which a reader would see what is no version."""
    trace, scheduled = recording.trace, recording.scheduled
    if trace is None or scheduled is None or scheduled.problem:
        return
    several = recording.spec.readers + bool(recording.spec.listing)
    readers = [thread_label(1 + number, 0) for number in range(several)]
    decisions = scheduled.schedule.decisions
    for seq in list(_moments(measured, recording))[:MOMENTS]:
        made = sum(done <= seq for done in scheduled.done)
        writers = [label for label in decisions[:made] if strand_of(label) not in readers]
        yield Prefix(begin=schedule_of([*writers, readers[0]]))
        if recording.spec.listing:
            yield Prefix(begin=schedule_of([*writers, readers[-1]]))


def torn_orders(measured: Measured, recording: Recording) -> Iterator[Prefix]:
    """Yield orders in which a reader is interrupted after its first piece of a document, by a write that tears it.

    How many operations a reader needs to come there is not worked out, but tried.
    """
    trace, scheduled = recording.trace, recording.scheduled
    if trace is None or scheduled is None or scheduled.problem:
        return
    seq = next(_tearing(measured, recording), -1)
    if seq < 0:
        return
    reader, decisions = thread_label(1, 0), scheduled.schedule.decisions
    at = sum(done <= seq for done in scheduled.done) - 1
    before = [label for label in decisions[:at] if strand_of(label) != reader]
    for steps in range(1, STEPS + 1):
        yield Prefix(begin=schedule_of([*before, *[reader] * steps, decisions[at], reader]))


def gone_orders(measured: Measured, recording: Recording) -> Iterator[Prefix]:
    """Yield orders in which a reader has a document, and finds it gone when it opens it again.

    As with pieces, how many operations it needs until it has it is tried.
    """
    trace, scheduled = recording.trace, recording.scheduled
    if trace is None or scheduled is None or scheduled.problem or recording.spec.readers != 1:
        return
    there, gone = _vanishing(measured, recording)
    if gone < 0:
        return
    reader = thread_label(1, 0)

    def writers(seq: int) -> list[str]:
        made = sum(done <= seq for done in scheduled.done)
        return [label for label in scheduled.schedule.decisions[:made] if strand_of(label) != reader]

    first, whole = writers(there), writers(gone)
    for steps in range(1, STEPS + 1):
        yield Prefix(begin=schedule_of([*first, *[reader] * steps, *whole[len(first) :], reader]))


def _vanishing(measured: Measured, recording: Recording) -> tuple[int, int]:
    """Return the operation behind which a document is there first, and that behind which it is gone; -1 without one."""
    trace, expectation = recording.trace, measured.expectation
    assert trace is not None
    there = {path: -1 for path in expectation.histories if isinstance(trace.start.node_at(path), File)}
    for op, _, tree in _changes(trace):
        for path in expectation.histories:
            if isinstance(tree.node_at(path), File):
                there.setdefault(path, op.seq)
            elif there.get(path, -1) >= 0 and _judged(measured, {path: [GONE]}):
                return there[path], op.seq
    return -1, -1


def _tearing(measured: Measured, recording: Recording) -> Iterator[int]:
    """Yield the writes after which the first piece of a document as it was and the rest as it is are no version."""
    trace = recording.trace
    assert trace is not None
    for op, tree, after in _changes(trace):
        if not isinstance(op, Write):
            continue
        old, new = tree.nodes.get(op.ino), after.nodes.get(op.ino)
        if not isinstance(old, File) or not isinstance(new, File) or old.content.size <= PIECE:
            continue
        seen = old.content.read(0, PIECE) + new.content.read(PIECE, new.content.size)
        reads = {path: [read_of(seen, measured.expectation)] for path in tree.names_of(op.ino)}
        if _judged(measured, reads):
            yield op.seq


def _moments(measured: Measured, recording: Recording) -> Iterator[int]:
    """Yield the operations after which a document is no version, the first of each document and damage."""
    trace = recording.trace
    assert trace is not None
    seen: set[tuple[str, str]] = set()
    for op, _, tree in _changes(trace):
        found = {(item.path, item.damage) for item in _seen_in(measured, tree)}
        if found - seen:
            yield op.seq
        seen |= found


def _changes(trace: Trace) -> Iterator[tuple[AnyOperation, Tree, Tree]]:
    """Yield the operations that changed something, with the trees before and after."""
    tree = trace.start
    for op in trace.operations:
        if not isinstance(op, Ack) and not op.error:
            before, tree = tree, apply(tree, op)
            yield op, before, tree


def _seen_in(measured: Measured, tree: Tree) -> tuple[Violation, ...]:
    """Return what a reader would see of a tree that is no version."""
    expectation = measured.expectation
    reads = {}
    for path, node in ((path, tree.node_at(path)) for path in expectation.histories):
        if path in expectation.documents or expectation.key_of(path) in expectation.documents:
            reads[path] = [read_of(node.content.to_bytes(), expectation) if isinstance(node, File) else ABSENT]
    return _judged(measured, reads)
