"""The kernel's interface as numbers: ptrace requests, registers, system calls of x86_64.

Sources: ``include/uapi/linux/ptrace.h``, ``seccomp.h``, ``audit.h`` and the x86_64 system call table of Linux.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from functools import cache
from typing import Any

PTRACE_PEEKUSER = 3
PTRACE_CONT = 7
PTRACE_GETREGS = 12
PTRACE_SETREGS = 13
PTRACE_SYSCALL = 24
PTRACE_SEIZE = 0x4206
PTRACE_LISTEN = 0x4208
PTRACE_GETEVENTMSG = 0x4201

OPTIONS = 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x80 | 0x100000
"""SYSGOOD, FORK, VFORK, CLONE, EXEC, SECCOMP, EXITKILL."""

EVENT_FORK = 1
EVENT_VFORK = 2
EVENT_CLONE = 3
EVENT_EXEC = 4
EVENT_SECCOMP = 7
EVENT_STOP = 128
SYSCALL_STOP = 5 | 0x80
"""SIGTRAP with the SYSGOOD bit: an entry or exit stop."""

WALL = 0x40000000
"""``__WALL``: wait for threads too."""

AUDIT_ARCH_X86_64 = 0xC000003E
X32_BIT = 0x40000000

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ALLOW = 0x7FFF0000
SECCOMP_RET_TRACE = 0x7FF00000
SECCOMP_RET_ERRNO = 0x00050000

CLONE_VM = 0x100
CLONE_FILES = 0x400
CLONE_THREAD = 0x10000
CLONE_UNTRACED = 0x800000

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_REMOVEDIR = 0x200
AT_SYMLINK_FOLLOW = 0x400
AT_EMPTY_PATH = 0x1000

# Positions in struct user_regs_struct.
R10, R9, R8, RAX, RDX, RSI, RDI, ORIG_RAX = 7, 8, 9, 10, 12, 13, 14, 15
REGISTERS = 27
ARGUMENT_REGISTERS = (RDI, RSI, RDX, R10, R8, R9)
_UNPACK = struct.Struct("27Q")

SYSCALLS: dict[str, int] = {
    "write": 1, "open": 2, "close": 3, "mmap": 9, "ioctl": 16, "pwrite64": 18, "writev": 20, "msync": 26,
    "dup": 32, "dup2": 33, "sendfile": 40, "bind": 49, "clone": 56, "fork": 57, "vfork": 58, "execve": 59,
    "kill": 62, "fcntl": 72, "flock": 73, "fsync": 74, "fdatasync": 75, "truncate": 76, "ftruncate": 77,
    "rename": 82, "mkdir": 83, "rmdir": 84, "creat": 85, "link": 86, "unlink": 87, "symlink": 88,
    "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94, "utime": 132, "mknod": 133,
    "sync": 162, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197,
    "lremovexattr": 198, "fremovexattr": 199, "tkill": 200, "io_submit": 209, "exit_group": 231,
    "tgkill": 234, "utimes": 235, "openat": 257, "mkdirat": 258, "mknodat": 259, "fchownat": 260,
    "futimesat": 261, "unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266, "fchmodat": 268,
    "unshare": 272, "splice": 275, "sync_file_range": 277, "utimensat": 280, "fallocate": 285, "dup3": 292,
    "pwritev": 296, "syncfs": 306, "renameat2": 316, "execveat": 322, "copy_file_range": 326,
    "pwritev2": 328, "pidfd_send_signal": 424, "clone3": 435, "close_range": 436, "openat2": 437,
    "fchmodat2": 452,
}  # fmt: skip
LOOKS: dict[str, int] = {
    "read": 0, "stat": 4, "lstat": 6, "pread64": 17, "readv": 19, "access": 21, "readlink": 89, "getdents64": 217,
    "newfstatat": 262, "readlinkat": 267, "faccessat": 269, "preadv": 295, "preadv2": 327, "statx": 332,
    "faccessat2": 439,
}  # fmt: skip
"""What looks at files and changes none: stops the target only under a schedule."""
IO_URING_SETUP = 425
NAMES: dict[int, str] = {number: name for name, number in SYSCALLS.items()}

RESTARTS = frozenset((512, 513, 514, 516))
"""ERESTARTSYS and its kin: the call had no effect and will be entered again."""

_libc: Any = None


def libc() -> Any:
    """Return the C library, without releasing the interpreter lock around calls: ptrace requests never block."""
    global _libc  # noqa: PLW0603 - loaded once, on Linux only
    if _libc is None:
        _libc = ctypes.PyDLL(None, use_errno=True)
        _libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        _libc.ptrace.restype = ctypes.c_long
    return _libc


@cache
def ptrace_function() -> Any:
    """Return the C function itself, for the loop's hot path; -1 means look at :func:`ctypes.get_errno`."""
    return libc().ptrace


def ptrace(request: int, tid: int, address: int = 0, data: int = 0) -> None:
    """Make one ptrace request. Raises :class:`OSError` (ESRCH: the tracee is gone or was killed)."""
    if ptrace_function()(request, tid, address, data) == -1:
        number = ctypes.get_errno() or errno.EIO
        raise OSError(number, os.strerror(number), f"ptrace {request:#x}")


def return_value(tid: int) -> int:
    """Return the result of the call at whose exit a thread stands, ``-errno`` for a failure."""
    value: int = ptrace_function()(PTRACE_PEEKUSER, tid, 8 * RAX, 0)
    if value == -1 and (number := ctypes.get_errno()):
        raise OSError(number, os.strerror(number), "ptrace PEEKUSER")
    return value


class Registers:
    """One register file, reused for every stop: ``read`` it, look at ``values``, maybe ``write`` it back."""

    def __init__(self) -> None:
        self._buffer = (ctypes.c_ulonglong * REGISTERS)()
        self._address = ctypes.addressof(self._buffer)
        self._ptrace = libc().ptrace

    def read(self, tid: int) -> tuple[int, ...]:
        """Return the registers of a stopped thread, in the order of ``user_regs_struct``."""
        if self._ptrace(PTRACE_GETREGS, tid, 0, self._address) == -1:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), "ptrace GETREGS")
        return _UNPACK.unpack_from(self._buffer)

    def write(self, tid: int, changes: dict[int, int]) -> None:
        """Set the registers at these positions, leaving the others as they were last read."""
        for position, value in changes.items():
            self._buffer[position] = value & 0xFFFFFFFFFFFFFFFF
        ptrace(PTRACE_SETREGS, tid, 0, self._address)


def event_message(tid: int) -> int:
    """Return the message of a ptrace event: a new process id, or the former id of a thread that called exec."""
    value = ctypes.c_ulong(0)
    ptrace(PTRACE_GETEVENTMSG, tid, 0, ctypes.addressof(value))
    return value.value


def signed(value: int, bits: int = 64) -> int:
    """Return ``value`` read as a two's complement number of ``bits`` bits."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
