"""Entering full isolation: system calls that take a process, and all it starts, out of the machine's reach.

What :func:`enter` gives: a network of its own in which only loopback is up; every directory read-only but those it is
told, with empty private ones at the places where programs drop files and find other programs' sockets
(:data:`PRIVATE`); and, for the children to come, process ids of their own. All of it is irrevocable for the process,
and the kernel drops it with the last process inside.

Linux 5.12 or newer; as root, or as an ordinary user where user namespaces are allowed. Non-goals: processes and
their ends (:mod:`harness.sandbox.cell`); a target that, as root, works at getting out.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from harness.sandbox.namespace import enter_user_namespace, reason_of

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PRIVATE = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/var/run")
"""Empty inside: a file left there ends with the cell, and no socket there leads to a program outside, such as one that
looks up names for others."""

_SETTINGS = ("/proc/sys", "/proc/sysrq-trigger")
_PRIVATE_BYTES = 256 << 20
_NEWNS, _NEWIPC, _NEWPID, _NEWNET = 0x00020000, 0x08000000, 0x20000000, 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x2, 0x4, 0x8, 0x1000, 0x4000, 0x40000
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _ATTR_RDONLY = 442, -100, 0x8000, 0x1
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_KEPT_VARIABLES = frozenset({"PATH", "HOME", "LANG", "XDG_CACHE_HOME"})
_OURS = "TORNWRITE_"


class IsolationError(Exception):
    """Full isolation cannot be had here. The message says which step failed and why, in one line."""


class NetworkUse(NamedTuple):
    """What was seen of the network of a cell, counted by the kernel after everything inside was dead.

    ``other_interfaces`` is what the system puts into every network beside loopback (tunnels that are down),
    ``packets_elsewhere`` what passed through these: 0, or isolation failed. ``no_route`` counts attempts to reach an
    address for which there was no route: what would have left the machine.
    """

    other_interfaces: tuple[str, ...]
    packets_elsewhere: int
    no_route: int
    loopback_packets: int


def _call(step: str, result: int) -> None:
    if result:
        raise IsolationError(f"{step}: {reason_of(ctypes.get_errno())}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _mount(step: str, source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    _call(step, _libc().mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]))


def _set_read_only(path: str, *, on: bool, recursive: bool) -> None:
    attributes = struct.pack("=QQQQ", _ATTR_RDONLY if on else 0, 0 if on else _ATTR_RDONLY, 0, 0)
    step = f"making {path} {'read-only' if on else 'writable'}"
    long = ctypes.c_long
    result = _libc().syscall(
        long(_MOUNT_SETATTR),
        long(_AT_FDCWD),
        os.fsencode(path),
        long(_AT_RECURSIVE if recursive else 0),
        attributes,
        long(len(attributes)),
    )
    _call(step, result)


def enter(
    *,
    writable: Sequence[str],
    shown: Iterable[str] = (),
    hidden: Iterable[str] = (),
    moved: Sequence[tuple[str, str]] = (),
) -> Counters:
    """Take this process into full isolation; it must have a single thread, and can never have another.

    ``writable`` are the directories that it and its children may change. ``shown`` are directories they need: said
    where these lie below a private place, and would not be there else; what runs this program is always shown.
    ``hidden`` directories are empty inside. ``moved``: writable directories, each with the path in a private place
    under which it is seen. Raises :class:`IsolationError`.
    """
    if sys.platform != "linux" or fcntl is None:
        raise IsolationError(f"no namespaces on {sys.platform}")
    flags = _NEWNS | _NEWIPC | _NEWPID | _NEWNET
    if _libc().unshare(flags):
        enter_user_namespace(flags, IsolationError)
    counters = Counters()
    try:
        _raise_loopback()
        _mount("making mounts private", "none", "/", None, _MS_REC | _MS_PRIVATE)
        _arrange(
            [os.path.realpath(path) for path in writable],
            [os.path.realpath(path) for path in (*shown, *_own_directories())],
            [os.path.realpath(path) for path in hidden],
            [(os.path.realpath(path), place) for path, place in moved],
        )
    except OSError as error:
        raise IsolationError(f"{error.filename or 'isolation'}: {error.strerror}") from error
    return counters


def mount_processes() -> None:
    """Mount the view of processes that belongs to the caller's process ids. Raises :class:`IsolationError`.

    What is there of the machine's own settings is read-only.
    """
    _mount("mounting /proc", "proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    for path in _SETTINGS:
        if os.path.exists(path):
            _mount(f"showing {path}", path, path, None, _MS_BIND)
            _set_read_only(path, on=True, recursive=False)


def _raise_loopback() -> None:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            request = struct.pack("16sH14x", b"lo", 0)
            flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))
    except OSError as error:
        raise IsolationError(f"bringing up loopback: {error.strerror}") from error


def _own_directories() -> Iterable[str]:
    """Return where this program and its interpreter are."""
    return (path for path in dict.fromkeys((sys.prefix, sys.base_prefix, *sys.path)) if os.path.isabs(path))


def _arrange(writable: list[str], shown: list[str], hidden: list[str], moved: list[tuple[str, str]]) -> None:
    """Make everything read-only but ``writable``, with nothing but ``shown`` in what is private or hidden."""
    private = [path for path in dict.fromkeys(map(os.path.realpath, PRIVATE)) if os.path.isdir(path)]
    empty = [*private, *(path for path in hidden if os.path.isdir(path))]
    for path in (*writable, *(path for path, _ in moved)):
        if not os.path.isdir(path):
            raise IsolationError(f"{path}: no such directory")
    for _, place in moved:
        if not any(_is_below(place, each) for each in private):
            raise IsolationError(f"{place}: not in a private place: {', '.join(private)}")
    needed = {path: path for path in (*writable, *_outermost(shown)) if os.path.isdir(path)}
    needed |= {place: path for path, place in moved}
    # Opened before anything is covered, and in the new mounts: only those of this namespace can be bound.
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    held = {place: os.open(path, flags) for place, path in needed.items()}
    writable = [*writable, *(place for _, place in moved)]
    try:
        _set_read_only("/", on=True, recursive=True)
        for path in empty:
            _mount(
                f"a private {path}",
                "tmpfs",
                path,
                "tmpfs",
                _MS_NOSUID | _MS_NODEV,
                f"size={_PRIVATE_BYTES},mode=1777",
            )
        # The outer one first: it would cover the inner one.
        for path in sorted(needed):
            if path in writable or any(_is_below(path, each) for each in empty):
                os.makedirs(path, exist_ok=True)
                _mount(f"showing {path}", f"/proc/self/fd/{held[path]}", path, None, _MS_BIND | _MS_REC)
        for path in writable:
            _set_read_only(path, on=False, recursive=False)
    finally:
        for descriptor in held.values():
            os.close(descriptor)
    os.chdir("/")  # where it was shows what is below the mounts


def _is_below(path: str, directory: str) -> bool:
    return path.startswith(directory.rstrip("/") + "/")


def _outermost(paths: Iterable[str]) -> list[str]:
    """Return the paths that lie below none of the others."""
    every = list(dict.fromkeys(paths))
    return [path for path in every if not any(_is_below(path, other) for other in every)]


class Counters:
    """The kernel's counters of the network that this process is in when it is made; they can be read to the end."""

    def __init__(self) -> None:
        self._open = {}
        for name in ("dev", "snmp", "snmp6"):
            try:
                # Through the process ids that are seen now; the view of them changes later.
                self._open[name] = open(f"/proc/net/{name}", encoding="utf-8")  # noqa: SIM115 -- read at the end
            except OSError as error:
                if name == "snmp6":
                    continue  # a system without IPv6
                raise IsolationError(f"/proc/net/{name}: {error.strerror}") from error

    def _text(self, name: str) -> str:
        stream = self._open.get(name)
        if stream is None:
            return ""
        stream.seek(0)
        return stream.read()

    def read(self) -> NetworkUse:
        """Return what has been counted."""
        return network_use(self._text("dev"), self._text("snmp"), self._text("snmp6"))


def network_use(dev: str, snmp: str, snmp6: str) -> NetworkUse:
    """Return what the three texts of ``/proc/net`` say together."""
    packets = {}
    for line in dev.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        fields = numbers.split()
        packets[name.strip()] = int(fields[1]) + int(fields[9])
    header, values = ([line.split()[1:] for line in snmp.splitlines() if line.startswith("Ip:")] + [[], []])[:2]
    counted = dict(zip(header, values, strict=False)) | dict(
        line.split() for line in snmp6.splitlines() if len(line.split()) == 2
    )
    return NetworkUse(
        other_interfaces=tuple(sorted(name for name in packets if name != "lo")),
        packets_elsewhere=sum(number for name, number in packets.items() if name != "lo"),
        no_route=int(counted.get("OutNoRoutes", 0)) + int(counted.get("Ip6OutNoRoutes", 0)),
        loopback_packets=packets.get("lo", 0) // 2,
    )


def forget_environment() -> None:
    """Take out of this process what it inherited, so that nobody inside can read it from ``/proc``.

    The few variables by which programs and the cache are found stay.
    """
    kept = {name: value for name, value in os.environ.items() if name in _KEPT_VARIABLES or name.startswith(_OURS)}
    with open("/proc/self/stat", "rb") as stream:
        fields = stream.read().rpartition(b")")[2].split()
    start, end = int(fields[47]), int(fields[48])
    os.environ.clear()
    if end > start:
        ctypes.memset(start, 0, end - start)
    os.environ.update(kept)
