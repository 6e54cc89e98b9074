"""Whether this machine allows tracing: found out by tracing something, not by looking at settings.

A child forks a grandchild that installs a filter and makes one call; the child traces it and makes that call
fail with an errno that the kernel would never give. Only if the grandchild meets that errno does the engine work.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import select
import signal
import struct
import sys
from functools import cache
from typing import NoReturn

_DEADLINE_S = 5.0
_PLANTED = errno.EXFULL
_WORKS, _WRONG_ANSWER, _NO_FILTER = 0, 1, 2


@cache
def why_not_available() -> str:
    """Return ``""`` where the engine works on this machine, else the reason why not, in one line."""
    if sys.platform != "linux":
        return f"needs Linux; this is {sys.platform}"
    machine = platform.machine()
    if machine != "x86_64" or struct.calcsize("P") != 8:
        return f"needs a 64-bit Python on x86_64; this is {machine}, {struct.calcsize('P') * 8}-bit"
    from harness.sandbox.processes import deferring_interrupts  # noqa: PLC0415 - psutil knows no such system elsewhere

    with deferring_interrupts():
        return _try_in_child()


def _try_in_child() -> str:
    answer, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(answer)
            os.write(tell, _attempt().encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(tell)
    try:
        if not select.select([answer], [], [], _DEADLINE_S)[0]:
            return f"the self-test did not finish within {_DEADLINE_S:g} s"
        text = os.read(answer, 4096).decode("utf-8", "replace")
    finally:
        os.close(answer)
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    if not text:
        return f"the self-test ended without an answer (status {status:#x})"
    return "" if text == "works" else text


def _attempt() -> str:
    """Trace a forked child; return ``works`` or the reason. Runs in a process of its own."""
    from harness.engines.ptrace import abi  # noqa: PLC0415 - Linux only
    from harness.engines.ptrace.filter import build  # noqa: PLC0415

    raw = build()
    code = ctypes.create_string_buffer(raw, len(raw))
    waiting, gate = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_traced(code, waiting)
    try:
        abi.ptrace(abi.PTRACE_SEIZE, pid, 0, abi.OPTIONS)
    except OSError as error:
        os.kill(pid, signal.SIGKILL)
        return _refusal(error)
    os.write(gate, b"g")
    registers = abi.Registers()
    planted = False
    while True:
        _, status = os.waitpid(pid, abi.WALL)
        if not os.WIFSTOPPED(status):
            break
        try:
            if (
                status >> 16 == abi.EVENT_SECCOMP
                and registers.read(pid)[abi.ORIG_RAX] == abi.SYSCALLS["ftruncate"]
            ):
                registers.write(pid, {abi.ORIG_RAX: -1, abi.RAX: -_PLANTED})
                planted = True
            abi.ptrace(abi.PTRACE_CONT, pid)
        except OSError as error:
            os.kill(pid, signal.SIGKILL)
            return _refusal(error)
    code_seen = os.waitstatus_to_exitcode(status)
    if code_seen == _WORKS and planted:
        return "works"
    if code_seen == _NO_FILTER:
        return "the kernel or a container refuses seccomp filters"
    return "tracing has no effect here (an emulator or a sandbox such as qemu-user or gVisor?)"


def _be_traced(code: ctypes.Array[ctypes.c_char], waiting: int) -> NoReturn:
    try:
        from harness.engines.ptrace.launch import install_filter  # noqa: PLC0415

        os.read(waiting, 1)
        if install_filter(code):
            os._exit(_NO_FILTER)
        try:
            os.ftruncate(-1, 0)
        except OSError as error:
            os._exit(_WORKS if error.errno == _PLANTED else _WRONG_ANSWER)
    finally:
        os._exit(_WRONG_ANSWER)


def _refusal(error: OSError) -> str:
    """Return why ptrace is refused, as well as the system lets one know."""
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope", encoding="ascii") as stream:
            scope = stream.read().strip()
    except OSError:
        scope = "0"
    if scope in ("2", "3"):
        return f"the system forbids tracing (kernel.yama.ptrace_scope is {scope})"
    if error.errno == errno.ENOSYS:
        return "ptrace does not exist here (an emulator such as qemu-user?)"
    return f"the system forbids tracing ({error.strerror}); a container may need SYS_PTRACE"
