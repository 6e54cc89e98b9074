"""One run of a writer on a recorded disk: the trace, and beside it what reached the disk when."""

from __future__ import annotations

import os
import secrets
import socket
from typing import Literal, TypeAlias

import msgspec

from harness.core.fault import NO_FAULTS, FaultPlan
from harness.core.run import Recording, RunSpec
from harness.engines.base import EngineError
from harness.engines.block.available import empty_image
from harness.engines.block.chamber import Send, chamber
from harness.engines.block.cuts import LogError, bounds
from harness.engines.block.disk import Disk, Slow, serve_disk
from harness.engines.block.disk_log import END, START, DiskEvent, DiskWrite, Failure, decode
from harness.engines.block.filesystems import FileSystem, filesystem, mount_options
from harness.engines.block.image import Image
from harness.engines.block.making import STATE, UNRELATED, load
from harness.engines.block.system import (
    attached,
    commit_btrfs,
    mount_detached,
    quiesce,
    shown,
    sync_filesystem,
)

Commit: TypeAlias = Literal["end", "each"]
"""When the journal is committed by somebody else: once after the writer's end, or after each of its operations."""


class DiskRecording(msgspec.Struct, frozen=True, kw_only=True):
    """A run and what its disk was asked to do.

    ``base`` is the disk with the start tree durable on it; ``log`` what came then, from the start mark to the end
    mark (:mod:`harness.engines.block.cuts` reads it).
    """

    filesystem: str
    options: str
    commit: Commit
    recording: Recording
    base: Image
    log: tuple[DiskEvent, ...]


class _Commits:
    """An :class:`~harness.engines.base.Observer` that marks the log and, if asked to, commits after each operation."""

    def __init__(self, kind: FileSystem, root: int, disk: Disk, commit: Commit) -> None:
        self._kind = kind
        self._root = root
        self._disk = disk
        self._commit = commit

    def prepared(self) -> None:
        """Make the start tree durable, and leave the journal empty."""
        try:
            quiesce(self._root)
        except OSError as error:
            raise EngineError(f"the start tree could not be made durable: {error.strerror}") from error
        self._disk.mark(START)
        self._disk.mark(0)

    def recorded(self, count: int) -> None:
        """Mark that ``count`` operations are done; then commit."""
        self._disk.mark(count)
        if self._commit == "each":
            self.commit()

    def commit(self) -> None:
        """Commit the journal without touching a file of the writer."""
        try:
            if self._kind.name == "btrfs":
                commit_btrfs(self._root)
                return
            flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
            descriptor = os.open(UNRELATED, flags, dir_fd=self._root)
            try:
                os.write(descriptor, b"x")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise EngineError(f"the recorded {self._kind.name} could not commit: {error.strerror}") from error

    def finish(self) -> None:
        """After the writer's end: commit, then write out all the rest."""
        self.commit()
        sync_filesystem(self._root)
        self._disk.mark(END)


def record_on_disk(
    spec: RunSpec,
    filesystem_name: str,
    options: str = "",
    commit: Commit = "end",
    *,
    plan: FaultPlan = NO_FAULTS,
    slow: Slow | None = None,
) -> DiskRecording:
    """Run the target once, traced, with its state directory on a recorded disk.

    The directory is shown at ``spec.root``, which must exist in a workspace, so the command need not change; HOME,
    TMPDIR and ``cwd`` stay where they are. ``options`` are mount options, comma-separated. A fault plan is struck
    as the ptrace engine strikes it. ``slow`` holds back large writes at the disk.

    Raises what :meth:`harness.engines.ptrace.engine.PtraceEngine.run` raises, ``BlockOptionError`` for a file
    system or options that cannot be, and :class:`EngineError` where the disk or a mount fails.
    """
    kind = filesystem(filesystem_name)
    pairs = mount_options(kind, options)
    empty = empty_image(kind)
    name = f"tornwrite-disk-{os.getpid()}-{secrets.token_hex(4)}"  # /sys/block/loop*/loop/backing_file shows it
    image, log = load(empty, name), os.memfd_create("tornwrite-log")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def helper() -> None:
        ours.close()
        serve_disk(image, log, theirs, name, slow)

    def work(send: Send) -> None:
        theirs.close()
        send(_record(spec, kind, pairs, commit, plan, Disk(ours, name)))

    try:
        (recording,) = chamber(work, helper, between=(ours, theirs))
        events = _read_log(log)
    except EngineError as error:
        said = [event.reason for event in _read_log(log) if isinstance(event, Failure)]
        if said:
            raise EngineError(f"{error} ({said[0]})") from error
        raise
    finally:
        os.close(image)
        os.close(log)
    try:
        start, end = bounds(events)
    except LogError as error:
        raise EngineError(str(error)) from error
    before = ((event.offset, event.data) for event in events[:start] if isinstance(event, DiskWrite))
    return DiskRecording(
        filesystem=kind.name,
        options=options,
        commit=commit,
        recording=recording,
        base=empty.after(before),
        log=tuple(events[start : end + 1]),
    )


def _read_log(descriptor: int) -> list[DiskEvent]:
    size = os.fstat(descriptor).st_size
    parts: list[bytes] = []
    position = 0
    while position < size:
        part = os.pread(descriptor, size - position, position)
        parts.append(part)
        position += len(part)
    return list(decode(b"".join(parts)))


def _record(
    spec: RunSpec,
    kind: FileSystem,
    options: tuple[tuple[str, str | None], ...],
    commit: Commit,
    plan: FaultPlan,
    disk: Disk,
) -> Recording:
    """Mount the disk, run the writer on it, and unmount it. For the worker of a chamber."""
    from harness.engines.ptrace.engine import PtraceEngine  # noqa: PLC0415 - Linux only

    try:
        file = disk.open()
        try:
            with attached(file, direct=True) as device:
                root = mount_detached(kind.name, device, options)
        finally:
            os.close(file)
        try:
            with shown(root, STATE, spec.root):
                commits = _Commits(kind, root, disk, commit)
                recording = PtraceEngine().run(spec, plan, observer=commits)
                commits.finish()
        finally:
            os.close(root)
    except OSError as error:
        raise EngineError(f"{kind.name} on the recorded disk: {error.strerror} ({error.filename})") from error
    return recording
