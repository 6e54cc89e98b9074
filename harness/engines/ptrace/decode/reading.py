"""Reading back what a call left in a file, where its data never passed through memory the engine saw."""

from __future__ import annotations

import os

from harness.engines.ptrace.tracee import Thread
from harness.engines.ptrace.watch import Watch


def read_back(watch: Watch, thread: Thread, fd: int, offset: int, size: int) -> bytes:
    """Return ``size`` bytes at ``offset`` of the file behind a descriptor of the thread; fewer at its end.

    The file is opened anew, so a write-only descriptor and a file without a name can be read. Where the file's
    mode forbids that, the gap is noted as not seen and nothing is returned.
    """
    if size <= 0:
        return b""
    watch.spend(size)
    try:
        handle = os.open(f"/proc/{thread.tid}/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        watch.not_seen(f"data copied inside the kernel into a file that cannot be read ({error.strerror})")
        return b""
    try:
        data = os.pread(handle, size, offset)
        while 0 < len(data) < size:
            more = os.pread(handle, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data
    finally:
        os.close(handle)
