"""Where a recording is cut: one cut per state that matters, the hardest moment of each, and where to strike for it."""

from __future__ import annotations

from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st

from harness.core.operation import Ack, Close, Mkdir, Open, Write
from harness.core.trace import Actor, Trace
from harness.core.tree import File, Tree
from harness.explore.cutting import cuts_of, thinned

LINE = b'{"a": 1}\n'


def trace_of(*lines: bytes) -> Trace:
    """A log that gets ``lines``, each opened, written and closed; other files change between them."""
    operations: list[object] = [Open(seq=0, path="log", ino=1, created=True), Close(seq=1, ino=1)]
    size = 0
    for number, line in enumerate(lines):
        operations += [
            Open(seq=len(operations), path="log", ino=1, append=True),
            Write(seq=len(operations) + 1, ino=1, offset=size, data=line),
            Close(seq=len(operations) + 2, ino=1),
            Mkdir(seq=len(operations) + 3, ino=100 + number, path=f"d{number}"),
            Ack(seq=len(operations) + 4, id=str(number)),
        ]
        size += len(line)
    return Trace(root="/x", engine="t", actors=(Actor(process=0),), operations=tuple(operations))  # type: ignore[arg-type]


def log_of(tree: Tree) -> Hashable | None:
    node = tree.node_at("log")
    return node.content.to_bytes() if isinstance(node, File) and node.content.size else None


def test_each_state_is_one_cut_and_its_last_moment_owes_the_most() -> None:
    cuts = cuts_of(trace_of(LINE, LINE), log_of)
    killed = [cut for cut in cuts if cut.fault_class == "kill"]
    short = [cut for cut in cuts if cut.fault_class == "short"]
    assert [log_of(cut.last.tree) for cut in killed] == [LINE, LINE * 2]
    assert [log_of(cut.last.tree) for cut in short] == [LINE[:-1], LINE + LINE[:-1]]
    first, second = killed
    assert [state.acked for state in first.states] == [0, 0, 0, 1, 1]
    assert str(first.point) == "write #2 of log by p0, before"
    assert str(second.point) == "mkdir #1 of d<n> by p0, after" or "after" in str(second.point)
    assert str(short[0].point) == "write #1 of log by p0, torn, 1 bytes short"


def test_where_nothing_matters_nothing_is_cut() -> None:
    assert cuts_of(trace_of(LINE), lambda _: None) == []
    assert cuts_of(Trace(root="/x", engine="t"), log_of) == []


@given(st.lists(st.sampled_from([LINE, b"x\n", b"y" * 5000 + b"\n"]), max_size=5))
def test_every_moment_with_a_state_that_matters_is_in_one_cut(lines: list[bytes]) -> None:
    cuts = [cut for cut in cuts_of(trace_of(*lines), log_of) if cut.fault_class == "kill"]
    for cut in cuts:
        assert {log_of(state.tree) for state in cut.states} == {log_of(cut.last.tree)}
        assert cut.last.acked == max(state.acked for state in cut.states)
    moments = [(state.seq, state.phase, state.bytes) for cut in cuts for state in cut.states]
    assert len(set(moments)) == len(moments)


@given(st.lists(st.integers(), max_size=50), st.integers(1, 60))
def test_a_sample_is_spread_and_keeps_the_last(items: list[int], most: int) -> None:
    found = thinned(list(enumerate(items)), most)
    assert len(found) == min(most, len(items)) and sorted(set(found)) == found
    assert not items or found[-1][0] == len(items) - 1
