from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.apply import replay
from harness.core.trace import Trace
from harness.core.tree import EMPTY_TREE, Tree, tree_of
from harness.explore import Sampled, crash_states
from harness.explore.script import Script
from harness.explore.states import CUTS_PER_RUN, sample_cuts


def files(tree: Tree) -> dict[str, bytes]:
    return {path: file.content.to_bytes() for path, file in tree.files()}


def one_write(size: int, offset: int = 0, before: int = 0) -> Trace:
    script = Script(tree_of({"f": b"o" * before}) if before else EMPTY_TREE)
    fd = script.open("f")
    script.write(fd, bytes(i % 251 for i in range(size)), at=offset)
    script.close(fd)
    return script.trace()


def test_kill_states_are_one_before_and_one_after_every_operation() -> None:
    script = Script()
    script.put("f", b"abc")
    script.ack(1)
    states = list(crash_states(script.trace(), "kill"))
    assert [(s.seq, s.phase, s.acked) for s in states] == [
        (0, "before", 0),
        (0, "after", 0),
        (1, "after", 0),
        (2, "after", 0),
        (3, "after", 1),
    ]
    assert [files(s.tree) for s in states] == [{}, {"f": b""}, {"f": b"abc"}, {"f": b"abc"}, {"f": b"abc"}]


@pytest.mark.parametrize(
    ("size", "offset", "cuts"),
    [
        (4096, 0, []),
        (4097, 0, [4096]),
        (12000, 0, [4096, 8192]),
        (10000, 100, [3996, 8092]),
        (3996, 100, []),
        (3997, 100, [3996]),
        (10, 4090, [6]),
        (4096, 4096, []),
        (4097, 4096, [4096]),
    ],
)
def test_a_kill_tears_a_write_only_at_page_boundaries_of_the_file_offset(
    size: int, offset: int, cuts: list[int]
) -> None:
    torn = [s for s in crash_states(one_write(size, offset, before=offset), "kill") if s.phase == "torn"]
    assert [s.bytes for s in torn] == cuts
    assert all((offset + s.bytes) % 4096 == 0 for s in torn)


def test_an_atomic_write_is_never_torn_by_a_kill() -> None:
    trace = one_write(20000)
    operations = tuple(
        msgspec.structs.replace(op, atomic=True) if op.kind == "write" else op for op in trace.operations
    )
    trace = msgspec.structs.replace(trace, operations=operations)
    assert not [s for s in crash_states(trace, "kill") if s.phase == "torn"]


def test_short_states_are_every_byte_cut_strictly_inside_the_write() -> None:
    states = list(crash_states(one_write(100), "short"))
    data = bytes(range(100))
    assert [s.bytes for s in states] == list(range(1, 100))
    assert all(files(s.tree) == {"f": data[: s.bytes]} for s in states)


@given(before=st.integers(0, 40), offset=st.integers(0, 50), size=st.integers(0, 40))
def test_a_cut_of_a_write_anywhere_equals_the_bytes_written_naively(before: int, offset: int, size: int) -> None:
    new = bytes(200 + i % 50 for i in range(size))
    script = Script(tree_of({"f": b"o" * before}))
    script.write(script.open("f"), new, at=offset)
    for state in crash_states(script.trace(), "short"):
        expected = bytearray((b"o" * before).ljust(offset, b"\0"))
        expected[offset : offset + state.bytes] = new[: state.bytes]
        assert files(state.tree) == {"f": bytes(expected)}


def test_a_long_write_is_sampled_and_the_sample_reported() -> None:
    sampled: list[Sampled] = []
    states = list(crash_states(one_write(100_000), "short", 1000, on_sample=sampled.append))
    assert len(states) == 1000
    assert sampled == [Sampled(seq=1, taken=1000, possible=99_999)]


@given(st.binary(min_size=300, max_size=3000), st.integers(0, 9000), st.integers(1, 250))
def test_a_sample_is_bounded_sorted_and_inside_the_write(data: bytes, offset: int, limit: int) -> None:
    cuts = sample_cuts(data, offset, limit)
    assert cuts == sorted(set(cuts))
    assert 0 < len(cuts) <= limit
    assert all(0 < cut < len(data) for cut in cuts)


def test_a_sample_takes_edges_page_boundaries_and_newlines() -> None:
    data = bytearray(b"x" * 50_000)
    for at in (10_001, 30_001):
        data[at] = 10
    cuts = set(sample_cuts(bytes(data), 0, 2000))
    assert set(range(1, 65)) <= cuts
    assert set(range(50_000 - 64, 50_000)) <= cuts
    assert {4096 * n for n in range(1, 13)} <= cuts
    assert {10_001, 10_002, 10_003, 30_001, 30_002, 30_003} <= cuts
    gaps = [right - left for left, right in itertools.pairwise(sorted(cuts))]
    assert max(gaps) < 200


def test_every_cut_is_taken_when_it_fits() -> None:
    sampled: list[Sampled] = []
    states = list(crash_states(one_write(1001), "short", 1000, on_sample=sampled.append))
    assert (len(states), sampled) == (1000, [])


def test_the_writes_of_a_long_run_share_a_cap() -> None:
    script = Script()
    fd = script.open("f")
    for _ in range(500):
        script.write(fd, b"x" * 2000)
    sampled: list[Sampled] = []
    count = sum(1 for _ in crash_states(script.trace(), "short", on_sample=sampled.append))
    assert 100_000 < count <= CUTS_PER_RUN
    assert len(sampled) == 500


def test_cuts_of_a_huge_overwrite_are_bounded_by_work() -> None:
    script = Script(tree_of({"f": bytes(8 << 20)}))
    script.write(script.open("f"), b"n" * 10_000, at=0)
    sampled: list[Sampled] = []
    assert len(list(crash_states(script.trace(), "short", on_sample=sampled.append))) == 64
    assert sampled[0].possible == 9_999


def test_failed_operations_leave_no_state_of_their_own() -> None:
    trace = one_write(9000)
    failed = tuple(msgspec.structs.replace(op, error=28) if op.kind == "write" else op for op in trace.operations)
    trace = msgspec.structs.replace(trace, operations=failed)
    assert {s.tree.key for s in crash_states(trace, "kill")} == {EMPTY_TREE.key, tree_of({"f": b""}).key}
    assert list(crash_states(trace, "short")) == []


def test_no_other_fault_class_has_states() -> None:
    with pytest.raises(ValueError, match="valid: kill, short"):
        list(crash_states(one_write(1), "power"))  # type: ignore[arg-type]


NAMES = st.sampled_from(["a", "b", "c", "d/x", "d/y"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), NAMES, st.binary(max_size=12)),
        st.tuples(st.just("append"), NAMES, st.binary(min_size=1, max_size=12)),
        st.tuples(st.just("patch"), NAMES, st.integers(0, 20), st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("replace"), NAMES, st.binary(max_size=12)),
        st.tuples(st.just("rename"), NAMES, NAMES),
        st.tuples(st.just("unlink"), NAMES),
        st.tuples(st.just("link"), NAMES, NAMES),
        st.tuples(st.just("truncate"), NAMES, st.integers(0, 20)),
        st.tuples(st.just("ack")),
    ),
    max_size=12,
)


def run_steps(steps: list[tuple]) -> Trace:
    script = Script()
    script.mkdir("d")
    for number, step in enumerate(steps):
        kind, *rest = step
        path = rest[0] if rest else ""
        there = path in script.tree.names
        if kind == "put":
            script.put(path, rest[1])
        elif kind == "append":
            fd = script.open(path, append=True)
            script.write(fd, rest[1])
            script.close(fd)
        elif kind == "patch":
            fd = script.open(path)
            script.write(fd, rest[2], at=rest[1])
            script.close(fd)
        elif kind == "replace":
            script.replace(path, rest[1])
        elif kind == "truncate":
            fd = script.open(path)
            script.truncate(fd, rest[1])
            script.close(fd)
        elif kind == "ack":
            script.ack(number)
        elif kind == "rename" and there:
            script.rename(path, rest[1])
        elif kind == "unlink" and there:
            script.unlink(path)
        elif kind == "link" and there and rest[1] not in script.tree.names:
            script.link(path, rest[1])
    return script.trace()


@given(STEPS)
def test_every_kill_state_equals_replaying_the_operations_up_to_it(steps: list[tuple]) -> None:
    trace = run_steps(steps)
    for state in crash_states(trace, "kill"):
        upto = trace.operations[: state.seq + (state.phase == "after")]
        naive = replay(trace.start, upto)
        assert files(state.tree) == files(naive)
        assert state.tree.key == naive.key
        assert state.acked == sum(op.kind == "ack" for op in upto)


@given(STEPS)
def test_every_short_state_is_the_naive_replay_of_a_cut_write(steps: list[tuple]) -> None:
    trace = run_steps(steps)
    for state in crash_states(trace, "short"):
        op = trace.operations[state.seq]
        cut = msgspec.structs.replace(op, data=op.data[: state.bytes])
        naive = replay(trace.start, (*trace.operations[: state.seq], cut))
        assert files(state.tree) == files(naive)
        assert state.tree.key == naive.key
