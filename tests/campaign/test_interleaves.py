"""Which null runs tell that a run nobody watches may be ordered otherwise."""

from __future__ import annotations

from harness.campaign.context import interleaves
from harness.core.operation import Ack, AnyOperation, Open, Write
from harness.core.trace import Trace


def trace_of(*operations: AnyOperation) -> Trace:
    return Trace(root="/w/state", engine="ptrace", operations=operations)


def test_only_what_changes_the_state_counts() -> None:
    first = Write(seq=0, actor=0, ino=1, offset=0, data=b"x")
    assert not interleaves(trace_of(first, Write(seq=1, actor=0, ino=2, offset=0, data=b"x")))
    assert interleaves(trace_of(first, Write(seq=1, actor=1, ino=2, offset=0, data=b"x")))
    looks = (Open(seq=1, actor=1, path="a", ino=2, created=False), Ack(seq=2, actor=2, id="1"))
    assert not interleaves(trace_of(first, *looks))
    refused = Write(seq=3, actor=1, ino=2, offset=0, data=b"", error=28)
    assert not interleaves(trace_of(first, refused))
