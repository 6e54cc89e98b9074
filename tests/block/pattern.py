"""Small writers, one per way to save something: ``python -ISE pattern.py NAME DIR``. Standard library only.

Each starts from :func:`start` (files of 10,000 bytes) and writes 20,000 bytes of another text, recognisable page by
page. A line ``ACK n`` says that the writer claims the n-th thing to be durable, rightly or not.
"""

import os
import sys

PAGE = 4096
OLD_BYTES = 10_000
NEW_BYTES = 20_000
RECORD_BYTES = 600
RECORDS = 5


def text(word: str, size: int) -> bytes:
    """Return ``size`` bytes in which every page says which one it is."""
    pages = range(-(-size // PAGE))
    return b"".join((f"{word}-page-{page:02d} ".encode() * PAGE)[: PAGE - 1] + b"\n" for page in pages)[:size]


OLD, NEW = text("old", OLD_BYTES), text("new", NEW_BYTES)


def record(number: int) -> bytes:
    """Return the ``number``-th line of a log."""
    return (f"record-{number:02d} ".encode() * RECORD_BYTES)[: RECORD_BYTES - 1] + b"\n"


def ack(number: int = 1) -> None:
    os.write(1, b"ACK %d\n" % number)


def write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def save(path: str, data: bytes, flags: int = os.O_CREAT | os.O_TRUNC, *, sync: bool = False) -> None:
    descriptor = os.open(path, os.O_WRONLY | flags, 0o644)
    write_all(descriptor, data)
    if sync:
        os.fsync(descriptor)
    os.close(descriptor)


def sync_path(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def in_place() -> None:
    save("f", NEW)
    ack()


def in_place_fsync() -> None:
    save("f", NEW, sync=True)
    ack()


def replace() -> None:
    save("f.tmp", NEW)
    os.rename("f.tmp", "f")
    ack()


def replace_fsync() -> None:
    save("f.tmp", NEW, sync=True)
    os.rename("f.tmp", "f")
    ack()


def replace_dirsync() -> None:
    save("f.tmp", NEW, sync=True)
    os.rename("f.tmp", "f")
    sync_path(".")
    ack()


def append() -> None:
    for number in range(1, RECORDS + 1):
        save("f", record(number), os.O_APPEND)
        ack(number)


def append_fsync() -> None:
    descriptor = os.open("f", os.O_WRONLY | os.O_APPEND)
    for number in range(1, RECORDS + 1):
        write_all(descriptor, record(number))
        os.fsync(descriptor)
        ack(number)
    os.close(descriptor)


def overwrite_truncate() -> None:
    """What Bun.writeFile does: no O_TRUNC, but a truncation to the new size at the end."""
    descriptor = os.open("f", os.O_WRONLY | os.O_CREAT, 0o644)
    write_all(descriptor, NEW)
    os.ftruncate(descriptor, len(NEW))
    os.close(descriptor)
    ack()


def overwrite_shrink() -> None:
    """Shorter contents over longer ones: the truncation is what removes the old tail."""
    descriptor = os.open("f", os.O_WRONLY)
    write_all(descriptor, NEW[:5000])
    os.ftruncate(descriptor, 5000)
    os.close(descriptor)
    ack()


def new_name() -> None:
    save("g.tmp", NEW)
    os.rename("g.tmp", "g")
    ack()


def link_new() -> None:
    save("g.tmp", NEW, sync=True)
    os.link("g.tmp", "g")
    os.unlink("g.tmp")
    ack()


def pwrite_middle() -> None:
    descriptor = os.open("f", os.O_WRONLY)
    os.pwrite(descriptor, NEW[PAGE : PAGE + 3000], 3000)  # across a page boundary
    os.close(descriptor)
    ack()


def unlink_create() -> None:
    os.unlink("f")
    save("f", NEW, os.O_CREAT | os.O_EXCL)
    ack()


def two_directories() -> None:
    save("a/x.tmp", NEW, sync=True)
    os.rename("a/x.tmp", "b/x")
    save("a/y", NEW)
    sync_path("b")
    ack()


def append_pages() -> None:
    """Several pages per write, and none of them aligned to one."""
    descriptor = os.open("f", os.O_WRONLY | os.O_APPEND)
    for begin in range(0, NEW_BYTES, 5000):
        write_all(descriptor, NEW[begin : begin + 5000])
    os.close(descriptor)
    ack()


PATTERNS = {
    name: function
    for name, function in list(globals().items())
    if callable(function)
    and getattr(function, "__module__", "") == __name__
    and name not in ("text", "record", "ack", "write_all", "save", "sync_path")
}

EXPECTED_ACKS = {name: RECORDS if name in ("append", "append_fsync") else 1 for name in PATTERNS}


def start(name: str) -> dict[str, bytes | None]:
    """Return what a pattern starts from: contents by path, ``None`` for a directory."""
    if name == "two_directories":
        return {"a": None, "b": None, "b/x": OLD}
    return {"f": OLD}


if __name__ == "__main__":
    os.chdir(sys.argv[2])
    PATTERNS[sys.argv[1]]()
