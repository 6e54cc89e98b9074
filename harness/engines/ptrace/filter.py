"""The seccomp filter: which system calls stop the target.

Everything that can change a file, a descriptor table or the life of a process stops; reads and stats only where a
schedule decides about them, polls and locks of memory never. Another architecture's calls, x32 and io_uring get
ENOSYS: they would be mutations that the engine cannot see.
"""

from __future__ import annotations

import errno
import os

from harness.engines.ptrace import abi
from harness.engines.ptrace.assembler import Assembler

_NR, _ARCH, _ARGUMENTS = 0, 4, 16

WRITE_INTENT = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
FICLONE = 0x40049409
FICLONERANGE = 0x4020940D
F_DUPFD, F_SETFL, F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW, F_DUPFD_CLOEXEC = 0, 4, 6, 7, 37, 38, 1030
MAP_SHARED = 1
MAP_ANONYMOUS = 0x20
_SIGKILL = 9

_ARGUMENT_IN = {
    "ioctl": (1, (FICLONE, FICLONERANGE)),
    "fcntl": (1, (F_DUPFD, F_DUPFD_CLOEXEC, F_SETFL, F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW)),
    # Only SIGKILL can end another process in the middle of an operation; other signals pass the tracer.
    "kill": (1, (_SIGKILL,)),
    "tkill": (1, (_SIGKILL,)),
    "tgkill": (2, (_SIGKILL,)),
    "pidfd_send_signal": (1, (_SIGKILL,)),
}
_ARGUMENT_HAS = {"open": (1, WRITE_INTENT), "openat": (2, WRITE_INTENT), "unshare": (0, abi.CLONE_FILES)}
_WRITE_OPENS = ("open", "openat")
_BY_DESCRIPTOR = {"newfstatat": 3, "statx": 2}
"""Looks, and which argument is their flags: one that may go by a descriptor alone (fstat) never stops."""
_SEEN_AS_EVENTS = ("clone", "clone3", "fork", "vfork")
"""Births are reported by ptrace events; only a birth that hides from ptrace is refused."""


def build(reads: bool = False) -> bytes:
    """Return the filter as ``struct sock_filter[]``; with ``reads``, what only looks at files stops too."""
    argument_has = {name: each for name, each in _ARGUMENT_HAS.items() if not (reads and name in _WRITE_OPENS)}
    asm = Assembler()
    asm.load(_ARCH)
    asm.if_equal(abi.AUDIT_ARCH_X86_64, otherwise="absent")
    asm.load(_NR)
    asm.if_set(abi.X32_BIT, then="absent")
    conditional = {*_ARGUMENT_IN, *argument_has, "mmap", "clone"}
    looks = {name: number for name, number in abi.LOOKS.items() if reads}
    for name in sorted(conditional, key=lambda name: abi.SYSCALLS[name]):
        asm.if_equal(abi.SYSCALLS[name], then=name)
    for name, number in abi.SYSCALLS.items():
        if name not in conditional and name not in _SEEN_AS_EVENTS:
            asm.if_equal(number, then="trace")
    for name, number in looks.items():
        asm.if_equal(number, then=name if name in _BY_DESCRIPTOR else "trace")
    asm.if_equal(abi.IO_URING_SETUP, then="absent")
    asm.give(abi.SECCOMP_RET_ALLOW)
    for name, (argument, mask) in argument_has.items():
        asm.label(name)
        asm.load(_ARGUMENTS + 8 * argument)
        asm.if_set(mask, then="trace", otherwise="allow")
    for name in _BY_DESCRIPTOR.keys() & looks.keys():
        asm.label(name)
        asm.load(_ARGUMENTS + 8 * _BY_DESCRIPTOR[name])
        asm.if_set(abi.AT_EMPTY_PATH, then="allow", otherwise="trace")
    asm.label("mmap")
    asm.load(_ARGUMENTS + 8 * 3)
    asm.if_set(MAP_SHARED, otherwise="allow")
    asm.if_set(MAP_ANONYMOUS, then="allow", otherwise="trace")
    asm.label("clone")
    asm.load(_ARGUMENTS)
    asm.if_set(abi.CLONE_UNTRACED, then="forbidden", otherwise="allow")
    for name, (argument, values) in _ARGUMENT_IN.items():
        asm.label(name)
        asm.load(_ARGUMENTS + 8 * argument)
        for value in values:
            asm.if_equal(value, then="trace")
        asm.jump("allow")
    asm.label("allow")
    asm.give(abi.SECCOMP_RET_ALLOW)
    asm.label("trace")
    asm.give(abi.SECCOMP_RET_TRACE)
    asm.label("absent")
    asm.give(abi.SECCOMP_RET_ERRNO | errno.ENOSYS)
    asm.label("forbidden")
    asm.give(abi.SECCOMP_RET_ERRNO | errno.EPERM)
    return asm.assemble()
