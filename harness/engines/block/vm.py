"""The block engine without root: inside User-Mode Linux, a Linux kernel that is an ordinary program.

The machine's root directory is that of this system, seen with the rights of this user, so every path is the same;
inside, the engine is root, and mounts as it likes. What it observes is that kernel, whose version differs from
this system's (:func:`kernel_release`).

Needs the package ``user-mode-linux`` (x86_64). Its kernels before 6.13 do not know processors with AMX: they panic
at the first program, for the register state is larger than they expect. For those a filter hides the extended
state from the kernel, which then keeps the SSE registers only, and the C library is told not to use AVX. A program
that uses AVX by itself (Node, Go, Bun) would compute nonsense there, so only Python is run.

Non-goals: speed (2 s to boot; a third of the rate); other programs' services (a socket of a tool service is not
reachable from inside).
"""

from __future__ import annotations

import ctypes
import os
import pickle
import platform
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec

from harness.core.run import RunSpec
from harness.engines.base import EngineError
from harness.engines.block.chamber import Send, chamber
from harness.engines.block.cuts import SUBSETS
from harness.engines.block.disk import Slow
from harness.engines.block.observe import ObservedState
from harness.engines.block.recording import Commit, DiskRecording
from harness.engines.block.vm_guest import MODULES, modules_directory

_MEMORY = "1G"
_BOOT_S = 60.0
_PER_CUT_S = 0.5
_NO_AVX = "glibc.cpu.hwcaps=" + ",".join(
    f"-{name}"
    for name in (
        *("AVX_Fast_Unaligned_Load", "AVX2", "AVX512F", "AVX512VL", "AVX512BW", "AVX", "ERMS"),
        *("AVX2_Usable", "AVX512F_Usable", "XSAVEC", "XSAVE"),
    )
)
_PTRACE, _GETREGSET, _SETREGSET, _NT_X86_XSTATE = 101, 0x4204, 0x4205, 0x202
_KNOWS_AMX = (6, 13)


def kernel_release() -> str:
    """Return the release of the installed user-mode kernel; "" for none."""
    program = shutil.which("linux")
    if program is None:
        return ""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else ""


def _needs_filter(release: str) -> bool:
    """Return whether the processor has more state than the kernel ``release`` can hold."""
    found = re.match(r"(\d+)\.(\d+)", release)
    if found is not None and (int(found[1]), int(found[2])) >= _KNOWS_AMX:
        return False
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as stream:
            return " amx_tile" in stream.read()
    except OSError:
        return False


@cache
def why_no_vm(filesystem: str) -> str:
    """Return "" where a virtual machine can record on ``filesystem``, else one reason why not; found by booting one."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "the virtual machine needs Linux on x86_64"
    release = kernel_release()
    if not release:
        return "user-mode Linux is not installed (package user-mode-linux)"
    for module in MODULES:
        if not os.path.exists(os.path.join(modules_directory(release), module)):
            return f"user-mode Linux {release} has no module {os.path.basename(module)}"
    try:
        reason = _ask(("available", filesystem), _BOOT_S)
    except EngineError as error:
        return str(error)
    return f"inside the virtual machine: {reason}" if reason else ""


def why_not_in_vm(argv0: str) -> str:
    """Return "" where the program may run in a virtual machine on this processor, else the reason why not."""
    if not _needs_filter(kernel_release()) or re.fullmatch(r"python[\d.]*", os.path.basename(argv0)):
        return ""
    return (
        f"user-mode Linux {kernel_release()} does not keep the AVX registers of this processor: "
        f"only Python runs in it, not {os.path.basename(argv0)}"
    )


def record_in_vm(
    spec: RunSpec,
    filesystem: str,
    options: str = "",
    commit: Commit = "end",
    *,
    slow: Slow | None = None,
    limit: int = 200,
    seed: int = 0,
    subsets: int = SUBSETS,
    tears: int = 0,
) -> tuple[DiskRecording, list[ObservedState]]:
    """Do :func:`record_on_disk` and :func:`observe` inside a virtual machine; at most ``limit`` cuts.

    Ask :func:`why_no_vm` and :func:`why_not_in_vm` before. Raises what those two raise, and :class:`EngineError`
    where the machine gives no answer.
    """
    environment = dict(spec.environment)
    if _needs_filter(kernel_release()):
        environment["GLIBC_TUNABLES"] = _NO_AVX
    inside = msgspec.structs.replace(spec, environment=environment)
    observing = {"limit": limit, "seed": seed, "subsets": subsets, "tears": tears}
    request = ("record", (inside, filesystem, options, commit), {"slow": slow}, observing)
    recording, states = _ask(request, _BOOT_S + 3 * spec.limits.timeout_s + limit * _PER_CUT_S)
    return recording, states


def _ask(request: tuple[object, ...], timeout_s: float) -> Any:
    """Boot a machine, have it carry out one request, and return its answer, or raise it."""
    release = kernel_release()
    with tempfile.TemporaryDirectory(prefix="tornwrite-vm-") as made:
        directory = os.path.realpath(made)
        with open(os.path.join(directory, "request"), "wb") as stream:
            pickle.dump(request, stream)
        _write_init(directory, _needs_filter(release))

        def work(send: Send) -> None:
            send(_boot(directory, _needs_filter(release), timeout_s))

        (said,) = chamber(work, mounts=False)
        try:
            with open(os.path.join(directory, "answer"), "rb") as answered:
                worked, answer = pickle.load(answered)
        except OSError:
            raise EngineError(f"user-mode Linux {release} gave no answer: {said or 'it said nothing'}") from None
    if worked:
        return answer
    raise answer


def _write_init(directory: str, without_avx: bool) -> None:
    variables = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": directory,
        "TMPDIR": directory,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
        **({"GLIBC_TUNABLES": _NO_AVX} if without_avx else {}),
    }
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    guest = [sys.executable, "-m", "harness.engines.block.vm_guest", directory]
    lines = ["#!/bin/sh", *exports, "mount -t proc proc /proc", "cd /", f"exec {shlex.join(guest)}"]
    path = os.path.join(directory, "init")
    with open(path, "x", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write("\n".join(lines) + "\n")
    os.chmod(path, 0o700)


def _boot(directory: str, hide_state: bool, timeout_s: float) -> str:
    """Run the machine to its end; return the last thing it said that is a complaint."""
    program = shutil.which("linux")
    assert program is not None
    command = [
        *(program, f"mem={_MEMORY}", "rootfstype=hostfs", "rw", f"init={directory}/init", "quiet", "panic=-1"),
        *("con=null", "con0=null,fd:1", f"uml_dir={directory}", "umid=machine"),
    ]
    try:
        done = subprocess.run(
            command,
            env={"HOME": directory, "TMPDIR": "/dev/shm", "PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
            preexec_fn=_filter_installer() if hide_state else None,
        )
    except subprocess.TimeoutExpired:
        return f"it did not end within {timeout_s:g} s"
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    telling = [line.strip() for line in lines if re.search(r"panic|Error|error|denied|cannot", line)]
    return telling[-1] if telling else ""


def _filter_installer() -> Callable[[], None]:
    """Return what makes ``ptrace`` refuse the extended register state, for a process and all that it starts."""
    load, jump_equal, give = 0x20, 0x15, 0x06
    code = b"".join(
        struct.pack("HBBI", *step)
        for step in (
            (load, 0, 0, 0),  # the number of the system call
            (jump_equal, 0, 6, _PTRACE),
            (load, 0, 0, 16),  # its first argument
            (jump_equal, 1, 0, _GETREGSET),
            (jump_equal, 0, 3, _SETREGSET),
            (load, 0, 0, 32),  # its third
            (jump_equal, 0, 1, _NT_X86_XSTATE),
            (give, 0, 0, 0x50000 | 22),  # EINVAL, as a kernel without that state says
            (give, 0, 0, 0x7FFF0000),
        )
    )
    raw = ctypes.create_string_buffer(code, len(code))

    def install() -> None:
        from harness.engines.ptrace.launch import install_filter  # noqa: PLC0415 - Linux only

        failed = install_filter(raw)
        if failed:
            raise OSError(failed, os.strerror(failed))

    return install
