"""Whether the block engine works on this machine for a file system: found out by making and mounting one."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Mapping
from functools import cache

from harness.engines.base import EngineError
from harness.engines.block.chamber import Send, chamber
from harness.engines.block.disk import Disk, serve_disk
from harness.engines.block.disk_log import Failure, decode
from harness.engines.block.filesystems import FileSystem, filesystem
from harness.engines.block.image import Image
from harness.engines.block.making import make

_DEVICES = ("/dev/fuse", "/dev/loop-control")
_PACKAGES: Mapping[str, str] = {"ext4": "e2fsprogs", "xfs": "xfsprogs", "btrfs": "btrfs-progs"}


@cache
def why_not_available(name: str) -> str:
    """Return "" where the engine works with the file system ``name``, else one reason why not, in one line.

    Raises :class:`~harness.engines.block.filesystems.BlockOptionError` for a name it does not know.
    """
    kind = filesystem(name)
    if sys.platform != "linux":
        return f"the block engine needs Linux; this is {sys.platform}"
    if os.geteuid() != 0:
        return "the block engine needs root: it mounts file systems"
    for device in _DEVICES:
        try:
            os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            return f"the block engine needs {device}: {error.strerror}"
    if shutil.which(kind.make[0], path=f"/usr/sbin:/sbin:{os.environ.get('PATH', '')}") is None:
        return f"{kind.make[0]} is not installed (package {_PACKAGES[name]})"
    from harness.engines import engine  # noqa: PLC0415 - this package is below it

    reason = engine("ptrace").available()
    if reason:
        return f"the block engine traces the writer: {reason}"
    try:
        empty_image(kind)
        _try_disk()
    except EngineError as error:
        return str(error)
    return ""


def _try_disk() -> None:
    """Serve a disk and use it. Raises :class:`EngineError`."""
    image, log = os.memfd_create("tornwrite-trial"), os.memfd_create("tornwrite-trial-log")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def helper() -> None:
        ours.close()
        serve_disk(image, log, theirs, "trial")

    def work(send: Send) -> None:
        del send
        theirs.close()
        disk = Disk(ours, "trial")
        descriptor = disk.open()  # the mount lasts as long as somebody has this
        disk.mark(0)
        os.close(descriptor)

    try:
        os.ftruncate(image, 1 << 20)
        list(chamber(work, helper, between=(ours, theirs)))
    except EngineError as error:
        said = [event.reason for event in decode(os.pread(log, 1 << 16, 0)) if isinstance(event, Failure)]
        raise EngineError(f"no disk through /dev/fuse: {said[0] if said else error}") from None
    finally:
        os.close(image)
        os.close(log)


@cache
def empty_image(kind: FileSystem) -> Image:
    """Return an empty file system of this kind, made once per process. Raises :class:`EngineError`."""

    def work(send: Send) -> None:
        send(make(kind))

    (image,) = chamber(work)
    assert isinstance(image, Image)
    return image
