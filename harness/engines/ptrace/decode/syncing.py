"""fsync and its kin, and shared mappings: barriers, and what is written where no call shows it."""

from __future__ import annotations

import mmap
from collections.abc import Sequence

from harness.core.operation import AnyOperation, Map
from harness.engines.calls.call import Call
from harness.engines.calls.files import NO_INODE, SYNC_SCOPES, SyncCall
from harness.engines.ptrace.decode.call import Arguments, TracedCall
from harness.engines.ptrace.paths import canonical
from harness.engines.ptrace.tracee import Thread
from harness.engines.ptrace.watch import Watch


class MapCall(TracedCall):
    """A shared mapping through which the file can be written, made or synchronised."""

    __slots__ = ("fd", "ino", "length", "what")

    def __init__(
        self, watch: Watch, thread: Thread, syscall: str, ino: int, what: str, length: int = 0, fd: int = -1
    ) -> None:
        super().__init__(watch, thread, syscall)
        self.ino = ino
        self.what = what
        self.length = length
        self.fd = fd

    def predict(self) -> AnyOperation:
        """Return the mapping."""
        return Map(ino=self.ino, what=self.what, **self.stamp())

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the mapping; from now on the file's content cannot be answered for."""
        failed = -4096 < returned < 0
        if self.length and not failed:
            self._note()
            self.thread.process.mappings.append((returned & 0xFFFFFFFFFFFFFFFF, self.length, self.ino))
        return (Map(ino=self.ino, what=self.what, **self.stamp(-returned if failed else 0)),)

    def _note(self) -> None:
        watch = self.watch
        watch.mapped.add(self.ino)
        path = watch.root.relative(canonical(f"/proc/{self.thread.tid}/fd/{self.fd}"))
        if path is not None:
            watch.unseen_paths.add(path)
        watch.not_seen(f"stores through a shared mapping of {path or 'a file without a name'}")


def _sync_file(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    description = watch.descriptors.lookup(thread.process.descriptors, thread.tid, args[0] & 0xFFFFFFFF)
    ino = None if description is None else watch.inodes.get(description.key)
    return None if ino is None else SyncCall(watch, thread, name, ino, SYNC_SCOPES[name])


def _sync_filesystem(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    if name == "sync":
        return SyncCall(watch, thread, name, NO_INODE, "all")
    description = watch.descriptors.lookup(thread.process.descriptors, thread.tid, args[0] & 0xFFFFFFFF)
    if description is None or description.key[0] != watch.inodes.device:
        return None
    return SyncCall(watch, thread, name, NO_INODE, "filesystem")


def _mmap(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    fd = args[4] & 0xFFFFFFFF
    description = watch.descriptors.lookup(thread.process.descriptors, thread.tid, fd)
    # A mapping made read-only can be made writable by mprotect, if its descriptor is.
    if description is None or not (args[2] & mmap.PROT_WRITE or description.writable):
        return None
    ino = watch.inodes.get(description.key)
    return None if ino is None else MapCall(watch, thread, name, ino, "MAP_SHARED", args[1], fd)


def _msync(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    for address, length, ino in reversed(thread.process.mappings):
        if address <= args[0] < address + length:
            return MapCall(watch, thread, name, ino, "msync")
    return None


DECODERS = {
    **dict.fromkeys(SYNC_SCOPES, _sync_file),
    **dict.fromkeys(("sync", "syncfs"), _sync_filesystem),
    "mmap": _mmap,
    "msync": _msync,
}
