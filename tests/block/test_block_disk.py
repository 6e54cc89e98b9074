"""The disk by itself: what its log says, and in which order."""

from __future__ import annotations

import mmap
import os
import socket
import threading
from collections.abc import Callable

import pytest

from harness.engines.base import EngineError
from harness.engines.block.chamber import Send, chamber
from harness.engines.block.disk import Disk, Slow, serve_disk
from harness.engines.block.disk_log import DiskEvent, DiskWrite, Flush, Mark, decode
from harness.engines.block.system import attached
from tests.block.conftest import require

pytestmark = pytest.mark.real

SIZE = 1 << 20


def served(use: Callable[[Disk, int], object], slow: Slow | None = None) -> tuple[list[DiskEvent], object, bytes]:
    """Let ``use`` work with a disk in a chamber; return the log, what it returned, and the disk's content."""
    require("ext4")
    image, log = os.memfd_create("image"), os.memfd_create("log")
    os.ftruncate(image, SIZE)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def work(send: Send) -> None:
        theirs.close()
        disk = Disk(ours, "the-disk")
        descriptor = disk.open()
        send(use(disk, descriptor))
        os.close(descriptor)

    def helper() -> None:
        ours.close()
        serve_disk(image, log, theirs, "the-disk", slow)

    (value,) = chamber(work, helper, between=(ours, theirs))
    events = list(decode(os.pread(log, os.fstat(log).st_size, 0)))
    content = os.pread(image, SIZE, 0)
    os.close(image)
    os.close(log)
    return events, value, content


def direct(descriptor: int) -> int:
    """Return another descriptor of the disk that is used as a loop device does: without a cache."""
    return os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_DIRECT)


def aligned(data: bytes) -> mmap.mmap:
    buffer = mmap.mmap(-1, len(data))
    buffer.write(data)
    return buffer


def test_the_log_is_in_the_order_of_the_disk() -> None:
    def use(disk: Disk, descriptor: int) -> bytes:
        raw = direct(descriptor)
        disk.mark(0)
        os.pwrite(raw, aligned(b"a" * 4096), 8192)
        os.pwrite(raw, aligned(b"b" * 512), 8704)
        disk.mark(1)
        os.fsync(raw)
        disk.mark(2)
        read = aligned(bytes(1024))
        os.preadv(raw, [read], 8192)
        return bytes(read)

    events, read, content = served(use)
    assert events == [
        Mark(0),
        DiskWrite(8192, b"a" * 4096),
        DiskWrite(8704, b"b" * 512),
        Mark(1),
        Flush(),
        Mark(2),
    ]
    assert read == b"a" * 512 + b"b" * 512
    assert content[8192:12288] == b"a" * 512 + b"b" * 512 + b"a" * 3072


def test_a_slow_write_is_overtaken_and_no_flush_covers_it() -> None:
    def use(disk: Disk, descriptor: int) -> None:
        with attached(descriptor, direct=True) as device:  # which asks for many things at once
            raw = os.open(device, os.O_RDWR | os.O_DIRECT)
            slow = threading.Thread(target=lambda: os.pwrite(raw, aligned(b"s" * 65536), 0))
            slow.start()
            os.pwrite(raw, aligned(b"q" * 512), 131072)
            os.fsync(raw)
            disk.mark(1)
            slow.join()
            disk.mark(2)
            os.close(raw)

    events, _, content = served(use, Slow(65536, 200))
    order = [event for event in events if event != Mark(2)]
    assert content[:65536] == b"s" * 65536
    assert events[-2:] == [DiskWrite(0, b"s" * 65536), Mark(2)]
    assert set(order) == {DiskWrite(131072, b"q" * 512), Flush(), Mark(1), DiskWrite(0, b"s" * 65536)}


def test_there_is_one_file_of_the_size_of_the_disk() -> None:
    def use(disk: Disk, descriptor: int) -> object:
        del disk
        info = os.fstat(descriptor)
        return info.st_size, os.pread(descriptor, 10, SIZE - 4), os.fstatvfs(descriptor).f_bsize

    events, value, _ = served(use)
    assert value == (SIZE, bytes(4), 4096)
    assert events == []


def test_a_disk_without_a_server_is_an_error() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    disk = Disk(ours, "gone")
    theirs.close()
    with pytest.raises(EngineError, match="could not be started"):
        disk.open()
    with pytest.raises(EngineError, match="does not answer"):
        disk.mark(1)
    ours.close()
