"""``os`` functions on descriptors: open, write and its kin, sync, sizes, duplicates, closes, locks."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Any

from .channel import LINK, REAL

WATCHED, OUTPUT, IGNORED = b"w"[0], b"s"[0], b"i"[0]
WRITE_INTENT = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

_kinds: dict[int, int] = {}
"""Descriptor → what the engine said that it is."""
DIRECTORIES: dict[int, str] = {}
"""Descriptor of a directory → the path it was opened by."""


def kind(fd: int) -> int:
    """Return what a descriptor is to the engine, asking it the first time."""
    known = _kinds.get(fd)
    if known is None and not LINK.active:
        return IGNORED
    if known is None:
        known = _kinds[fd] = _look(fd)
    return known


def _look(fd: int) -> int:
    try:
        info = REAL["fstat"](fd)
    except OSError:
        return IGNORED
    regular = stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)
    if not regular and not stat.S_ISFIFO(info.st_mode) and fd != 1:
        return IGNORED
    writable = append = 0
    if regular:
        writable, append = _flags(fd)
    return LINK.ask(b"look", fd, info.st_dev, info.st_ino, info.st_mode, writable, append)[0]


def _flags(fd: int) -> tuple[int, int]:
    """Return whether an inherited descriptor can write, and whether it appends."""
    try:
        import fcntl

        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    except (ImportError, OSError):
        return 1, 0
    return int(flags & os.O_ACCMODE != os.O_RDONLY), int(bool(flags & os.O_APPEND))


def remember(fd: int, kind: int) -> None:
    """Note what a new descriptor is; its number may have been another file's."""
    _kinds[fd] = kind
    DIRECTORIES.pop(fd, None)


def forget(fd: int) -> None:
    """Note that a descriptor is another one now, which nobody has looked at."""
    _kinds.pop(fd, None)
    DIRECTORIES.pop(fd, None)


def is_watched(fd: int) -> bool:
    """Whether a descriptor is known to be of a file that the engine watches."""
    return _kinds.get(fd) == WATCHED


def watched() -> list[int]:
    """Return the descriptors that the engine knows of."""
    return [fd for fd, known in _kinds.items() if known == WATCHED]


def place(path: Any, dir_fd: int | None = None) -> tuple[str, Any]:
    """Return (directory, path) of a path argument; the directory is empty for an absolute path."""
    name = os.fspath(path)
    if os.path.isabs(name):
        return "", name
    if dir_fd is not None:
        return DIRECTORIES.get(dir_fd, f"/dev/fd/{dir_fd}"), name
    return os.getcwd(), name


def opened(fd: int) -> tuple[Any, ...]:
    """Return what the engine must know of a file just opened."""
    info = REAL["fstat"](fd)
    known = WATCHED if stat.S_ISREG(info.st_mode) else IGNORED
    remember(fd, known)
    return fd, info.st_dev, info.st_ino, info.st_mode, info.st_nlink, info.st_size


def _open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    real: Callable[..., int] = REAL["open"]
    if not flags & WRITE_INTENT:
        fd = real(path, flags, mode, dir_fd=dir_fd)
        forget(fd)
        if stat.S_ISDIR(REAL["fstat"](fd).st_mode):
            directory, name = place(path, dir_fd)
            DIRECTORIES[fd] = os.path.join(os.fsdecode(directory), os.fsdecode(name))
        return fd
    syscall = b"open" if dir_fd is None else b"openat"
    return LINK.operate(
        (b"open", syscall, *place(path, dir_fd), flags),
        lambda: real(path, flags, mode, dir_fd=dir_fd),
        facts=opened,
        path=path,
    )


# -- writing --------------------------------------------------------------------------------------------------


def write_through(
    fd: int,
    syscall: bytes,
    data: memoryview,
    whole: Callable[[], int],
    cut: Callable[[int], int],
    offset: int = -1,
) -> int:
    """Write ``data`` to a descriptor as the engine says. ``offset`` -1 is the file position."""
    known = kind(fd)
    if known == IGNORED:
        return whole()
    if known == OUTPUT:
        return LINK.operate((b"output", syscall), whole, payload=data, facts=lambda done: (done,), waits=False)

    def landed(done: int) -> tuple[int, int, int]:
        return done, REAL["lseek"](fd, 0, os.SEEK_CUR), REAL["fstat"](fd).st_size

    return LINK.operate((b"write", syscall, fd, offset), whole, payload=data, cut=cut, facts=landed)


def _write(fd: int, data: Any) -> int:
    real = REAL["write"]
    view = memoryview(data).cast("B")
    return write_through(fd, b"write", view, lambda: real(fd, view), lambda n: real(fd, view[:n]))


def _pwrite(fd: int, data: Any, offset: int) -> int:
    real = REAL["pwrite"]
    view = memoryview(data).cast("B")
    return write_through(
        fd, b"pwrite64", view, lambda: real(fd, view, offset), lambda n: real(fd, view[:n], offset), offset
    )


def _shortened(buffers: list[memoryview], size: int) -> list[memoryview]:
    out = []
    for part in buffers:
        out.append(part[:size])
        size -= min(size, len(part))
    return out


def _vector(name: str) -> Callable[..., int]:
    def call(fd: int, buffers: Any, *where: int) -> int:
        real = REAL[name]
        parts = [memoryview(part).cast("B") for part in buffers]
        data = memoryview(b"".join(parts))
        offset = where[0] if where else -1
        return write_through(
            fd,
            name.encode(),
            data,
            lambda: real(fd, parts, *where),
            lambda n: real(fd, _shortened(parts, n), *where),
            offset,
        )

    return call


def _source(fd: int, count: int, offset: int | None) -> memoryview:
    """Return what a copy from ``fd`` will move: nobody else runs before it has."""
    where = REAL["lseek"](fd, 0, os.SEEK_CUR) if offset is None else offset
    return memoryview(REAL["pread"](fd, count, where))


def _sendfile(out_fd: int, in_fd: int, offset: int | None, count: int, *rest: Any, **more: Any) -> int:
    real = REAL["sendfile"]
    if kind(out_fd) != WATCHED or rest or more:
        return int(real(out_fd, in_fd, offset, count, *rest, **more))
    data = _source(in_fd, count, offset)

    def copy(size: int) -> int:
        return int(real(out_fd, in_fd, offset, size))

    return write_through(out_fd, b"sendfile", data, lambda: copy(count), copy)


def _copy_file_range(
    src: int, dst: int, count: int, offset_src: int | None = None, offset_dst: int | None = None
) -> int:
    real = REAL["copy_file_range"]
    if kind(dst) != WATCHED:
        return int(real(src, dst, count, offset_src, offset_dst))
    data = _source(src, count, offset_src)

    def copy(size: int) -> int:
        return int(real(src, dst, size, offset_src, offset_dst))

    where = -1 if offset_dst is None else offset_dst
    return write_through(dst, b"copy_file_range", data, lambda: copy(count), copy, where)


# -- sync, size, descriptors ------------------------------------------------------------------------------------


def number_of(fd: Any) -> int:
    """Return the descriptor that an argument stands for."""
    return fd if isinstance(fd, int) else int(fd.fileno())


def _sync(name: str) -> Callable[[Any], None]:
    def call(fd: Any) -> None:
        real = REAL[name]
        number = number_of(fd)
        if kind(number) != WATCHED:
            real(number)
            return
        LINK.operate((b"sync", name, number), lambda: real(number))

    return call


def _sync_all() -> None:
    LINK.operate((b"sync", b"sync", -1), REAL["sync"])


def _ftruncate(fd: Any, length: int) -> None:
    number = number_of(fd)
    if kind(number) != WATCHED:
        REAL["ftruncate"](number, length)
        return
    LINK.operate((b"ftruncate", number, length), lambda: REAL["ftruncate"](number, length))


def _truncate(path: Any, length: int) -> None:
    if isinstance(path, int):
        _ftruncate(path, length)
        return
    LINK.operate((b"truncate", *place(path), length), lambda: REAL["truncate"](path, length), path=path)


def _posix_fallocate(fd: int, offset: int, length: int) -> None:
    real = REAL["posix_fallocate"]
    if kind(fd) != WATCHED:
        real(fd, offset, length)
        return
    LINK.operate(
        (b"allocate", fd, offset + length),
        lambda: real(fd, offset, length),
        facts=lambda _: (REAL["fstat"](fd).st_size,),
    )


def closing(fd: int) -> None:
    """Tell the engine that a descriptor is about to be closed."""
    if fd in _kinds or fd in DIRECTORIES:
        if is_watched(fd):
            LINK.note(b"close", LINK.thread(), b"close", fd)
        forget(fd)


def _close(fd: int) -> None:
    if isinstance(fd, int):
        if fd in (LINK.up, LINK.down):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))  # to the program it is not open
        closing(fd)
    REAL["close"](fd)


def _closerange(low: int, high: int) -> None:
    for fd in sorted(fd for fd in {*_kinds, *DIRECTORIES} if low <= fd < high):
        closing(fd)
    own = sorted(fd for fd in (LINK.up, LINK.down) if low <= fd < high)
    for fd in own:
        REAL["closerange"](low, fd)
        low = fd + 1
    REAL["closerange"](low, high)


def duplicated(source: int, fd: int) -> None:
    """Enter a duplicate of a descriptor; what its number was is closed."""
    if fd == source:
        return
    known, directory = _kinds.get(source), DIRECTORIES.get(source)
    if WATCHED in (known, _kinds.get(fd)):
        LINK.note(b"dup", LINK.thread(), source, fd)
    forget(fd)
    if known is not None:
        _kinds[fd] = known
    if directory is not None:
        DIRECTORIES[fd] = directory


def _dup(fd: int) -> int:
    new: int = REAL["dup"](fd)
    duplicated(fd, new)
    return new


def _dup2(fd: int, fd2: int, inheritable: bool = True) -> int:
    new: int = REAL["dup2"](fd, fd2, inheritable)
    duplicated(fd, new)
    return new


def _lock_words(command: int, unlock: int, shared: int, exclusive: int, names: tuple[str, str, str]) -> str:
    for bit, name in zip((unlock, exclusive, shared), names):
        if command & bit:
            return name
    return str(command)


def _patch_locks() -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    real_flock, real_lockf, real_fcntl = fcntl.flock, fcntl.lockf, fcntl.fcntl
    bits = (fcntl.LOCK_UN, fcntl.LOCK_SH, fcntl.LOCK_EX)

    def lock(number: int, what: str, waits: bool, real: Callable[[], Any]) -> Any:
        if kind(number) != WATCHED:
            return real()
        return LINK.operate((b"lock", number, what, int(waits)), real, waits=waits)

    def flock(fd: Any, operation: int) -> Any:
        number, waits = number_of(fd), not operation & fcntl.LOCK_NB
        what = _lock_words(operation, *bits, ("LOCK_UN", "LOCK_EX", "LOCK_SH")) + ("" if waits else "|LOCK_NB")
        return lock(number, what, waits, lambda: real_flock(number, operation))

    def lockf(fd: Any, cmd: int, *rest: Any) -> Any:
        number, waits = number_of(fd), not cmd & fcntl.LOCK_NB
        what = _lock_words(cmd, *bits, ("F_UNLCK", "F_WRLCK", "F_RDLCK"))
        request = "F_SETLKW" if waits else "F_SETLK"
        return lock(number, f"{request} {what}", waits, lambda: real_lockf(number, cmd, *rest))

    def control(fd: Any, cmd: int, arg: Any = 0) -> Any:
        result = real_fcntl(fd, cmd, arg)
        if cmd in (fcntl.F_DUPFD, getattr(fcntl, "F_DUPFD_CLOEXEC", -1)):
            duplicated(number_of(fd), result)
        elif cmd == fcntl.F_SETFL and is_watched(number_of(fd)):
            LINK.note(b"append", LINK.thread(), number_of(fd), int(bool(arg & os.O_APPEND)))
        elif cmd == getattr(fcntl, "F_FULLFSYNC", -1) and is_watched(number_of(fd)):
            LINK.operate((b"sync", b"fsync", number_of(fd)), lambda: None)
        return result

    module: Any = fcntl
    module.flock, module.lockf, module.fcntl = flock, lockf, control


def replace(functions: dict[str, Callable[..., Any]]) -> None:
    """Put functions in the place of those of ``os`` that this system has."""
    system = __import__("nt" if os.name == "nt" else "posix")
    for name, function in functions.items():
        real = REAL.get(name)
        if real is None:
            continue
        function.__name__ = function.__qualname__ = name
        function.__doc__ = real.__doc__
        for group in (os.supports_fd, os.supports_dir_fd, os.supports_follow_symlinks, os.supports_effective_ids):
            if real in group:
                group.add(function)
        setattr(os, name, function)
        setattr(system, name, function)


def patch() -> None:
    """Watch what this process does with descriptors."""
    replace(
        {
            "open": _open,
            "write": _write,
            "pwrite": _pwrite,
            "writev": _vector("writev"),
            "pwritev": _vector("pwritev"),
            "sendfile": _sendfile,
            "copy_file_range": _copy_file_range,
            "fsync": _sync("fsync"),
            "fdatasync": _sync("fdatasync"),
            "sync": _sync_all,
            "ftruncate": _ftruncate,
            "truncate": _truncate,
            "posix_fallocate": _posix_fallocate,
            "close": _close,
            "closerange": _closerange,
            "dup": _dup,
            "dup2": _dup2,
        }
    )
    LINK.anew = _kinds.clear
    _patch_locks()
