"""rename, link, unlink, mkdir, symlink, mknod, bind: which names a system call is about."""

from __future__ import annotations

import os
import stat

from harness.engines.calls.call import Call
from harness.engines.calls.names import LinkCall, MakeCall, RenameCall, UnlinkCall, note_outside
from harness.engines.ptrace import abi
from harness.engines.ptrace.decode.call import Arguments
from harness.engines.ptrace.paths import locate
from harness.engines.ptrace.tracee import Thread
from harness.engines.ptrace.watch import Watch

_AF_UNIX = 1


def _rename(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    watch.opened.clear()
    read = thread.process.string
    if name == "rename":
        source, target = locate(thread, abi.AT_FDCWD, read(args[0])), locate(thread, abi.AT_FDCWD, read(args[1]))
    else:
        source, target = locate(thread, args[0], read(args[1])), locate(thread, args[2], read(args[3]))
    call = RenameCall(watch, thread, name, source, target, args[4] if name == "renameat2" else 0)
    return call if call.touches_root() else None


def _link(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    watch.opened.clear()
    read = thread.process.string
    flags = 0
    if name == "link":
        source, target = locate(thread, abi.AT_FDCWD, read(args[0])), locate(thread, abi.AT_FDCWD, read(args[1]))
    else:
        flags = args[4]
        source, target = locate(thread, args[0], read(args[1])), locate(thread, args[2], read(args[3]))
    by_descriptor = name == "linkat" and flags & abi.AT_EMPTY_PATH and not read(args[1])
    call = LinkCall(
        watch, thread, name, source, target, follow=bool(flags & abi.AT_SYMLINK_FOLLOW or by_descriptor)
    )
    if call.target[1] is None:
        note_outside(watch, thread, call)
        return None
    return call


def _unlink(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    watch.opened.clear()
    at = name == "unlinkat"
    located = locate(thread, args[0] if at else abi.AT_FDCWD, thread.process.string(args[1] if at else args[0]))
    path = watch.root.name(located)[1]
    return None if path is None else UnlinkCall(watch, thread, name, path)


def _make(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    watch.opened.clear()
    read = thread.process.string
    destination = None
    type_bits = stat.S_IFDIR
    at = name.endswith("at")
    if name.startswith("symlink"):
        type_bits, destination = stat.S_IFLNK, read(args[0])
        located = locate(thread, args[1] if at else abi.AT_FDCWD, read(args[2 if at else 1]))
    else:
        located = locate(thread, args[0] if at else abi.AT_FDCWD, read(args[1 if at else 0]))
        if name.startswith("mknod"):
            type_bits = stat.S_IFMT(args[2 if at else 1]) or stat.S_IFREG
    absolute, path = watch.root.name(located)
    if absolute is None or path is None:
        return None
    return MakeCall(watch, thread, name, (absolute, path), type_bits=type_bits, destination=destination)


def _bind(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    raw = thread.process.read(args[1], min(args[2], 110))
    if len(raw) < 3 or int.from_bytes(raw[:2], "little") != _AF_UNIX or raw[2] == 0:
        return None
    located = locate(thread, abi.AT_FDCWD, os.fsdecode(raw[2:].split(b"\0", 1)[0]))
    absolute, path = watch.root.name(located)
    if absolute is None or path is None:
        return None
    return MakeCall(watch, thread, name, (absolute, path), type_bits=stat.S_IFSOCK)


DECODERS = {
    **dict.fromkeys(("rename", "renameat", "renameat2"), _rename),
    **dict.fromkeys(("link", "linkat"), _link),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), _unlink),
    **dict.fromkeys(("mkdir", "mkdirat", "symlink", "symlinkat", "mknod", "mknodat"), _make),
    "bind": _bind,
}
