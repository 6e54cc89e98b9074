"""Appending so that it stays: every byte, then fsync, then the name; on error the file ends where it ended before."""

import contextlib
import errno
import json
import os

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

BINARY = getattr(os, "O_BINARY", 0)


def write_all(descriptor, data):
    """Write every byte: a short write is continued, and one that makes no progress is an error."""
    view = memoryview(data)
    while view:
        count = os.write(descriptor, view)
        if count == 0:
            raise OSError(errno.EIO, "write made no progress")
        view = view[count:]


def sync_directory(path):
    """Make the names in a directory durable. Windows has no such call and orders names by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(path):
    """Make a directory and those above it, durably."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    make_directories(parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)
    sync_directory(parent)


@contextlib.contextmanager
def opened(path, flags):
    """Open a file and keep other processes that do the same out of it; one made for nothing is removed again."""
    made = not os.path.exists(path)
    descriptor = os.open(path, os.O_RDWR | BINARY | flags, 0o644)
    try:
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError:
                if made and not os.fstat(descriptor).st_size:
                    os.unlink(path)
                raise
        yield descriptor
    finally:
        os.close(descriptor)


def append(path, data):
    """Append ``data`` durably."""
    new = not os.path.exists(path)
    with opened(path, os.O_CREAT | os.O_APPEND) as descriptor:
        size = os.fstat(descriptor).st_size
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        except OSError:
            if new and not size:
                os.unlink(path)  # nobody shall see a session that was never begun
            else:
                os.ftruncate(descriptor, size)
            raise
    if new:
        sync_directory(os.path.dirname(path))


def cut(path, end):
    """Cut a file to ``end`` bytes durably."""
    with opened(path, 0) as descriptor:
        os.ftruncate(descriptor, end)
        os.fsync(descriptor)


def is_record(line):
    """Whether a line is a JSON object."""
    try:
        return isinstance(json.loads(line.decode("utf-8")), dict)
    except (ValueError, RecursionError):
        return False


def end_of_records(data):
    """Return the offset after the last line that is a record: what follows was in flight when the machine stopped.

    A killed writer leaves a line without its newline. A power loss may leave NULs where the first blocks of the
    record belong, and its newline behind them.
    """
    end = data.rfind(b"\n") + 1
    while end:
        start = data.rfind(b"\n", 0, end - 1) + 1
        if is_record(data[start : end - 1]):
            break
        end = start
    return end


def heal(path):
    """Cut a torn last record, which was never acknowledged, off a transcript."""
    with opened(path, 0) as descriptor:
        size = os.fstat(descriptor).st_size
        with os.fdopen(os.dup(descriptor), "rb") as stream:
            end = end_of_records(stream.read())
        if end < size:
            os.ftruncate(descriptor, end)
            os.fsync(descriptor)
