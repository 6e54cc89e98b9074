"""A trace written by hand: a writer's calls in code, with the operations an engine would have recorded.

For tests, benchmarks and examples, which need the trace of a writer without running one. Calls that would fail
raise :class:`harness.core.apply.ReplayError` or ``KeyError``.
"""

from __future__ import annotations

from typing import Any

from harness.core.apply import apply
from harness.core.operation import (
    Ack,
    AnyOperation,
    Close,
    Link,
    MakeNode,
    Mkdir,
    Open,
    Rename,
    Sync,
    Truncate,
    Unlink,
    Write,
)
from harness.core.trace import Actor, Trace
from harness.core.tree import EMPTY_TREE, File, Tree


class Script:
    """A scripted run; ``actors`` processes may take turns through the ``actor`` argument of each call."""

    def __init__(self, start: Tree = EMPTY_TREE, actors: int = 1) -> None:
        self.start = start
        self.tree = start
        self._actors = tuple(Actor(process=index, pid=1000 + index) for index in range(actors))
        self._operations: list[AnyOperation] = []
        self._open: dict[int, tuple[int, bool, int]] = {}
        self._next_ino = max(start.nodes, default=0) + 1
        self._next_fd = 3

    def _do(self, make: type[Any], **values: Any) -> None:
        op: AnyOperation = make(seq=len(self._operations), **values)
        self.tree = apply(self.tree, op)
        self._operations.append(op)

    def _new_ino(self) -> int:
        self._next_ino += 1
        return self._next_ino - 1

    def _size(self, ino: int) -> int:
        node = self.tree.nodes[ino]
        return node.content.size if isinstance(node, File) else 0

    def open(self, path: str, *, truncate: bool = False, append: bool = False, actor: int = 0) -> int:
        """Open for writing, creating the file if need be; return the descriptor."""
        ino = self.tree.names.get(path)
        created = ino is None
        if ino is None:
            ino = self._new_ino()
        fd, self._next_fd = self._next_fd, self._next_fd + 1
        truncated = truncate and not created and self._size(ino) > 0
        self._do(Open, path=path, ino=ino, fd=fd, created=created, truncated=truncated, append=append, actor=actor)
        self._open[fd] = (ino, append, 0)
        return fd

    def write(
        self, fd: int, data: bytes, *, at: int | None = None, landed: int | None = None, actor: int = 0
    ) -> None:
        """Write at the descriptor's position, or ``at`` an offset; ``landed`` bytes of it if it was cut short."""
        ino, append, position = self._open[fd]
        offset = at if at is not None else self._size(ino) if append else position
        done = data if landed is None else data[:landed]
        requested = b"" if landed is None else data
        self._do(Write, ino=ino, offset=offset, data=done, requested=requested, fd=fd, actor=actor)
        if at is None:
            self._open[fd] = (ino, append, offset + len(done))

    def truncate(self, fd: int, size: int, *, actor: int = 0) -> None:
        """Set the size of an open file."""
        self._do(Truncate, ino=self._open[fd][0], size=size, actor=actor)

    def fsync(self, fd: int, *, actor: int = 0) -> None:
        """Flush an open file."""
        self._do(Sync, ino=self._open[fd][0], scope="file", actor=actor)

    def sync_directory(self, path: str = "", *, actor: int = 0) -> None:
        """Flush a directory; the state directory where no path is given."""
        self._do(Sync, ino=self.tree.names[path] if path else 0, scope="file", actor=actor)

    def sync_everything(self, *, actor: int = 0) -> None:
        """Flush all file systems."""
        self._do(Sync, ino=-1, scope="all", actor=actor)

    def close(self, fd: int, *, actor: int = 0) -> None:
        """Close a descriptor."""
        ino, _, _ = self._open.pop(fd)
        left = sum(1 for other, _, _ in self._open.values() if other == ino)
        self._do(Close, ino=ino, fd=fd, writers_left=left, actor=actor)

    def rename(self, path: str, to: str, *, exchange: bool = False, actor: int = 0) -> None:
        """Rename, replacing what ``to`` named."""
        self._do(Rename, path=path, to=to, exchange=exchange, actor=actor)

    def link(self, path: str, to: str, *, actor: int = 0) -> None:
        """Give the file at ``path`` a further name."""
        self._do(Link, ino=self.tree.names[path], path=to, actor=actor)

    def symlink(self, destination: str, path: str, *, actor: int = 0) -> None:
        """Make a symbolic link at ``path``."""
        self._do(MakeNode, ino=self._new_ino(), path=path, destination=destination, actor=actor)

    def unlink(self, path: str, *, actor: int = 0) -> None:
        """Remove a name."""
        self._do(Unlink, path=path, actor=actor)

    def mkdir(self, path: str, *, actor: int = 0) -> None:
        """Make a directory."""
        self._do(Mkdir, ino=self._new_ino(), path=path, actor=actor)

    def ack(self, name: object, *, actor: int = 0) -> None:
        """Acknowledge on standard output."""
        self._do(Ack, id=str(name), actor=actor)

    def put(self, path: str, data: bytes, *, actor: int = 0) -> None:
        """Open, truncate, write and close: the naive way to replace a file."""
        fd = self.open(path, truncate=True, actor=actor)
        self.write(fd, data, actor=actor)
        self.close(fd, actor=actor)

    def replace(self, path: str, data: bytes, *, suffix: str = ".tmp", actor: int = 0) -> None:
        """Write a temporary file beside ``path``, flush it, rename it over: the durable way."""
        fd = self.open(path + suffix, truncate=True, actor=actor)
        self.write(fd, data, actor=actor)
        self.fsync(fd, actor=actor)
        self.close(fd, actor=actor)
        self.rename(path + suffix, path, actor=actor)

    def trace(self) -> Trace:
        """Return what an engine would have recorded."""
        return Trace(
            root="/state",
            engine="script",
            actors=self._actors,
            start=self.start,
            operations=tuple(self._operations),
        )
