"""chmod, utimens, chown and extended attributes: metadata by path or by descriptor."""

from __future__ import annotations

import os
import struct

from harness.engines.calls.call import Call, status
from harness.engines.calls.files import AttributeCall, Located, ModeCall, TimesCall
from harness.engines.ptrace import abi
from harness.engines.ptrace.decode.call import Arguments
from harness.engines.ptrace.paths import locate
from harness.engines.ptrace.tracee import Thread
from harness.engines.ptrace.watch import Watch

_UTIME_NOW = 0x3FFFFFFF
_UTIME_OMIT = 0x3FFFFFFE
_SECOND_NS = 1_000_000_000


def _file(watch: Watch, located: str, follow: bool) -> Located | None:
    info = status(located, follow)
    ino = None if info is None else watch.inodes.get((info.st_dev, info.st_ino))
    return None if ino is None else Located(located, follow, ino)


def _by_path(watch: Watch, thread: Thread, dirfd: int, address: int, flags: int = 0) -> Located | None:
    path = thread.process.string(address) if address else ""
    follow = not flags & abi.AT_SYMLINK_NOFOLLOW or not path
    return _file(watch, locate(thread, dirfd, path), follow)


def _by_descriptor(watch: Watch, thread: Thread, fd: int) -> Located | None:
    return _file(watch, f"/proc/{thread.tid}/fd/{abi.signed(fd, 32)}", follow=True)


def _chmod(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    if name == "fchmod":
        file, mode = _by_descriptor(watch, thread, args[0]), args[1]
    elif name == "chmod":
        file, mode = _by_path(watch, thread, abi.AT_FDCWD, args[0]), args[1]
    else:
        file = _by_path(watch, thread, args[0], args[1], args[3] if name == "fchmodat2" else 0)
        mode = args[2]
    return None if file is None else ModeCall(watch, thread, name, file, mode)


def _modification_time(thread: Thread, name: str, address: int) -> int | None:
    """Return the new time in nanoseconds, -1 if it stays as it is, ``None`` for the clock's."""
    if not address:
        return None
    if name == "utime":
        return int(struct.unpack("qq", thread.process.read(address, 16))[1]) * _SECOND_NS
    _, _, seconds, fraction = struct.unpack("qqqq", thread.process.read(address, 32))
    if name != "utimensat":
        return int(seconds) * _SECOND_NS + int(fraction) * 1000
    if fraction == _UTIME_OMIT:
        return -1
    return None if fraction == _UTIME_NOW else int(seconds) * _SECOND_NS + int(fraction)


def _utimens(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    if name in ("utime", "utimes"):
        file, times = _by_path(watch, thread, abi.AT_FDCWD, args[0]), args[1]
    else:
        file, times = _by_path(watch, thread, args[0], args[1], args[3] if name == "utimensat" else 0), args[2]
    if file is None:
        return None
    try:
        mtime_ns = _modification_time(thread, name, times)
    except struct.error:
        return None  # an address outside memory: the call will fail
    return None if mtime_ns == -1 else TimesCall(watch, thread, name, file, mtime_ns)


def _chown(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    if name == "fchown":
        file = _by_descriptor(watch, thread, args[0])
    elif name == "fchownat":
        file = _by_path(watch, thread, args[0], args[1], args[4])
    else:
        file = _by_path(watch, thread, abi.AT_FDCWD, args[0], abi.AT_SYMLINK_NOFOLLOW if name == "lchown" else 0)
    return None if file is None else AttributeCall(watch, thread, name, file, "owner")


def _xattr(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    if name.startswith("f"):
        file = _by_descriptor(watch, thread, args[0])
    else:
        flags = abi.AT_SYMLINK_NOFOLLOW if name.startswith("l") else 0
        file = _by_path(watch, thread, abi.AT_FDCWD, args[0], flags)
    if file is None:
        return None
    verb = "removed" if "remove" in name else "set"
    attribute = os.fsencode(thread.process.string(args[1])).decode("utf-8", "replace")
    return AttributeCall(watch, thread, name, file, f"xattr {attribute} {verb}")


DECODERS = {
    **dict.fromkeys(("chmod", "fchmod", "fchmodat", "fchmodat2"), _chmod),
    **dict.fromkeys(("utime", "utimes", "futimesat", "utimensat"), _utimens),
    **dict.fromkeys(("chown", "fchown", "lchown", "fchownat"), _chown),
    **dict.fromkeys(
        ("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr"),
        _xattr,
    ),
}
