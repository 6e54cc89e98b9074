"""One mutating file operation of one actor, as an engine saw it at the kernel's boundary.

Every operation carries what happened *and* what was asked: a write torn by a fault holds the bytes that landed
in ``data`` and all the bytes in ``requested``. Inode numbers are the trace's own: small integers given in
order of first sight; a name that is replaced and made again gets a new one. Paths are as in
:mod:`harness.core.tree`. A failed operation (``error`` set) is kept in the order and changes nothing.

An acknowledgement (:class:`Ack`) is an operation too: that is what places "the program said it is saved" in the
same total order as the writes.

Non-goals: reads, locks that are only waited for, and anything outside the state directory beyond its mention
(:class:`Outside`).
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

import msgspec


class Operation(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What all operations share.

    ``seq`` is the position in the total order of the trace (0, 1, …); ``actor`` an index into the trace's
    actors; ``at_ns`` the time from the start of the run to the operation's entry; ``syscall`` the name of the
    system call; ``error`` the errno it failed with, or 0.
    """

    kind: ClassVar[str] = ""

    seq: int
    actor: int = 0
    at_ns: int = 0
    syscall: str = ""
    error: int = 0


class Open(Operation, frozen=True, kw_only=True, tag="open"):
    """An open that can write. ``path`` is ``None`` for a file without a name (O_TMPFILE).

    ``created`` and ``truncated`` say what the open *did*, not what its flags asked for; O_TRUNC on an existing
    empty file counts as ``truncated``, for it sets the modification time. ``mode`` is the mode of the inode after
    the open. ``fd`` names the descriptor within its process.
    """

    kind: ClassVar[str] = "open"

    path: str | None
    ino: int = 0
    fd: int = -1
    flags: int = 0
    mode: int = 0o644
    created: bool = False
    truncated: bool = False
    append: bool = False


class Close(Operation, frozen=True, kw_only=True, tag="close"):
    """The close of a descriptor opened for writing. ``writers_left`` counts the descriptors still open on it."""

    kind: ClassVar[str] = "close"

    ino: int
    fd: int = -1
    writers_left: int = 0


class Write(Operation, frozen=True, kw_only=True, tag="write"):
    """Bytes put into a file by any call that does so (write, writev, pwrite, sendfile, copy_file_range, …).

    ``data`` are the bytes that landed at ``offset``; ``requested`` is the whole request where it was longer,
    else empty (meaning: the same as ``data``). ``atomic`` is true for calls that cannot be cut by a kill.
    """

    kind: ClassVar[str] = "write"

    ino: int
    offset: int
    data: bytes
    requested: bytes = b""
    fd: int = -1
    atomic: bool = False

    @property
    def intended(self) -> bytes:
        """The bytes the program asked to write."""
        return self.requested or self.data


class Truncate(Operation, frozen=True, kw_only=True, tag="truncate"):
    """The size of a file set to ``size`` bytes (truncate, ftruncate, or an allocation that extends it)."""

    kind: ClassVar[str] = "truncate"

    ino: int
    size: int


class Rename(Operation, frozen=True, kw_only=True, tag="rename"):
    """``path`` becomes ``to``; with ``exchange`` the two names swap. Directories take what is below with them."""

    kind: ClassVar[str] = "rename"

    path: str
    to: str
    exchange: bool = False


class Link(Operation, frozen=True, kw_only=True, tag="link"):
    """A further name ``path`` for inode ``ino`` (link, linkat of a descriptor, or a name moved in from outside).

    For an inode never seen before, ``mode`` and ``data`` give its state at that moment.
    """

    kind: ClassVar[str] = "link"

    ino: int
    path: str
    mode: int = 0o644
    data: bytes | None = None


class Unlink(Operation, frozen=True, kw_only=True, tag="unlink"):
    """The name ``path`` removed (unlink, rmdir, or a rename that leads outside)."""

    kind: ClassVar[str] = "unlink"

    path: str


class Mkdir(Operation, frozen=True, kw_only=True, tag="mkdir"):
    """A directory made."""

    kind: ClassVar[str] = "mkdir"

    ino: int
    path: str
    mode: int = 0o755


class MakeNode(Operation, frozen=True, kw_only=True, tag="mknod"):
    """A symbolic link (``destination`` set), FIFO, socket, device or empty file made by mknod."""

    kind: ClassVar[str] = "mknod"

    ino: int
    path: str
    destination: str | None = None
    type_bits: int = 0
    mode: int = 0o644


class SetMode(Operation, frozen=True, kw_only=True, tag="chmod"):
    """The permission bits of an inode set."""

    kind: ClassVar[str] = "chmod"

    ino: int
    mode: int


class SetTimes(Operation, frozen=True, kw_only=True, tag="utimens"):
    """The modification time set; ``mtime_ns`` is ``None`` when it was set to "now"."""

    kind: ClassVar[str] = "utimens"

    ino: int
    mtime_ns: int | None


class SetAttribute(Operation, frozen=True, kw_only=True, tag="attribute"):
    """Owner or extended attribute changed. Recorded, not modelled: ``what`` says which."""

    kind: ClassVar[str] = "attribute"

    ino: int
    what: str


class Sync(Operation, frozen=True, kw_only=True, tag="sync"):
    """A durability barrier. ``scope``: ``file``, ``data`` (fdatasync), ``range``, ``filesystem`` or ``all``.

    ``ino`` is the file or directory for the first three; for the state directory itself it is 0, and for
    ``filesystem`` and ``all`` it is -1.
    """

    kind: ClassVar[str] = "sync"

    ino: int
    scope: str


class Lock(Operation, frozen=True, kw_only=True, tag="lock"):
    """An advisory lock taken or released; ``what`` is the request as the call spelt it."""

    kind: ClassVar[str] = "lock"

    ino: int
    what: str


class Map(Operation, frozen=True, kw_only=True, tag="map"):
    """A shared writable mapping made or synchronised. Stores through it are not seen by the engine."""

    kind: ClassVar[str] = "map"

    ino: int
    what: str


class Outside(Operation, frozen=True, kw_only=True, tag="outside"):
    """A write that leaves the state directory. Not seen further; ``path`` is where it went."""

    kind: ClassVar[str] = "outside"

    path: str


class Ack(Operation, frozen=True, kw_only=True, tag="ack"):
    """One complete line on the target's standard output that matched the acknowledgement pattern."""

    kind: ClassVar[str] = "ack"

    id: str
    batch: int = 0
    """Position among the acknowledgements that arrived in the same write; 0 for the first or only one."""


AnyOperation: TypeAlias = (
    Open
    | Close
    | Write
    | Truncate
    | Rename
    | Link
    | Unlink
    | Mkdir
    | MakeNode
    | SetMode
    | SetTimes
    | SetAttribute
    | Sync
    | Lock
    | Map
    | Outside
    | Ack
)
