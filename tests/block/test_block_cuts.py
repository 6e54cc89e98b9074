"""Cuts against a simulated disk: a writer that works on, and a power cut at any moment with any luck."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.operation import Ack, AnyOperation, Write
from harness.engines.block.cuts import LogError, cuts_of, epochs_of, sample
from harness.engines.block.disk_log import END, START, DiskEvent, DiskWrite, Failure, Flush, Mark


@st.composite
def recordings(draw: st.DrawFn) -> tuple[list[DiskEvent], list[AnyOperation]]:
    operations: list[AnyOperation] = []
    log: list[DiskEvent] = [Mark(START), Mark(0)]
    position = 0
    for what in draw(st.lists(st.sampled_from("wwwfoa"), max_size=14)):
        if what == "w":
            log.append(DiskWrite(position, b"x"))
            position += 1
        elif what == "f":
            log.append(Flush())
        else:
            seq = len(operations)
            operations.append(
                Ack(seq=seq, id=str(seq)) if what == "a" else Write(seq=seq, ino=1, offset=0, data=b"d")
            )
            log.append(Mark(len(operations)))
    log.append(Mark(END))
    return log, operations


def simulated(log: Sequence[DiskEvent]) -> dict[frozenset[int], list[int]]:
    """Return every disk (log positions of the writes on it) that some moment can leave, and those moments."""
    moments: dict[frozenset[int], list[int]] = {}
    stable: set[int] = set()
    volatile: list[int] = []
    for moment, event in enumerate(log):
        if isinstance(event, DiskWrite):
            volatile.append(moment)
        for bits in range(1 << len(volatile)):
            lucky = {write for index, write in enumerate(volatile) if bits >> index & 1}
            moments.setdefault(frozenset(stable | lucky), []).append(moment)
        if isinstance(event, Flush):
            stable.update(volatile)
            volatile = []
    return moments


@given(recordings(), st.integers(0, 3))
def test_cuts_are_disks_that_a_power_cut_leaves_and_know_when(
    recording: tuple[list[DiskEvent], list[AnyOperation]], seed: int
) -> None:
    log, operations = recording
    epochs = epochs_of(log)
    possible = simulated(log)
    done, now = [], 0
    for event in log:
        now = event.done if isinstance(event, Mark) and event.done >= 0 else now
        done.append(now)
    acks = [sum(type(op) is Ack for op in operations[:count]) for count in range(len(operations) + 1)]
    seen = set()
    for cut in cuts_of(log, operations, seed):
        disk = frozenset(write for epoch in epochs[: cut.epoch] for write in epoch.writes) | set(cut.kept)
        assert disk not in seen, "each disk once"
        seen.add(disk)
        moments = possible[disk]
        assert (cut.low, cut.acked) == (done[moments[0]], acks[done[moments[0]]])
        assert cut.high == min(done[moments[-1]] + 1, len(operations))
        assert cut.acked_latest == acks[done[moments[-1]]]
        assert cut.acked <= cut.acked_latest


@given(recordings())
def test_every_prefix_and_every_single_loss_is_there(
    recording: tuple[list[DiskEvent], list[AnyOperation]],
) -> None:
    log, operations = recording
    epochs = epochs_of(log)
    kept = {(cut.epoch, cut.kept) for cut in cuts_of(log, operations)}
    assert (0, ()) in kept
    for number, epoch in enumerate(epochs):
        for length in range(1, len(epoch.writes) + 1):
            assert (number, epoch.writes[:length]) in kept
        for write in epoch.writes:
            rest = tuple(other for other in epoch.writes if other != write)
            assert (number, (write,)) in kept
            assert not rest or (number, rest) in kept


def test_a_flush_with_nothing_before_it_ends_nothing() -> None:
    log = [Mark(START), Flush(), DiskWrite(0, b"a"), Flush(), Flush(), Mark(0), DiskWrite(1, b"b"), Mark(END)]
    assert [epoch.writes for epoch in epochs_of(log)] == [(2,), (6,)]


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ([Mark(START), DiskWrite(0, b"a")], "no start or no end"),
        ([Mark(END)], "no start or no end"),
        ([Mark(START), Failure("no memory"), Mark(END)], "no memory"),
    ],
)
def test_a_broken_log_is_refused(log: list[DiskEvent], reason: str) -> None:
    with pytest.raises(LogError, match=reason):
        cuts_of(log, ())


@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=4), st.integers(0, 3))
def test_a_torn_write_is_the_last_and_ends_at_a_page(sizes: list[int], tears: int) -> None:
    writes: list[DiskEvent] = [DiskWrite(number << 20, b"x" * size) for number, size in enumerate(sizes)]
    log = [Mark(START), *writes, Flush(), Mark(END)]
    torn = [cut for cut in cuts_of(log, (), tears=tears) if cut.torn]
    assert len(set(torn)) == len(torn) == sum(min(tears, (size - 1) // 4096) for size in sizes)
    for cut in torn:
        assert cut.kept == tuple(range(1, cut.kept[-1] + 1))
        assert 0 < cut.torn < sizes[cut.kept[-1] - 1] and cut.torn % 4096 == 0
    assert not any(cut.torn for cut in cuts_of(log, ()))


def test_a_sample_is_seeded_and_in_order() -> None:
    log: list[DiskEvent] = [Mark(START), *(DiskWrite(number, b"x") for number in range(20)), Mark(END)]
    cuts = cuts_of(log, ())
    first, again, other = sample(cuts, 10, 1), sample(cuts, 10, 1), sample(cuts, 10, 2)
    assert first == again != other
    assert len(first) == 10
    assert [cuts.index(cut) for cut in first] == sorted(cuts.index(cut) for cut in first)
    assert sample(cuts, None, 1) == cuts
