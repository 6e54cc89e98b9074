"""What runs inside the virtual machine (:mod:`harness.engines.block.vm`): the block engine as root.

``python -m harness.engines.block.vm_guest DIRECTORY`` as the first process: mounts what the engine needs, reads
``DIRECTORY/request``, writes ``DIRECTORY/answer`` (pickled), and turns the machine off.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import sys
from collections.abc import Iterable

MODULES = ("kernel/drivers/block/loop.ko", "kernel/fs/fuse/fuse.ko")
_FINIT_MODULE = 313
_POWER_OFF = 0x4321FEDC
_MOUNTS = (("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/dev/shm"))


def modules_directory(release: str) -> str:
    """Return where the modules of a user-mode kernel are."""
    return f"/usr/lib/uml/modules/{release}"


def _set_up(libc: ctypes.CDLL) -> None:
    for kind, place in _MOUNTS:
        with contextlib.suppress(OSError):
            os.makedirs(place, exist_ok=True)
        # A refusal shows in what needs the mount; devtmpfs is often there before.
        libc.mount(b"none", place.encode(), kind.encode(), ctypes.c_ulong(0), None)
    for module in MODULES:
        path = os.path.join(modules_directory(os.uname().release), module)
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            libc.syscall(ctypes.c_long(_FINIT_MODULE), descriptor, b"", 0)
            os.close(descriptor)


def answer_to(request: tuple[object, ...]) -> object:
    """Carry out one request; see :func:`harness.engines.block.vm._ask`."""
    from harness.engines.block import observe, record_on_disk, why_not_available  # noqa: PLC0415

    if request[0] == "available":
        return why_not_available(str(request[1]))
    _, positional, named, observing = request
    assert isinstance(positional, tuple) and isinstance(named, dict) and isinstance(observing, dict)
    recording = record_on_disk(*positional, **named)
    return recording, list(observe(recording, **observing))


def _portable(answer: object) -> bytes:
    try:
        raw = pickle.dumps(answer)
        pickle.loads(raw)
    except Exception as error:  # whatever an error's own constructor raises
        return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}: {answer!r}"[:2000])))
    return raw


def main(arguments: Iterable[str]) -> None:
    """Be the machine."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        (directory,) = arguments
        _set_up(libc)
        with open(os.path.join(directory, "request"), "rb") as stream:
            request = pickle.load(stream)
        answer: tuple[bool, object]
        try:
            answer = True, answer_to(request)
        except Exception as error:
            answer = False, error
        with open(os.path.join(directory, "answer.new"), "wb") as stream:
            stream.write(_portable(answer))
        os.rename(os.path.join(directory, "answer.new"), os.path.join(directory, "answer"))
    finally:
        libc.reboot(_POWER_OFF)


if __name__ == "__main__":
    main(sys.argv[1:])
