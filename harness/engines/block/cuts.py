"""From the log of a disk to the disks that a power cut may leave. Pure.

**What a cut is.** Writes between two flushes form an *epoch*. When the power goes, every write before the last
flush is on the disk, and of the epoch's writes any part. A cut keeps all earlier epochs and some writes of one.
Kept are: each prefix (the disk kept the order), all but one, only one, all but (or only) a run of neighbours on the
disk, and a few seeded subsets. With ``tears``, also
prefixes whose last write got only as far as one of its pages: what a disk does that loses power while it writes.

**When it can have happened.** Let a cut keep the writes S of an epoch. The power cannot have gone before the last
write of S was there, and must have gone before the flush that closes the epoch was done, for that would have put
the others down too (a cut that keeps a whole epoch can also have happened later: until the flush that closes the
next one). Within that time every moment is possible. The marks say how many operations the writer had done by
then:

* ``low``: operations done at the earliest moment: the last mark before the last write of S (for the empty S: the
  start of the recording).
* ``high``: operations done *or begun* at the latest moment: the last mark before the closing flush, plus one for
  the operation that the writer may have been in, at most all there are. Calls that may wait for others can be in
  flight besides; they change no file before they are done.

A mark stands in the log before the writer goes on (and before the recorder commits), so a write that stands after
mark *n* reached the disk when *n* operations were done, whichever of them caused it. A model of power loss must
therefore hold the state at the crash points of ``low``, and of all up to ``high``; to hold it at none of them is
a mistake of the model.

**Acknowledgements.** ``acked`` is how many were out at the earliest moment: whenever the power went, those were
out. ``acked_latest`` is how many were out at the latest moment. A state that lacks something acknowledged by then
is a true loss: had the power gone at that moment, this is a disk it may have left.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

from harness.core.operation import Ack, AnyOperation
from harness.engines.block.disk_log import END, START, DiskEvent, DiskWrite, Failure, Flush, Mark
from harness.engines.block.image import BLOCK_BYTES

Shape: TypeAlias = Literal["prefix", "drop-one", "only-one", "drop-run", "only-run", "subset", "torn"]

SUBSETS = 3
"""Seeded subsets per epoch."""


class Cut(NamedTuple):
    """One disk after a power cut. ``kept`` are positions in the log, ascending; see the module for the others.

    Of the last write kept, only the first ``torn`` bytes are there; 0 stands for all of them.
    """

    epoch: int
    kept: tuple[int, ...]
    shape: Shape
    low: int
    high: int
    acked: int
    acked_latest: int
    torn: int = 0


class Epoch(NamedTuple):
    """Writes between two flushes (at least one). ``end`` is the log position of the flush, or of the log's end."""

    writes: tuple[int, ...]
    end: int


class LogError(Exception):
    """The log is not that of a whole recording. The message says what is missing, in one line."""


def bounds(log: Sequence[DiskEvent]) -> tuple[int, int]:
    """Return the positions of the start and end mark. Raises :class:`LogError`."""
    for event in log:
        if isinstance(event, Failure):
            raise LogError(f"the disk failed: {event.reason}")
    try:
        return log.index(Mark(START)), log.index(Mark(END))
    except ValueError:
        raise LogError("the log of the disk has no start or no end") from None


def epochs_of(log: Sequence[DiskEvent]) -> tuple[Epoch, ...]:
    """Return the epochs between the start and the end mark, in order."""
    start, end = bounds(log)
    found: list[Epoch] = []
    writes: list[int] = []
    for position in range(start, end + 1):
        event = log[position]
        if isinstance(event, DiskWrite):
            writes.append(position)
        elif writes and (isinstance(event, Flush) or position == end):
            found.append(Epoch(tuple(writes), position))
            writes = []
    return tuple(found)


def cuts_of(
    log: Sequence[DiskEvent],
    operations: Sequence[AnyOperation],
    seed: int = 0,
    subsets: int = SUBSETS,
    tears: int = 0,
) -> tuple[Cut, ...]:
    """Return every cut of the log, each once, in order of the log. Raises :class:`LogError`.

    ``subsets`` are drawn per epoch, ``tears`` per write of more than a page.
    """
    epochs = epochs_of(log)
    timing = _Timing(log, operations)
    start, end = bounds(log)
    chance = random.Random(f"cuts {seed}")
    first_end = epochs[0].end if epochs else end
    cuts = [timing.cut(0, (), "prefix", start, first_end)]
    for number, epoch in enumerate(epochs):
        later = epochs[number + 1].end if number + 1 < len(epochs) else end
        for kept, shape in _selections(log, epoch.writes, chance, subsets):
            latest = later if len(kept) == len(epoch.writes) else epoch.end
            cuts.append(timing.cut(number, kept, shape, kept[-1], latest))
        for kept, torn in _tears(log, epoch.writes, chance, tears):
            cuts.append(timing.cut(number, kept, "torn", kept[-1], epoch.end)._replace(torn=torn))
    return tuple(cuts)


def _selections(
    log: Sequence[DiskEvent], writes: tuple[int, ...], chance: random.Random, subsets: int
) -> Iterator[tuple[tuple[int, ...], Shape]]:
    """Yield each non-empty selection once, with the first shape that it has."""
    seen: set[tuple[int, ...]] = {()}
    candidates: list[tuple[tuple[int, ...], Shape]] = []
    candidates += ((writes[:length], "prefix") for length in range(1, len(writes) + 1))
    candidates += ((writes[:skip] + writes[skip + 1 :], "drop-one") for skip in range(len(writes)))
    candidates += (((write,), "only-one") for write in writes)
    for run in _runs(log, writes):
        candidates.append((tuple(write for write in writes if write not in run), "drop-run"))
        candidates.append((tuple(write for write in writes if write in run), "only-run"))
    for _ in range(subsets):
        candidates.append((tuple(write for write in writes if chance.random() < 0.5), "subset"))
    for kept, shape in candidates:
        if kept not in seen:
            seen.add(kept)
            yield kept, shape


def _runs(log: Sequence[DiskEvent], writes: tuple[int, ...]) -> list[frozenset[int]]:
    """Return the groups of writes that lie one behind the other on the disk: a large write arrives as several."""
    placed = sorted((event.offset, position, len(event.data)) for position, event in _events(log, writes))
    runs: list[list[int]] = []
    end = -1
    for offset, position, size in placed:
        if offset == end:
            runs[-1].append(position)
        else:
            runs.append([position])
        end = offset + size
    return [frozenset(run) for run in runs if 1 < len(run) < len(writes)]


def _events(log: Sequence[DiskEvent], writes: tuple[int, ...]) -> Iterator[tuple[int, DiskWrite]]:
    for position in writes:
        event = log[position]
        assert isinstance(event, DiskWrite)
        yield position, event


def _tears(
    log: Sequence[DiskEvent], writes: tuple[int, ...], chance: random.Random, tears: int
) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yield prefixes and how many bytes of their last write are there: whole pages, neither none nor all."""
    for length, (_, event) in enumerate(_events(log, writes), 1):
        most = (len(event.data) - 1) // BLOCK_BYTES
        for pages in sorted(chance.sample(range(1, most + 1), min(tears, most))):
            yield writes[:length], pages * BLOCK_BYTES


class _Timing:
    """How many operations were done, and how many acknowledgements out, at each position of the log."""

    def __init__(self, log: Sequence[DiskEvent], operations: Sequence[AnyOperation]) -> None:
        self._total = len(operations)
        self._acks = [0]
        for op in operations:
            self._acks.append(self._acks[-1] + (type(op) is Ack))
        self._done: list[int] = []
        done = 0
        for event in log:
            if isinstance(event, Mark) and event.done >= 0:
                done = event.done
            self._done.append(done)

    def cut(self, epoch: int, kept: tuple[int, ...], shape: Shape, earliest: int, latest: int) -> Cut:
        low, high = self._done[earliest], self._done[latest]
        return Cut(
            epoch=epoch,
            kept=kept,
            shape=shape,
            low=low,
            high=min(high + 1, self._total),
            acked=self._acks[low],
            acked_latest=self._acks[high],
        )


def sample(cuts: Sequence[Cut], limit: int | None, seed: int) -> tuple[Cut, ...]:
    """Return at most ``limit`` cuts, in order: all, or a seeded choice."""
    if limit is None or len(cuts) <= limit:
        return tuple(cuts)
    chosen = random.Random(f"sample {seed}").sample(range(len(cuts)), limit)
    return tuple(cuts[index] for index in sorted(chosen))
