"""The filter, run by a small interpreter of classic BPF: which calls stop, pass or are refused."""

from __future__ import annotations

import errno
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engines.ptrace import abi
from harness.engines.ptrace.assembler import Assembler
from harness.engines.ptrace.decode import DECODERS
from harness.engines.ptrace.filter import F_DUPFD, F_SETLK, FICLONE, build

CODE = build()
ENOSYS = abi.SECCOMP_RET_ERRNO | errno.ENOSYS
ALLOW, TRACE = abi.SECCOMP_RET_ALLOW, abi.SECCOMP_RET_TRACE


def interpret(
    code: bytes, number: int, arguments: tuple[int, ...] = (), architecture: int = abi.AUDIT_ARCH_X86_64
) -> int:
    padded = (*arguments, *([0] * (6 - len(arguments))))
    data = struct.pack("IIQ6Q", number, architecture, 0, *padded)
    instructions = list(struct.iter_unpack("HBBI", code))
    position = accumulator = 0
    while True:
        operation, then, otherwise, operand = instructions[position]
        position += 1
        if operation == 0x20:  # BPF_LD | BPF_W | BPF_ABS
            accumulator = struct.unpack_from("I", data, operand)[0]
        elif operation == 0x05:  # BPF_JMP | BPF_JA
            position += operand
        elif operation == 0x15:  # BPF_JMP | BPF_JEQ | BPF_K
            position += then if accumulator == operand else otherwise
        elif operation == 0x45:  # BPF_JMP | BPF_JSET | BPF_K
            position += then if accumulator & operand else otherwise
        elif operation == 0x06:  # BPF_RET | BPF_K
            return operand
        else:
            raise AssertionError(f"instruction {operation:#x}")


def decide(name: str, *arguments: int) -> int:
    return interpret(CODE, abi.SYSCALLS[name], arguments)


CONDITIONAL = {
    "open",
    "openat",
    "mmap",
    "ioctl",
    "fcntl",
    "kill",
    "tkill",
    "tgkill",
    "pidfd_send_signal",
    "unshare",
}


@pytest.mark.parametrize("name", sorted({name for name, _ in DECODERS.values()} - CONDITIONAL))
def test_every_decoded_call_stops(name: str) -> None:
    assert decide(name) == TRACE


@pytest.mark.parametrize(
    ("name", "arguments", "decision"),
    [
        ("open", (0, os.O_RDONLY), ALLOW),
        ("open", (0, os.O_WRONLY), TRACE),
        ("openat", (0, 0, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY), ALLOW),
        ("openat", (0, 0, os.O_RDWR), TRACE),
        ("openat", (0, 0, os.O_CREAT), TRACE),
        ("openat", (0, 0, os.O_TRUNC), TRACE),
        ("openat", (os.O_WRONLY, 0, 0), ALLOW),
        ("mmap", (0, 4096, 3, 1, 5), TRACE),
        ("mmap", (0, 4096, 1, 3, 5), TRACE),
        ("mmap", (0, 4096, 3, 2, 5), ALLOW),
        ("mmap", (0, 4096, 3, 0x21, 0), ALLOW),
        ("ioctl", (1, FICLONE), TRACE),
        ("ioctl", (1, 0x5401), ALLOW),
        ("fcntl", (1, F_DUPFD), TRACE),
        ("fcntl", (1, F_SETLK), TRACE),
        ("fcntl", (1, 3), ALLOW),
        ("kill", (1, 9), TRACE),
        ("kill", (9, 15), ALLOW),
        ("tgkill", (1, 1, 23), ALLOW),
        ("tgkill", (1, 1, 9), TRACE),
        ("clone", (0x3D0F00,), ALLOW),
        ("clone", (abi.CLONE_UNTRACED,), abi.SECCOMP_RET_ERRNO | errno.EPERM),
        ("clone3", (1, 88), ALLOW),
    ],
)
def test_calls_that_depend_on_an_argument(name: str, arguments: tuple[int, ...], decision: int) -> None:
    assert decide(name, *arguments) == decision


def test_under_a_schedule_what_looks_stops_too_and_nothing_else_changes() -> None:
    reads = build(reads=True)
    for number in abi.LOOKS.values():
        assert (interpret(CODE, number), interpret(reads, number)) == (ALLOW, TRACE)
    assert interpret(reads, abi.SYSCALLS["openat"], (0, 0, os.O_RDONLY)) == TRACE
    for number in set(range(600)) - set(abi.LOOKS.values()) - {abi.SYSCALLS["open"], abi.SYSCALLS["openat"]}:
        assert interpret(reads, number) == interpret(CODE, number)
    assert not set(abi.LOOKS) & set(abi.SYSCALLS)


def test_io_uring_does_not_exist() -> None:
    assert interpret(CODE, abi.IO_URING_SETUP) == ENOSYS


@given(number=st.integers(0, 600), architecture=st.sampled_from([0x40000003, 0xC00000B7, 0]))
def test_other_architectures_have_no_calls(number: int, architecture: int) -> None:
    assert interpret(CODE, number, architecture=architecture) == ENOSYS


@given(number=st.integers(0, 600))
def test_x32_has_no_calls(number: int) -> None:
    assert interpret(CODE, number | abi.X32_BIT) == ENOSYS


@given(number=st.integers(0, 1000), arguments=st.lists(st.integers(0, 2**64 - 1), max_size=6))
def test_everything_else_passes(number: int, arguments: list[int]) -> None:
    decision = interpret(CODE, number, tuple(arguments))
    if number not in abi.NAMES and number != abi.IO_URING_SETUP:
        assert decision == ALLOW
    elif number in abi.NAMES and abi.NAMES[number] not in (*CONDITIONAL, "clone", "clone3", "fork", "vfork"):
        assert decision == TRACE


def test_the_assembler_refuses_what_it_cannot_encode() -> None:
    asm = Assembler()
    asm.label("start")
    asm.if_equal(1, then="start")
    with pytest.raises(ValueError, match="behind"):
        asm.assemble()
    with pytest.raises(ValueError, match="twice"):
        asm.label("start")
    asm = Assembler()
    asm.if_equal(1, then="far")
    for _ in range(300):
        asm.load(0)
    asm.label("far")
    asm.give(0)
    with pytest.raises(ValueError, match="jump of 300"):
        asm.assemble()
