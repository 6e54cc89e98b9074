"""System calls that Python lacks: mounts without a place, private namespaces, loop devices, freezing.

Mounts are made with ``fsopen``/``fsmount`` and live as long as a descriptor does: no directory is needed, nobody
else sees them, and the kernel drops them with the process, however that dies. Linux 5.2 or newer; importable
everywhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import struct
from collections.abc import Iterable, Iterator

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_AT_FDCWD = -100
_CLONE_NEWNS = 0x00020000
_MS_REC_PRIVATE = 0x4000 | 0x40000
_OPEN_TREE_CLONE_CLOEXEC = 0x1 | 0o2000000
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MNT_DETACH = 0x2
_FSCONFIG_SET_FLAG, _FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 0, 1, 6

_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_LOOP_FLAGS_AUTOCLEAR, _LOOP_FLAGS_DIRECT_IO = 4, 16
_LOOP_ATTEMPTS = 100
_SECTOR_BYTES = 512
_FIFREEZE, _FITHAW = 0xC0045877, 0xC0045878
_BTRFS_START_SYNC, _BTRFS_WAIT_SYNC = 0x80089418, 0x40089416


@functools.lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, step: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), step)
    return result


def _syscall(number: int, step: str, *arguments: int | bytes | None) -> int:
    converted = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    return _check(int(_libc().syscall(ctypes.c_long(number), *converted)), step)


def enter_private_mounts() -> None:
    """Give this process, which must have a single thread, a mount namespace that nobody else sees."""
    _check(_libc().unshare(_CLONE_NEWNS), "unshare of the mount namespace")
    _check(_libc().mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC_PRIVATE), None), "making mounts private")


def mount_detached(kind: str, source: str, options: Iterable[tuple[str, str | None]] = ()) -> int:
    """Mount ``source`` nowhere and return a descriptor of its root; closing that (and its uses) unmounts it.

    Raises ``OSError`` with what the file system itself said, where it said something.
    """
    context = _syscall(_FSOPEN, f"fsopen of {kind}", kind.encode(), 1)
    try:
        for key, value in (("source", source), *options):
            if value is None:
                _syscall(_FSCONFIG, f"option {key}", context, _FSCONFIG_SET_FLAG, key.encode(), None, 0)
            else:
                _syscall(
                    _FSCONFIG, f"option {key}", context, _FSCONFIG_SET_STRING, key.encode(), value.encode(), 0
                )
        _syscall(_FSCONFIG, f"mount of {kind}", context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _syscall(_FSMOUNT, f"mount of {kind}", context, 1, 0)
    except OSError as error:
        said = _complaint(context)
        raise OSError(error.errno, f"{error.strerror}{f' ({said})' if said else ''}", error.filename) from None
    finally:
        os.close(context)


def _complaint(context: int) -> str:
    """Return the last error that a mount context holds; "" for none."""
    said = ""
    with contextlib.suppress(OSError):
        while line := os.read(context, 4096).decode("utf-8", "replace").strip():
            if line.startswith("e "):
                said = line[2:]
    return said


@contextlib.contextmanager
def shown(root: int, inside: str, place: str) -> Iterator[None]:
    """Show the directory ``inside`` of the mount ``root`` at ``place``, for this mount namespace.

    The mount itself comes to lie below: before Linux 6.15 a part of a mount without a place cannot be shown.
    """
    target = os.fsencode(place)
    _syscall(_MOVE_MOUNT, f"mount at {place}", root, b"", _AT_FDCWD, target, _MOVE_MOUNT_F_EMPTY_PATH)
    try:
        tree = _syscall(_OPEN_TREE, f"open_tree of {inside}", root, inside.encode(), _OPEN_TREE_CLONE_CLOEXEC)
        try:
            _syscall(_MOVE_MOUNT, f"mount at {place}", tree, b"", _AT_FDCWD, target, _MOVE_MOUNT_F_EMPTY_PATH)
        finally:
            os.close(tree)
        try:
            yield
        finally:
            _unmount(place)
    finally:
        _unmount(place)


def _unmount(place: str) -> None:
    """Take away the topmost mount at ``place``; it ends with its last user, such as the descriptor of its root."""
    _check(_libc().umount2(os.fsencode(place), _MNT_DETACH), f"umount of {place}")


@contextlib.contextmanager
def attached(file: int, *, direct: bool = False) -> Iterator[str]:
    """Give the path of a loop device over the descriptor ``file``. Whoever mounts it inside the block keeps it.

    The device is dropped with its last user (AUTOCLEAR). ``direct`` passes requests through without a cache.
    """
    path, device = _attach(file, _LOOP_FLAGS_AUTOCLEAR | (_LOOP_FLAGS_DIRECT_IO if direct else 0))
    try:
        yield path
    finally:
        os.close(device)


def _attach(file: int, flags: int) -> tuple[str, int]:
    configuration = bytearray(304)  # struct loop_config: fd, block size, struct loop_info64 (flags at 52)
    struct.pack_into("II", configuration, 0, file, _SECTOR_BYTES)
    struct.pack_into("I", configuration, 8 + 52, flags)
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_LOOP_ATTEMPTS):
            path = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
            try:
                device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # its node is still being made
            try:
                fcntl.ioctl(device, _LOOP_CONFIGURE, bytes(configuration))
                return path, device
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:  # somebody else was faster
                    raise
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "no free loop device", "/dev/loop-control")


@contextlib.contextmanager
def _opened(root: int) -> Iterator[int]:
    """Give a descriptor for requests to the file system: that of a mount is a place only (O_PATH)."""
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def sync_filesystem(root: int) -> None:
    """Write out everything of the file system whose mount ``root`` is."""
    with _opened(root) as descriptor:
        _check(_libc().syncfs(descriptor), "syncfs")


def quiesce(root: int) -> None:
    """Write out everything and leave the journal empty (freeze and thaw)."""
    sync_filesystem(root)
    with _opened(root) as descriptor:
        fcntl.ioctl(descriptor, _FIFREEZE, 0)
        fcntl.ioctl(descriptor, _FITHAW, 0)


def commit_btrfs(root: int) -> None:
    """Commit the running transaction of a btrfs, and wait for it."""
    transaction = bytearray(8)
    with _opened(root) as descriptor:
        fcntl.ioctl(descriptor, _BTRFS_START_SYNC, transaction, True)
        fcntl.ioctl(descriptor, _BTRFS_WAIT_SYNC, bytes(transaction))
