"""Starting the target: a new session, its own standard streams, the filter, and a tracer before its first step."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from harness.core.run import RunSpec
from harness.engines.base import EngineError, TargetNotStartedError
from harness.engines.ptrace import abi
from harness.engines.ptrace.filter import build
from harness.sandbox.limits import child_setup

_STEPS = ("use the working directory", "install the system call filter", "run")
_REPORT = struct.Struct("ii")


class Child(NamedTuple):
    """A started target that waits for :func:`release`, traced already. Descriptors belong to the caller."""

    pid: int
    stdout: int
    stderr: int
    report: int
    gate: int


Launch = Callable[[RunSpec, bool], Child]
"""Starts a target, traced, before its first step; with true, what only looks stops it too."""


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install_filter(code: ctypes.Array[ctypes.c_char]) -> int:
    """Install a seccomp filter in this process, for good; return 0 or the errno."""
    program = _Program(len(code) // 8, ctypes.addressof(code))
    library = abi.libc()
    if library.prctl(abi.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return ctypes.get_errno()
    if library.prctl(abi.PR_SET_SECCOMP, abi.SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0):
        return ctypes.get_errno()
    return 0


def _become_target(spec: RunSpec, code: ctypes.Array[ctypes.c_char], report: int) -> NoReturn:
    step = 0
    try:
        os.chdir(spec.cwd)
        step = 1
        failed = install_filter(code)
        if failed:
            raise OSError(failed, os.strerror(failed))
        step = 2
        os.execvpe(spec.argv[0], spec.argv, dict(spec.environment))
    except OSError as error:
        os.write(report, _REPORT.pack(step, error.errno or 0))
    except ValueError:  # a NUL byte in an argument
        os.write(report, _REPORT.pack(step, errno.EINVAL))
    os._exit(127)


def launch(spec: RunSpec, reads: bool = False, stdin: int = -1) -> Child:
    """Fork the target and seize it; ``reads``: what only looks stops it too; ``stdin``: a descriptor that it reads.

    Without one it reads nothing. Raises :class:`EngineError` if the system refuses to trace it.
    """
    if not spec.argv or not spec.argv[0]:
        raise TargetNotStartedError("the command is empty")
    raw = build(reads)
    code = ctypes.create_string_buffer(raw, len(raw))
    setup = child_setup(with_parent=False)
    stdout, stdout_in = os.pipe()
    stderr, stderr_in = os.pipe()
    report, report_in = os.pipe()
    waiting, gate = os.pipe()
    reading = os.dup(stdin) if stdin >= 0 else os.open(os.devnull, os.O_RDONLY)
    pid = os.fork()
    if pid == 0:
        try:
            os.close(gate)
            os.setsid()
            if os.read(waiting, 1):
                for source, target in ((reading, 0), (stdout_in, 1), (stderr_in, 2)):
                    os.dup2(source, target)
                os.umask(0o022)
                if setup is not None:
                    setup()
                _become_target(spec, code, report_in)
        finally:
            os._exit(126)
    for descriptor in (reading, stdout_in, stderr_in, report_in, waiting):
        os.close(descriptor)
    child = Child(pid, stdout, stderr, report, gate)
    try:
        seize(pid)
    except EngineError:
        discard(child)
        raise
    return child


def seize(pid: int) -> None:
    """Trace a process that waits for :func:`release`. Raises :class:`EngineError` if the system refuses."""
    try:
        abi.ptrace(abi.PTRACE_SEIZE, pid, 0, abi.OPTIONS)
    except OSError as error:
        raise EngineError(f"the system does not allow tracing: {error.strerror}") from error


def release(child: Child) -> None:
    """Let the target run."""
    os.write(child.gate, b"g")
    os.close(child.gate)


def discard(child: Child) -> None:
    """End a target that was never released."""
    for descriptor in child[1:]:
        os.close(descriptor)
    os.waitpid(child.pid, 0)


def why_not_started(child: Child, spec: RunSpec) -> str:
    """Return why the target, dead by now, never became the command; ``""`` if it did."""
    raw = os.read(child.report, _REPORT.size)
    if len(raw) < _REPORT.size:
        return ""
    step, number = _REPORT.unpack(raw)
    subject = {0: spec.cwd, 2: spec.argv[0]}.get(step, "")
    reason = os.strerror(number)
    if step == 2 and number == errno.ENOEXEC:
        reason = "not a program this system can run (exec format error)"
    return f"cannot {_STEPS[step]} {subject}".rstrip() + f": {reason}"
