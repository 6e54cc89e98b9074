"""Mounting the disks that a power cut may leave, and reading what the file system makes of them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from typing import NamedTuple

from harness.core.tree import Tree
from harness.engines.base import EngineError
from harness.engines.block.chamber import Send, chamber
from harness.engines.block.cuts import SUBSETS, Cut, cuts_of, epochs_of, sample
from harness.engines.block.disk_log import DiskWrite
from harness.engines.block.filesystems import FileSystem, filesystem, mount_options
from harness.engines.block.making import STATE, load
from harness.engines.block.recording import DiskRecording
from harness.engines.block.system import attached, mount_detached
from harness.sandbox.snapshot import UnreadableStateError, read_tree

CONTENT_BYTES = 64 << 20
"""Most bytes of file content read from one disk."""


class ObservedState(NamedTuple):
    """What one power cut left. ``tree`` is ``None`` where it could not be mounted or read: ``unmountable`` says why.

    ``low``, ``high``, ``acked`` and ``acked_latest`` are those of the cut (:mod:`harness.engines.block.cuts`).
    """

    cut: Cut
    tree: Tree | None
    unmountable: str

    @property
    def low(self) -> int:
        """Operations done at the earliest moment at which the power can have gone."""
        return self.cut.low

    @property
    def high(self) -> int:
        """Operations done or begun at the latest moment."""
        return self.cut.high

    @property
    def acked(self) -> int:
        """Acknowledgements out at the earliest moment: out whenever it was."""
        return self.cut.acked

    @property
    def acked_latest(self) -> int:
        """Acknowledgements out at the latest moment."""
        return self.cut.acked_latest


def observe(
    recorded: DiskRecording, limit: int | None = None, seed: int = 0, *, subsets: int = SUBSETS, tears: int = 0
) -> Iterator[ObservedState]:
    """Yield what each power cut of a recording leaves, in order of its log; at most ``limit`` cuts, drawn by ``seed``.

    Trees that are equal are one object. Closing the iterator ends the work. Raises
    :class:`~harness.engines.base.EngineError` where the machine refuses (a file system that refuses is a state).
    """
    operations = recorded.recording.trace.operations if recorded.recording.trace is not None else ()
    cuts = sample(cuts_of(recorded.log, operations, seed, subsets, tears), limit, seed)
    known: list[tuple[Tree | None, str]] = []

    name = f"tornwrite-cut-{os.getpid()}"  # /sys/block/loop*/loop/backing_file shows it

    def work(send: Send) -> None:
        _look(recorded, cuts, name, send)

    answers = chamber(work)
    for cut, (number, fresh) in zip(cuts, answers, strict=True):
        if fresh is not None:
            known.append(pickle.loads(fresh))
        tree, reason = known[number]
        yield ObservedState(cut, tree, reason)


def _look(recorded: DiskRecording, cuts: tuple[Cut, ...], name: str, send: Send) -> None:
    """Send per cut the number of its outcome, and the outcome where it is new. For the worker of a chamber."""
    kind = filesystem(recorded.filesystem)
    options = mount_options(kind, recorded.options)
    epochs = epochs_of(recorded.log)
    base, at = recorded.base, 0
    numbers: dict[bytes, int] = {}
    for cut in cuts:
        while at < cut.epoch:
            base, at = base.after(_writes(recorded, epochs[at].writes)), at + 1
        writes = _writes(recorded, cut.kept)
        if cut.torn:
            writes[-1] = (writes[-1][0], writes[-1][1][: cut.torn])
        raw = pickle.dumps(_outcome(kind, options, load(base, name), writes))
        fresh = raw not in numbers
        number = numbers.setdefault(raw, len(numbers))
        send((number, raw if fresh else None))


def _writes(recorded: DiskRecording, positions: tuple[int, ...]) -> list[tuple[int, bytes]]:
    found = []
    for position in positions:
        event = recorded.log[position]
        assert isinstance(event, DiskWrite)
        found.append((event.offset, event.data))
    return found


def _outcome(
    kind: FileSystem, options: tuple[tuple[str, str | None], ...], image: int, writes: list[tuple[int, bytes]]
) -> tuple[Tree | None, str]:
    """Return the tree, or why there is none; ``image`` is closed."""
    try:
        for offset, data in writes:
            os.pwrite(image, data, offset)
        with attached(image) as device:
            try:
                root = mount_detached(kind.name, device, options)
            except OSError as error:
                return None, f"cannot be mounted: {error.strerror}"
    except OSError as error:
        raise EngineError(f"no loop device for a cut: {error.strerror}") from error
    finally:
        os.close(image)
    try:
        return read_tree(f"/proc/self/fd/{root}/{STATE}", CONTENT_BYTES).tree, ""
    except UnreadableStateError as error:
        return None, f"cannot be read: {error}"
    finally:
        os.close(root)
