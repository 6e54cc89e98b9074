"""Empty file systems in memory, made by their own mkfs, and images moved between values and descriptors.

Linux. A descriptor made here is a memfd: it has no name and is gone with its last user.
"""

from __future__ import annotations

import os
import subprocess

from harness.engines.base import EngineError
from harness.engines.block.filesystems import FileSystem, mount_options
from harness.engines.block.image import BLOCK_BYTES, Image
from harness.engines.block.system import attached, mount_detached, quiesce

STATE = "state"
"""The directory of a recorded disk that is shown as the state directory."""

UNRELATED = "unrelated"
"""The file beside it whose fsync commits the journal."""

_READ_BYTES = 1 << 20
_MKFS_TIMEOUT_S = 120.0
_ZEROES = bytes(_READ_BYTES)
_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"


def load(image: Image, name: str) -> int:
    """Return a new memfd called ``name`` that holds ``image``."""
    descriptor = os.memfd_create(name)
    os.ftruncate(descriptor, image.size)
    for offset, data in image.extents():
        os.pwrite(descriptor, data, offset)
    return descriptor


def save(descriptor: int) -> Image:
    """Return what a memfd holds."""
    size = os.fstat(descriptor).st_size
    blocks: dict[int, bytes] = {}
    offset = 0
    while offset < size:
        try:
            offset = os.lseek(descriptor, offset, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole is left
            break
        hole = os.lseek(descriptor, offset, os.SEEK_HOLE)
        while offset < hole:
            piece = os.pread(descriptor, min(_READ_BYTES, hole - offset), offset)
            if piece != _ZEROES[: len(piece)]:
                for position in range(0, len(piece), BLOCK_BYTES):
                    block = piece[position : position + BLOCK_BYTES]
                    if block != _ZEROES[: len(block)]:
                        blocks[(offset + position) // BLOCK_BYTES] = block
            offset += len(piece)
    return Image(size, blocks)


def make(kind: FileSystem) -> Image:
    """Return a new, empty file system of this kind with the places that a recording needs.

    For a process that may mount (:func:`harness.engines.block.chamber.chamber`). Raises :class:`EngineError` with
    what the tool said.
    """
    descriptor = os.memfd_create(f"tornwrite-{kind.name}")
    try:
        os.ftruncate(descriptor, kind.size)
        _run_mkfs(kind, descriptor)
        with attached(descriptor) as device:
            root = mount_detached(kind.name, device, mount_options(kind, ""))
        try:
            os.mkdir(STATE, 0o755, dir_fd=root)
            os.close(os.open(UNRELATED, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=root))
            quiesce(root)
        finally:
            os.close(root)
        return save(descriptor)
    except OSError as error:
        raise EngineError(f"cannot make a {kind.name}: {error.strerror} ({error.filename})") from error
    finally:
        os.close(descriptor)


def _run_mkfs(kind: FileSystem, descriptor: int) -> None:
    try:
        done = subprocess.run(
            [*kind.make, f"/proc/self/fd/{descriptor}"],
            pass_fds=(descriptor,),
            env={"PATH": _PATH, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_MKFS_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise EngineError(f"{kind.make[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise EngineError(f"{kind.make[0]} did not end within {_MKFS_TIMEOUT_S:g} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
        raise EngineError(f"{kind.make[0]} failed: {said[-1] if said else f'status {done.returncode}'}")
