"""Readers beside writers: the moments of a run at which one would see what is no version, and orders that put it there.

The moments are worked out from the trace of one run, in memory: whoever opens a document between two operations gets
what it holds there. An order that holds the reader back until such a moment and then lets it read everything is what a
real reader shows it under. What a reader meets that is interrupted itself is left to the search.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.campaign.context import Measured
from harness.catalog import parse_listing
from harness.checks import ABSENT, judge_listing, judge_reads, list_sessions, read_of
from harness.core.apply import apply
from harness.core.operation import Ack
from harness.core.run import Recording
from harness.core.schedule import Prefix, schedule_of
from harness.core.tree import File, Tree
from harness.core.verdict import Violation
from harness.explore.schedule import strand_of, thread_label

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
    reads = {
        path: [ABSENT if data is None else read_of(data, expectation) for data in each]
        for path, each in recording.reads.items()
    }
    return judge_reads(
        reads, expectation, exact=exact_reads(measured), invariants=measured.case.invariants or None
    )


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


def _moments(measured: Measured, recording: Recording) -> Iterator[int]:
    """Yield the operations after which a document is no version, the first of each document and damage."""
    trace = recording.trace
    assert trace is not None
    seen: set[tuple[str, str]] = set()
    tree = trace.start
    for op in trace.operations:
        if isinstance(op, Ack) or op.error:
            continue
        tree = apply(tree, op)
        found = {(item.path, item.damage) for item in _seen_in(measured, tree)}
        if found - seen:
            yield op.seq
        seen |= found


def _seen_in(measured: Measured, tree: Tree) -> tuple[Violation, ...]:
    """Return what a reader would see of a tree that is no version."""
    expectation = measured.expectation
    reads = {}
    for path, node in ((path, tree.node_at(path)) for path in expectation.histories):
        if path in expectation.documents or expectation.key_of(path) in expectation.documents:
            reads[path] = [read_of(node.content.to_bytes(), expectation) if isinstance(node, File) else ABSENT]
    invariants = measured.case.invariants or None
    return judge_reads(reads, expectation, exact=exact_reads(measured), invariants=invariants)
